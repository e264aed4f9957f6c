"""The calibration holds with few simulations, and would notice if it did not."""

import gc
import re
from collections import Counter

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from benchmarks.measure.calibration import __main__ as calibration
from benchmarks.measure.calibration import simulation
from benchmarks.measure.calibration.errors import ALL
from benchmarks.stats import paired

FEW = ["--simulations", "400"]
NORMAL, IN_DOUBT = ALL[0], ALL[-1]
ROWS = 10 + sum(4 + errors.counts for errors in ALL[1:])


@pytest.fixture(autouse=True)
def frozen():
    """See `calibration.main`: each Holm's correction would take 50 ms."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def normal_alone(monkeypatch):
    monkeypatch.setattr(calibration, "ALL", (NORMAL,))


def test_normal_errors_are_within_bounds_and_the_table_is_written(capsys, monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{calibration.START}\nold\n{calibration.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(calibration, "README", readme)
    assert calibration.main([*FEW, "--write"]) == 0
    out, err = capsys.readouterr()
    assert not err
    rows = [line for line in out.splitlines() if line.startswith("|")][2:]
    assert len(rows) == ROWS
    bounded = [row for row in rows if not row.endswith("|  |")]
    assert [row.split(" | ")[0] for row in bounded] == ["| normal"] * 4
    for row in bounded:
        *cells, bound = row.strip("| ").split(" | ")[2:]
        for cell in cells:
            mean, error = map(float, re.fullmatch(r"([.\d]+) \(([.\d]+)\)", cell).groups())
            assert mean <= 0.05 + 3 * error if bound == "≤ 0.05" else abs(mean - 0.95) <= 3 * error
    said = f"In {2 * 3 * len(ALL)} further studies, `summarize` agreed with the functions that it calls in"
    assert f"{said} {2 * 3 * len(ALL)}." in out
    written = readme.read_text(encoding="utf-8")
    assert written.startswith(f"before\n{calibration.START}\n\n400 simulated")
    assert written.endswith(f"\n\n{calibration.END}\nafter\n")
    assert "old" not in written
    assert all(row in written for row in rows)


def test_an_interval_that_is_too_narrow_is_noticed(normal_alone, capsys, monkeypatch):
    whole = paired.t_interval
    monkeypatch.setattr(paired, "t_interval", lambda d, confidence=0.95: whole(d, confidence - 0.05))
    assert calibration.main(FEW) == 1
    assert "out of bounds: | normal | coverage of the interval of a mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("t_test", "family-wise error rate of nine equal variants"),
        ("tost", "error rate of `equivalent` if Δ is the margin"),
    ],
)
def test_a_p_that_is_too_small_is_noticed(name, what, normal_alone, capsys, monkeypatch):
    whole = getattr(paired, name)
    monkeypatch.setattr(paired, name, lambda *arguments: whole(*arguments) / 4)
    assert calibration.main(FEW) == 1
    assert f"out of bounds: | normal | {what}" in capsys.readouterr().err


def test_a_study_without_holm_is_noticed(normal_alone, capsys, monkeypatch):
    monkeypatch.setattr(simulation, "multipletests", lambda p, method: (None, p))
    assert calibration.main(FEW) == 1
    assert "family-wise error rate" in capsys.readouterr().err


def test_summarize_saying_anything_else_is_noticed(normal_alone, capsys, monkeypatch):
    whole = simulation.summarize
    monkeypatch.setattr(simulation, "summarize", lambda *arguments: whole(*arguments).replace("worse", "better"))
    assert calibration.main(FEW) == 1
    assert not capsys.readouterr().err, "all is within its bounds"


@pytest.mark.parametrize("errors", [NORMAL, IN_DOUBT], ids=lambda errors: errors.name)
@pytest.mark.parametrize("n", [3, 10])
def test_verdicts_are_those_of_summarize(errors, n):
    assert simulation.disagreements(errors, n, 20, np.random.default_rng(0)) == 0


def test_verdicts_correct_by_holm_and_come_in_all_kinds():
    rng = np.random.default_rng(0)
    d = rng.normal(size=(5, 300, 9)) + np.array([0, 0, 0, 1, 2, 3, -2, -3, 10])
    said = simulation.verdicts(d)
    for k in range(300):
        found = multipletests(paired.t_test(d[:, k]), method="holm")[0]
        assert (found == (said[k] != "inconclusive")).all()
    assert set(Counter(said.ravel())) == {"better", "worse", "inconclusive"}
    assert set(Counter(simulation.verdicts(d, 4).ravel())) == {"better", "worse", "inconclusive", "equivalent"}


@pytest.mark.parametrize("errors", ALL, ids=lambda errors: errors.name)
def test_errors_have_the_mean_and_the_sd_that_they_say(errors):
    values = errors.draw(np.random.default_rng(0), (10, 20_000, 4))
    means = values.mean(axis=(0, 1)) - errors.mean
    assert means / errors.sd == pytest.approx(0, abs=0.02)
    d = values[..., 1:] - values[..., :1]
    assert d.std() == pytest.approx(errors.sd, rel=0.1 if "df" in errors.name else 0.02)


def test_the_readme_has_the_table_of_the_shipped_command():
    text = calibration.README.read_text(encoding="utf-8")
    assert text.count(calibration.START) == text.count(calibration.END) == 1
    table = text.partition(calibration.START)[2].partition(calibration.END)[0]
    assert f"{calibration.SIMULATIONS:,} simulated studies per cell" in table
    assert table.count("\n| ") == 2 + ROWS

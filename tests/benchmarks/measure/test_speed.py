"""The speed benchmarks still run, and their table says what was measured; the seconds themselves are not asserted."""

import importlib
import json
import math
import re

import numpy as np
import pytest

from benchmarks.measure.peers import Options
from benchmarks.measure.speed import commands, packs, page
from benchmarks.measure.speed.__main__ import main as speed
from benchmarks.measure.speed.table import FITS, RATIOS, reached, table
from zoo.outputs.provenance import environment

WHERE = {
    "cpu": "a CPU",
    "cores": 2,
    "platform": "Linux",
    "python": "3.11",
    "packages": {"torch": "2.15"},
    "gpus": [],
}


def sample(seconds: float, accuracy: dict) -> dict:
    return {"seconds": seconds, "whole": 100 * seconds, "mib": 500.0, "accuracy": accuracy}


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_table_gives_ratios_of_medians_and_which_goals_they_meet():
    ours, theirs, _ = RATIOS[0]
    mine = {"relu": [0.8] * 10, "tanh": [0.9] * 5 + [0.92] * 5}
    samples = {ours: [sample(s, mine) for s in (0.03, 0.02, 0.5)]}
    samples[theirs] = [sample(s, {"relu": 0.8, "tanh": 0.9}) for s in (1.5, 0.1, 9.0)]
    few = "bare_loop, 8 activations"
    samples[few] = [sample(0.3, {"relu": 0.795, "tanh": 0.9})]
    fit, loop, _ = FITS[0]
    samples |= {fit: [{"seconds": 0.24}], loop: [{"seconds": 0.2}]}
    again = [{"names": [few], "rounds": 2, "commit": "0123456789"}]
    text = table({"rounds": 3, "environment": WHERE, "samples": samples, "again": again})
    found = rows(text)
    expected = [ours, "0.0300 (0.0200 to 0.5000)", theirs, "1.5000 (0.1000 to 9.0000)", "50.0", "20", "60", "required"]
    assert [*expected, "+0.0100 (tanh)"] in found
    assert [*next(row for row in found if few in row)][-1] == "+0.0050 (relu)"  # of the seeds that it trained
    assert [
        fit,
        "0.2400 (0.2400 to 0.2400)",
        loop,
        "0.2000 (0.2000 to 0.2000)",
        "1.20",
        "1.3",
        "1.1",
        "required",
    ] in found
    assert [ours, "80", "3.0 (2.0 to 50.0)", "at most 30", "yes", "500"] in found
    skipped = [row for row in found if any("skipped" in cell for cell in row)]
    assert len(skipped) == len(RATIOS) + len(FITS) - 3
    assert "skipped, this machine has no GPU" in text
    assert f" Measured in a separate run, 2 rounds at commit 0123456: {few}." in text
    assert next(row for row in found if few in row)[4] == "not measured together", "bench did not take turns with it"


def test_the_tables_of_the_readme_and_of_the_page_are_those_of_the_committed_measurements():
    found = json.loads(page.FOUND.read_text(encoding="utf-8"))
    named = [page.BLOCK.findall(path.read_text(encoding="utf-8")) for path in page.PAGES]
    assert named == [["tour"], ["where", "whole", "trials", "epochs"]]
    for path in page.PAGES:
        text = path.read_text(encoding="utf-8")
        assert page.fill(text, found) == text, f"run `python -m benchmarks.measure.speed.page` and commit {path.name}"
    assert (page.FOUND.with_suffix(".md")).read_text(encoding="utf-8") == table(found)


def test_the_pages_tables_change_with_the_measurements():
    found = json.loads(page.FOUND.read_text(encoding="utf-8"))
    found["samples"]["bench, 8 activations"] = [{"seconds": 0.02, "whole": 21.0}, {"seconds": 0.04, "whole": 19.0}]
    found["samples"]["lightning_loop, 8 activations"] = [{"seconds": 0.6, "whole": 50.0}]
    names = ["bench, 8 activations", "sklearn_mlp, 4 activations", "lightning_loop, 8 activations"]
    found["again"] = [{"names": names, "rounds": 2, "commit": None}]
    made = page.fill("before\n<!-- speed: tour -->\nold\n<!-- end -->\nafter\n", found)
    assert made.startswith("before\n<!-- speed: tour -->\n\n| this project |")
    # The README says so only of what it shows.
    assert made.endswith(
        " Measured in a separate run, 2 rounds: `bench run`, 8 activations; Lightning.\n\n<!-- end -->\nafter\n"
    )
    assert "| `bench run`, 8 activations: the whole command, 80 trials | 20 s | Lightning | 50 s | 2.5 |" in made
    assert "per trial, without imports and report | 0.03 s | Lightning | 0.6 s | 20 |" in made


@pytest.mark.parametrize(
    ("value", "goals", "at_most", "said"),
    [
        (61, (20, 60), False, "target"),
        (20, (20, 60), False, "required"),
        (19.9, (20, 60), False, "none"),
        (13, (12, None), False, "required"),
        (1.05, (1.3, 1.1), True, "target"),
        (1.3, (1.3, 1.1), True, "required"),
        (1.31, (1.3, 1.1), True, "none"),
        (5, (None, None), False, ""),
        (math.nan, (20, 60), False, ""),
    ],
)
def test_goals(value, goals, at_most, said):
    assert reached(value, goals, at_most) == said


def test_a_trials_seconds_leave_out_what_one_epoch_takes(monkeypatch):
    def run(epochs: int) -> dict:
        return {"seconds": 10 + 2 * epochs, "mib": 1.0, "accuracy": {}}

    monkeypatch.setattr(commands, "COMMANDS", (commands.Command("c", ("relu", "tanh"), 2, run),))
    ((name, found),) = commands.measure_commands(1)
    assert name == "c"
    assert found["seconds"] == pytest.approx(2 * 30 / 4)
    assert found["whole"] == 70


@pytest.mark.filterwarnings("ignore")  # as the peers do when they run as commands
@pytest.mark.parametrize("module", ["bare_loop", "lightning_loop", "sklearn_mlp", "skorch_net"])
def test_peers_learn(module):
    if module == "skorch_net":
        pytest.importorskip("skorch", reason="skorch is not installed; see the extra `speed`")
    trial = importlib.import_module(f"benchmarks.measure.peers.{module}").trial
    assert 0.5 < trial("tanh", 0, Options(hidden=[32], epochs=4, robust=module != "sklearn_mlp")) < 1


@pytest.mark.slow
def test_commands_are_run_for_real():
    mine = commands.bench(("relu",), 1, 2, *commands.ROBUST)
    theirs = [commands.peer(name, ("relu",), 1, 2, "--robust") for name in ("lightning_loop", "bare_loop")]
    for found in (mine, *theirs, commands.peer("sklearn_mlp", ("relu",), 1, 2)):
        assert found["seconds"] > 0
        assert 50 < found["mib"] < 5000
        assert list(found["accuracy"]) == ["relu"]
        assert 0.2 < np.mean(found["accuracy"]["relu"]) < 1  # chance is .1


def test_some_are_measured_again_and_the_rest_stays(monkeypatch, tmp_path, capsys):
    def run(epochs: int) -> dict:
        return {"seconds": float(epochs), "mib": 1.0, "accuracy": {}}

    old = {"other": [{"seconds": 5.0}], "mine": [{"seconds": 6.0}] * 5}
    found = {"rounds": 5, "environment": WHERE, "samples": old, "again": []}
    (tmp_path / "speed.json").write_text(json.dumps(found))
    monkeypatch.setattr(commands, "COMMANDS", (commands.Command("mine", ("relu",), 1, run),))
    assert speed(["--only", "mine", "--rounds", "1", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "speed.json").read_text())
    assert found["samples"]["other"] == [{"seconds": 5.0}]
    assert [sample["seconds"] for sample in found["samples"]["mine"]] == [30]
    (again,) = found["again"]
    assert (again["names"], again["rounds"]) == (["mine"], 1)
    assert again["commit"] == environment()["git"]["commit"]
    assert "Measured in a separate run, 1 round" in (tmp_path / "speed.md").read_text()
    assert speed(["--only", "mine", "--rounds", "2", "--out", str(tmp_path)]) == 0
    (again,) = json.loads((tmp_path / "speed.json").read_text())["again"]
    assert again["rounds"] == 2, "the newest run is the one that counts"


def test_packs_are_measured_by_net_and_size(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    monkeypatch.setattr(packs, "EPOCHS", 2)
    assert packs.main(["--rounds", "1", "--nets", "1", "--sizes", "1", "3", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "packs_cpu.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    header, _, row = rows(text)
    assert header[3:6] == ["Lightning", "K = 1", "K = 3"]
    assert row[:3] == ["64-32-32-10", "64", "3,466"]
    assert re.fullmatch(r"\d+%", row[-1])
    (found,) = json.loads((tmp_path / "packs_cpu.json").read_text())["rows"]
    assert found["auto"] == 100
    assert all(len(samples) == 1 for samples in found["rounds"].values())


def test_flops_are_those_of_the_products():
    # Forward, the gradients of the weights, and those of the inputs of all layers but the first: 2 a weight and sample.
    assert packs.Net(64, (32,), 64).flops() == 30 * 1150 * 2 * (2 * 64 * 32 + 3 * 32 * 10)

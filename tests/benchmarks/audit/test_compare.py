"""`bench compare`: two runs of one study, and what made the difference."""

import json
import math
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.stats.paired import level, t_test
from benchmarks.stats.summary import holm

STUDY = """\
# Does the offset matter?
task: noop
base: {noise: 0.1}
vary:
  kind:
    low: {returns: {score: 0.5, loss: 1.0}}
    high: {returns: {score: 0.6, loss: 1.0}}
baseline: {kind: low}
metric: {name: score, mode: max}
seeds: 3
"""


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture(scope="module")
def a(tmp_path_factory) -> Path:
    """A study that has run, and the same archived."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "two.yaml").write_text(STUDY)
    assert run(f"run {folder}/two.yaml --out {folder}/runs --workers 1") == 0
    assert run(f"archive {folder}/runs/two {folder}/kept") == 0
    return folder / "runs/two"


@pytest.fixture
def changed(a, tmp_path) -> Callable[..., Path]:
    """A copy of the study, all or one of whose trials are edited."""

    def changed(edit: Callable[[dict[str, Any]], Any], *only: tuple[str, int]) -> Path:
        copied = tmp_path / "b/two"
        if not copied.exists():
            shutil.copytree(a, copied)
        for path in copied.glob("trials/*/result.json"):
            record = json.loads(path.read_text())
            if not only or (record["variant"], record["seed"]) in only:
                edit(record)
                record.pop("checksum", None)  # as in records of earlier versions
                path.write_text(json.dumps(record))
        return copied

    return changed


def row(out: str, name: str) -> str:
    """A table's row with single spaces."""
    (found,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
    return " ".join(found.split())


def last(out: str) -> str:
    return out.strip().splitlines()[-1]


def of(code: str | None = None, score: float = 0.0, **environment: Any) -> Callable[[dict[str, Any]], None]:
    """An edit: where it was made, and what is added to the score."""

    def edit(record: dict[str, Any]) -> None:
        record["metrics"]["score"] += score
        record["environment"] |= environment | ({"code_version": code} if code else {})

    return edit


def test_a_run_and_its_archive_are_the_same(a, capsys):
    files = {path: path.read_bytes() for path in a.parents[1].rglob("*") if path.is_file()}
    assert run(f"compare {a} {a.parents[1]}/kept/two") == 0
    out = capsys.readouterr().out
    assert "Their provenance does not differ." in out
    assert row(out, "low").startswith("low 3 3 0.")
    assert row(out, "low").endswith("+0.0000 +0.0000 to +0.0000 1")
    assert last(out) == "All 6 trials are bit-identical."
    assert files == {path: path.read_bytes() for path in a.parents[1].rglob("*") if path.is_file()}


def test_times_are_not_numbers_that_differ(changed, a, capsys):
    b = changed(lambda record: [record["metrics"].update(fit_seconds=1.0), record.update(wall_seconds=9.0)])
    assert run(f"compare {a} {b}") == 0
    assert last(capsys.readouterr().out) == "All 6 trials are bit-identical."


def test_other_versions_of_the_same_numbers_are_told(changed, a, capsys):
    assert run(f"compare {a} {changed(of(cpu='Abacus [9]'))}") == 0
    out = capsys.readouterr().out
    assert row(out, "cpu").endswith(" Abacus [9]")
    assert last(out) == "All 6 trials are bit-identical."


def test_the_code_is_named_where_only_the_code_differs(changed, a, capsys):
    b = changed(of("feed", 0.25, cores=99, git={"commit": "f00", "dirty": True}))
    assert run(f"compare {a} {b}") == 0
    out = capsys.readouterr().out
    assert row(out, "code").endswith(" feed")
    assert row(out, "cores").endswith(" 99")
    assert row(out, "low").startswith("low 3 0 ")
    assert row(out, "low").endswith("+0.2500 +0.2500 to +0.2500 .5")
    assert last(out) == "6 of 6 trials differ. Only the code differs, so the code is the cause."


def test_differences_are_means_with_intervals_and_p(changed, a, capsys):
    for seed, added in enumerate((0.1, 0.2, 0.6)):
        b = changed(of("feed", added), ("high", seed))
    assert run(f"compare {a} {b}") == 0
    out = capsys.readouterr().out
    # 0.3 ± 4.3027 * sqrt(0.07 / 3); t = 1.9640 on 2 degrees of freedom, p = 0.1885, doubled by Holm
    assert row(out, "high").endswith("+0.3000 -0.3572 to +0.9572 .38")
    assert row(out, "low").endswith("+0.0000 +0.0000 to +0.0000 1")
    assert last(out) == "3 of 6 trials differ. Only the code differs, so the code is the cause."


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (of(cpu="Abacus", score=0.1), "6 of 6 trials differ. Only the cpu differs, so the cause is not the code."),
        (of("feed", 0.1, cpu="Abacus"), "6 of 6 trials differ. Possible causes: the code, the cpu."),
        (
            of(score=0.1),
            "6 of 6 trials differ; for 6 of them, nothing recorded that affects numbers differs. This should not",
        ),
        (of(score=0.1, cores=99), "to see which one can be reproduced. Other differences: cores."),
    ],
)
def test_what_it_was_is_one_sentence(changed, a, capsys, edit, sentence):
    assert run(f"compare {a} {changed(edit)}") == 0
    assert sentence in last(capsys.readouterr().out)


def test_on_a_gpu_numbers_need_not_repeat(changed, tmp_path, capsys):
    one = Path(shutil.copytree(changed(of(device="cuda:0")), tmp_path / "one"))
    assert run(f"compare {one} {changed(of(device='cuda:0', score=0.1))}") == 0
    assert last(capsys.readouterr().out) == (
        "6 of 6 trials differ; for 6 of them, nothing recorded that affects numbers differs. "
        "Results on a GPU are not always bit-reproducible."
    )


def test_trials_that_changed_status_are_counted(changed, a, capsys):
    b = changed(lambda record: record.update(status="diverged", metrics={}), ("low", 0), ("low", 2))
    assert run(f"compare {a} {b}") == 0
    out = capsys.readouterr().out
    assert row(out, "low").startswith("low 1 1 ")
    assert row(out, "low").endswith("2 done → diverged")
    assert last(out).startswith("2 of 6 trials differ; for 2 of them, nothing recorded")


def test_trials_that_failed_in_both_say_nothing(changed, capsys):
    b = changed(lambda record: record.update(status="failed", metrics={}))
    assert run(f"compare {b} {b}") == 0
    assert last(capsys.readouterr().out) == "No trial is done in either run, so there is nothing to compare."


def test_trials_of_another_config_are_paired_by_name_with_a_remark(a, tmp_path, capsys):
    run(f"run {a.parents[1]}/two.yaml --out {tmp_path} --workers 1 --seeds 2 --set noise=0.2")
    assert run(f"compare {a} {tmp_path}/two") == 0
    out = capsys.readouterr().out
    assert "low (other configs)" in out
    assert "2 trials are recorded in only one of the runs." in out
    assert last(out) == "4 of 4 trials differ. Only the config differs, so the cause is not the code."


def test_trials_of_one_key_are_paired_whatever_they_are_called(a, tmp_path, capsys):
    (tmp_path / "two.yaml").write_text(STUDY.replace("low", "down").replace("high", "up").replace("kind", "sort"))
    assert run(f"run {tmp_path}/two.yaml --out {tmp_path} --workers 1 --filter sort=up") == 0
    assert run(f"compare {a} {tmp_path}/two") == 0
    out = capsys.readouterr().out
    assert row(out, "high").startswith("high 3 3 ")
    assert "3 trials are recorded in only one of the runs." in out
    assert last(out) == "All 3 trials are bit-identical."


def test_what_is_not_one_study_is_refused(a, tmp_path, capsys):
    def refused(text: str) -> str:
        (tmp_path / "two.yaml").write_text(text)
        shutil.rmtree(tmp_path / "two", ignore_errors=True)
        assert run(f"run {tmp_path}/two.yaml --out {tmp_path} --workers 1 --seeds 1") == 0
        capsys.readouterr()
        assert run(f"compare {a} {tmp_path}/two") == 2
        out, err = capsys.readouterr()
        assert not out
        return err

    sentence = f"{a} has the metric 'score', but {tmp_path}/two has 'loss'; compare runs of one study."
    assert sentence in refused(STUDY.replace("name: score, mode: max", "name: loss, mode: min"))
    other = STUDY.replace("low", "down").replace("high", "up").replace("noise: 0.1", "noise: 0.3")
    assert f"{a} and {tmp_path}/two have no variant and seed in common" in refused(other)
    assert run(f"compare {a} {tmp_path}") == 2
    assert f"{tmp_path} is not a study folder" in capsys.readouterr().err


def test_p_of_a_paired_t_test():
    # t = 3 / (1 / sqrt(3)) = 5.196 on 2 degrees of freedom: p = 1 - t / sqrt(t^2 + 2)
    t = 3 * math.sqrt(3)
    assert t_test(np.array([2.0, 3.0, 4.0])) == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert t_test(np.zeros(2)) == 1.0
    equal = level(np.array([0.3 - 0.2, 0.1, 1.1 - 1.0]), 1e-12)
    assert t_test(equal) == 2 / 2**3, "rounding is no spread"
    assert np.isnan(t_test(np.array([0.1])))


def test_holm_counts_what_has_a_p():
    corrected = holm(np.array([0.01, math.nan, 0.04, 0.03]))
    assert corrected == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert np.isnan(holm(np.array([math.nan]))).all()

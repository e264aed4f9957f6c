"""`bench verify`: records that can be repeated pass, tampered ones do not, and the study's folder stays as it is."""

import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main
from benchmarks.records.agreement import allowed, facts, judge_rerun
from zoo.parts.metric_names import is_timing

ROOT = Path(__file__).parents[3]
STUDY = """\
# Do two epochs suffice?
base:
  model: {name: mlp, hidden_dims: [8]}
  data: {name: iris}
  trainer: {max_epochs: 2, gradient_clip_val: null}
vary:
  rate:
    sound: {model.optimizer: adam, model.lr: 1e-2}
    wild: {model.optimizer: sgd, model.lr: 1e+30}
baseline: {rate: sound}
metric: test/accuracy
seeds: 3
"""
NOOP = """\
# Does it raise?
task: noop
base: {returns: {score: 0.5, fit_seconds: 1.0}, noise: 0.1}
vary:
  kind:
    fine: {raises: null, dies: null}
    raising: {raises: a reason}
    dying: {dies: SIGKILL}
baseline: {kind: fine}
metric: {name: score, mode: max}
seeds: 2
"""


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Studies that have run: of training, of noop, and the first archived."""
    folder = tmp_path_factory.mktemp("verify")
    for name, text, code in (("small", STUDY, 0), ("mixed", NOOP, 1)):
        (folder / f"{name}.yaml").write_text(text)
        assert run(f"run {folder}/{name}.yaml --out {folder}/runs --workers 2") == code
    assert run(f"archive {folder}/runs/small {folder}/kept") == 0
    return folder


@pytest.fixture
def study(finished, tmp_path) -> Callable[[str], Path]:
    """A copy of a study, to be changed."""
    return lambda name: Path(shutil.copytree(finished / name, tmp_path / name))


def change(folder: Path, edit: Callable[[dict[str, Any]], Any], variant: str = "sound", seed: int = 1) -> None:
    """Edit a trial's record."""
    for path in folder.glob("trials/*/result.json"):
        record = json.loads(path.read_text())
        if (record["variant"], record["seed"]) == (variant, seed):
            edit(record)
            record.pop("checksum", None)  # as in records of earlier versions
            path.write_text(json.dumps(record))


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of all that lies in a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in paths}


@pytest.mark.parametrize("name", ["runs/small", "kept/small"])
def test_what_can_be_repeated_is_and_nothing_is_written(finished, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = tree(finished)
    assert run(f"verify {finished}/{name} --trials 10 --workers 2") == 0
    lines = capsys.readouterr().out.splitlines()
    # Those that diverged are among them.
    named = {f"{variant}, seed {seed}: bit-identical" for variant in ("sound", "wild") for seed in range(3)}
    assert lines[0] == "small: rerunning 6 of 6 trials."
    assert set(lines[2:-1]) == named
    assert lines[-1] == "6 of 6 trials agree; 6 of them are bit-identical."
    assert tree(finished) == before
    assert not list(tmp_path.glob("bench-verify-*"))


def test_it_draws_as_many_as_it_is_told(finished, capsys):
    assert run(f"verify {finished}/runs/small --trials 2 --workers 1") == 0
    assert capsys.readouterr().out.endswith("\n2 of 2 trials agree; 2 of them are bit-identical.\n")


def test_what_lightning_trained_is_trained_by_lightning(finished, tmp_path, capsys):
    only = "--filter rate=sound --filter seed=0 --workers 1"
    assert run(f"run {finished}/small.yaml --out {tmp_path} --pack off {only}") == 0
    assert run(f"verify {tmp_path}/small --workers 1") == 0
    assert "sound, seed 0: bit-identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda r: r["metrics"].update({"test/loss": r["metrics"]["test/loss"] + 1e-9}), "test/loss"),
        (lambda r: r["metrics"].update({"test/loss": None}), "test/loss None →"),
        (lambda r: r["metrics"].pop("test/loss"), "test/loss missing →"),
        (lambda r: r.update(best_epoch=7), "best_epoch 7 → 1, but should be bit-identical"),
        (lambda r: r.update(status="diverged", metrics={}), "diverged → done"),
        (lambda r: r["config"]["model"].update(lr=0.02), "its recorded config does not match its key"),
    ],
)
def test_a_tampered_record_is_caught(study, capsys, edit, words):
    folder = study("runs/small")
    change(folder, edit)
    assert run(f"verify {folder} --trials 6 --workers 2") == 1
    lines = capsys.readouterr().out.splitlines()
    (caught,) = [line for line in lines if "DIFFERS" in line]
    assert caught.startswith("sound, seed 1: DIFFERS: ")
    assert words in caught
    assert lines[-1] == "5 of 6 trials agree; 5 of them are bit-identical."


def of_another_torch(by: float, status: str = "done") -> Callable[[dict[str, Any]], None]:
    def edit(record: dict[str, Any]) -> None:
        record["environment"]["packages"]["torch"] = "1.0"
        record["metrics"]["test/loss"] += by
        record["status"] = status

    return edit


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (of_another_torch(0.0), 0, "seed 1: bit-identical"),
        (of_another_torch(1e-4), 0, "seed 1: agrees within tolerance: test/loss "),
        (of_another_torch(5.0), 1, "seed 1: DIFFERS: test/loss "),
        (of_another_torch(0.0, "diverged"), 1, "seed 1: DIFFERS: diverged → done"),
    ],
)
def test_where_versions_differ_a_tolerance_holds(study, capsys, edit, code, words):
    folder = study("runs/small")
    change(folder, edit)
    assert run(f"verify {folder} --trials 6 --workers 2") == code
    out = capsys.readouterr().out
    assert f"sound, {words}" in out
    assert "Otherwise the status must be the same, and for each metric |new - old| <= max(0.001 max(1, |old|)" in out
    assert "Since 1 of the records, the following has changed: torch 1.0 → " in out


def test_it_says_where_only_the_code_differs(study, capsys):
    folder = study("runs/small")
    for seed in range(3):
        for variant in ("sound", "wild"):
            change(folder, lambda record: record["environment"].update(code_version="0ld"), variant, seed)
    assert run(f"verify {folder} --workers 1") == 0
    assert "Since the records, only the code has changed (code 0ld → " in capsys.readouterr().out


def test_a_key_that_is_none_of_the_studys(study, capsys):
    folder = study("runs/small")
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace("max_epochs: 2", "max_epochs: 3"))
    assert run(f"verify {folder} --trials 1 --workers 1") == 1
    assert "DIFFERS: its key is not in the study's plan; the study or its data have changed" in capsys.readouterr().out
    for variant, seed in (("sound", 0), ("sound", 1), ("sound", 2), ("wild", 0), ("wild", 1), ("wild", 2)):
        change(folder, lambda record: record["environment"].update(code_version="0ld"), variant, seed)
    assert run(f"verify {folder} --trials 1 --workers 1") == 0, "the record's own config is run"
    out = capsys.readouterr().out
    assert "bit-identical" in out
    assert "→ " in out
    assert "the key, so defaults or data have changed" in out


def test_failed_and_crashed_trials_are_not_drawn_and_times_not_compared(study, capsys):
    folder = study("runs/mixed")
    change(folder, lambda record: record["metrics"].update(fit_seconds=7.0), "fine")
    assert run(f"verify {folder} --trials 6 --workers 1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mixed: rerunning 2 of 6 trials."
    assert lines[-2:] == [
        "Not compared, because they vary between runs: fit_seconds.",
        "2 of 2 trials agree; 2 of them are bit-identical.",
    ]
    change(folder, lambda record: record.update(status="done", metrics={"score": 0.5}), "dying")
    assert run(f"verify {folder} --trials 6 --workers 1") == 1
    assert "dying, seed 1: DIFFERS: done → crashed (killed by SIGKILL)" in capsys.readouterr().out


def test_the_committed_results_can_be_repeated(capsys):
    before = tree(ROOT / "results")
    assert run(f"verify {ROOT}/results/activations --trials 2 --workers 2") == 0
    assert "\n2 of 2 trials agree; " in capsys.readouterr().out
    assert tree(ROOT / "results") == before


def test_what_cannot_be_verified_is_refused(finished, study, tmp_path, capsys):
    def refused(command: str) -> str:
        assert run(command) == 2
        out, err = capsys.readouterr()
        assert not out
        assert "Traceback" not in err
        return err

    assert "--trials must be at least 1, got 0." in refused(f"verify {finished}/runs/small --trials 0")
    assert "--trials must be at least 1, got -3." in refused(f"verify {finished}/runs/small --trials -3")
    assert "--workers must be at least 1, got 0." in refused(f"verify {finished}/runs/small --workers 0")
    assert f"{tmp_path} is not a study folder" in refused(f"verify {tmp_path}")
    folder = study("runs/mixed")
    for seed in range(2):
        change(folder, lambda record: record.update(status="failed"), "fine", seed)
    assert "no trial is done or diverged, so there is nothing to verify" in refused(f"verify {folder}")
    for seed in range(2):
        change(folder, lambda record: [record.update(status="done"), record.pop("config")], "fine", seed)
    assert "has no config, so it cannot be rerun" in refused(f"verify {folder} --workers 1")
    next(folder.glob("trials/*/result.json")).write_text("{")
    assert "cannot be read: it is not valid JSON" in refused(f"verify {folder}")


def test_a_task_that_is_not_there_is_refused_by_the_plan(tmp_path, capsys):
    (tmp_path / "own_of_verify.py").write_text("def f(config, folder):\n    return {'score': 1.0}\n")
    study = "task: own_of_verify:f\nbase: {y: 1}\nvary: {x: [1, 2]}\nbaseline: {x: 1}\n"
    (tmp_path / "own.yaml").write_text(study + "metric: {name: score, mode: max}\nseeds: 1\n")
    assert run(f"run {tmp_path}/own.yaml --out {tmp_path}/runs --workers 1") == 0
    (tmp_path / "own_of_verify.py").unlink()
    assert run(f"verify {tmp_path}/runs/own --workers 1 --allow-code") == 2
    assert "cannot load the task 'own_of_verify:f'" in capsys.readouterr().err


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fit_seconds", "seconds", "time/ms", "a.rows_per_second", "peak_memory_bytes"])
def test_times_and_memory_are_told_by_name(name):
    assert is_timing(name)


@pytest.mark.parametrize("name", ["test/loss", "test/rms", "seconds/loss", "kilobytes_kept", "val/accuracy"])
def test_other_metrics_are_none(name):
    assert not is_timing(name)


def record(loss: float, **environment: Any) -> dict[str, Any]:
    return {"status": "done", "metrics": {"loss": loss}, "environment": {"device": "cpu", **environment}}


def test_the_tolerance_is_that_of_the_other_seeds():
    assert allowed("loss", 0.5, []) == 1e-3
    assert allowed("loss", -20.0, [record(1.0)]) == 0.02
    assert allowed("loss", 0.5, [record(1.0), record(3.0)]) == pytest.approx(4 * 2**0.5)
    assert allowed("loss", 0.5, [record(1.0), {**record(3.0), "status": "diverged"}]) == 1e-3


def test_what_a_pack_on_a_gpu_gave_need_not_repeat_to_the_bit():
    old = {**record(0.5, device="cuda:0", pack_size=2), "pack": ["a", "b"]}
    new = record(0.5004, device="cuda:0", pack_size=1)
    verdict = judge_rerun(old, new, [])
    assert verdict.agrees
    assert not verdict.identical
    assert verdict.words == "agrees within tolerance: loss 0.5 → 0.5004 (allowed ±0.00100)"
    assert not judge_rerun(old, record(0.502, device="cuda:0", pack_size=1), []).agrees
    assert judge_rerun(record(0.5, device="cuda:0"), record(0.5004, device="cuda:0"), []).agrees
    assert not judge_rerun(record(0.5), record(0.5004), []).agrees


def test_the_kernel_does_not_bear_on_numbers_but_the_c_library_does():
    def platform(text: str) -> str:
        return facts(record(1.0, platform=text))["platform"]

    assert platform("Linux-6.1.0-x86_64-with-glibc2.36") == platform("Linux-5.4-fc-v1-x86_64-with-glibc2.36")
    assert platform("Linux-6.1.0-x86_64-with-glibc2.36") != platform("Linux-6.1.0-x86_64-with-glibc2.31")
    assert platform("Linux-6.1.0-x86_64-with-glibc2.36") != platform("Linux-6.1.0-aarch64-with-glibc2.36")
    assert platform("macOS-14.5-arm64-arm-64bit") == "macOS-14.5-arm64-arm-64bit"

"""The checks on a GPU run in miniature on the CPU, find what differs, and survive what fails."""

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.measure.gpu import __main__ as gpu
from benchmarks.measure.gpu import models
from benchmarks.measure.gpu.checks import Check
from benchmarks.measure.gpu.commands import run
from benchmarks.measure.gpu.page import TITLES, page
from benchmarks.measure.gpu.rows import BAD, Findings, Row, read_rows
from benchmarks.measure.gpu.setting import Setting, losses_apart, relative, same_bits
from zoo.evaluate import evaluate
from zoo.models.registry import MODELS

COMMITTED = Path(__file__).parents[3] / "results" / "gpu"
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="asserts what is skipped without a GPU")


def rows_of(out: Path) -> dict[str, list[Row]]:
    report = json.loads((out / "gpu.json").read_text())
    return {check["name"]: [Row(**row) for row in check["rows"]] for check in report["checks"]}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a report in miniature, and the exit status."""
    out = tmp_path_factory.mktemp("gpu")
    return out, gpu.main(["--small", "--out", str(out)])


@without_gpu
def test_in_miniature_everything_passes_or_says_what_it_lacks(small):
    out, status = small
    found = rows_of(out)
    assert status == 0
    assert list(found) == list(TITLES)
    assert {row.status for rows in found.values() for row in rows} == {"passed", "skipped", "reported"}
    passed = {name: [row.name for row in rows if row.status == "passed"] for name, rows in found.items()}
    for model in MODELS.names():
        assert any(name.startswith(model) for name in passed["models"])
    assert {name for name, names in passed.items() if names} == {"models", "flags", "commands", "packs"}
    skipped = {row.name: row.note for rows in found.values() for row in rows if row.status == "skipped"}
    assert all(skipped.values())
    for name in ("16-mixed", "peak memory of the GPU", "the GPU rows of the study strategies"):
        assert "no CUDA GPU" in skipped[name]
    assert "Conv2d" in skipped["packs of cnn"]
    # The CPU took the GPU's place, so the compared numbers are the same.
    assert {row.value for row in found["models"]} == {0}


def test_the_page_has_every_row(small):
    out, _ = small
    text = (out / "gpu.md").read_text()
    assert all(f"| {row.name} | {row.status} |" in text for rows in rows_of(out).values() for row in rows)
    assert "No GPU" in text or torch.cuda.is_available()
    assert "## What differs or failed\n\nNothing." in text


def compare_kept(out: Path, name: str, tolerance: float):
    """The test metrics of a kept checkpoint on the CPU are those that it had where it was trained."""
    expected = next(row.values for row in rows_of(out)["commands"] if row.name == f"{name}.ckpt is kept")
    measured = evaluate(str(out / f"{name}.ckpt"), {"trainer": {"accelerator": "cpu"}}, "test")
    assert expected.keys() == {"test/loss", "test/accuracy"}
    assert {metric: measured[metric] for metric in expected} == pytest.approx(expected, abs=tolerance)


def test_a_checkpoint_is_kept_with_its_metrics(small):
    compare_kept(small[0], "mlp", 1e-6)


@pytest.mark.skipif(not COMMITTED.is_dir(), reason="no report of a GPU is committed")
@pytest.mark.parametrize(("name", "tolerance"), [("mlp", 1e-4), ("cnn", 0.006)])  # in TF32; an image counts .0028
def test_a_checkpoint_that_was_trained_on_a_gpu_is_loaded_on_the_cpu(name, tolerance):
    compare_kept(COMMITTED, name, tolerance)


def test_a_model_that_differs_is_found_and_fails_the_command(tmp_path, monkeypatch, capsys):
    fit = Setting.fit
    learned = []

    def one_in_two_is_off(self, config):
        result, curves, out = fit(self, config)
        learned.append(curves)
        factor = 1.01 if len(learned) % 2 else 1
        return result, {**curves, "val/loss": [factor * loss for loss in curves["val/loss"]]}, out

    monkeypatch.setattr(Setting, "fit", one_in_two_is_off)
    monkeypatch.setattr(models.MODELS, "_targets", {"perceptron": models.MODELS._targets["perceptron"]})
    assert gpu.main(["--small", "--only", "models", "--out", str(tmp_path)]) == 1
    (row,) = rows_of(tmp_path)["models"]
    assert (row.status, row.value) == ("differs", pytest.approx(0.01))
    assert "models: perceptron: losses: differs." in capsys.readouterr().out


def test_an_exception_is_a_row_and_the_others_are_measured(tmp_path, monkeypatch):
    compare = models._compare_model

    def breaks(found, at, name):
        if name == "mlp":
            raise RuntimeError("CUDA error:\nno kernel")
        if name == "perceptron":
            compare(found, at, name)

    monkeypatch.setattr(models, "_compare_model", breaks)
    assert gpu.main(["--small", "--only", "models", "--out", str(tmp_path)]) == 1
    failed, passed = sorted(rows_of(tmp_path)["models"], key=lambda row: row.status)
    assert (failed.name, failed.status) == ("mlp", "failed")
    assert failed.note.startswith("RuntimeError: CUDA error: no kernel (test_gpu.py, line ")
    assert (passed.name, passed.status) == ("perceptron: losses", "passed")


def test_checks_that_hang_crash_or_come_too_late_are_rows(tmp_path, monkeypatch):
    hangs, crashes = Check("models", "models:check", 0.1), Check("flags", "rows:nothing", 60)
    monkeypatch.setattr(gpu, "checks", lambda: [hangs, crashes])
    assert gpu.main(["--out", str(tmp_path)]) == 1
    found = rows_of(tmp_path)
    assert [row.status for rows in found.values() for row in rows] == ["failed", "failed"]
    assert "stopped after" in found["models"][0].note
    assert "exited with status 1" in found["flags"][0].note
    assert "has no attribute 'nothing'" in found["flags"][0].note
    late = Check("packs", "packs:check", 60)
    monkeypatch.setattr(gpu, "checks", lambda: [late])
    assert gpu.main(["--out", str(tmp_path), "--minutes", "-1"]) == 0
    assert [row.status for row in rows_of(tmp_path)["packs"]] == ["skipped"]


def test_rows_say_whether_a_value_is_within_its_limit(tmp_path):
    found = Findings(tmp_path / "rows.jsonl")
    for value in (0.5, 1.0, 1.5, math.nan, math.inf):
        found.compare("x", value, 1.0)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"name": "cut off')
    rows = read_rows(tmp_path / "rows.jsonl")
    assert [row.status for row in rows] == ["passed", "passed", "differs", "differs", "differs"]
    assert [row.value for row in rows] == [0.5, 1.0, 1.5, "nan", "inf"]
    assert read_rows(tmp_path / "none") == []
    assert BAD == ("differs", "failed")


def test_differences_of_losses():
    assert relative([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
    assert relative([1.0], [1.0, 2.0]) == math.inf
    assert math.isnan(relative([1.0, None], [1.0, 2.0]))
    a = {"train/loss": [1.0], "val/loss": [2.0]}
    assert losses_apart(a, {**a, "train/loss": [0.5]}) == 1.0
    weights = {"w": torch.ones(2)}
    assert same_bits(weights, {"w": torch.ones(2)})
    assert not same_bits(weights, {"w": torch.ones(2) + 1e-7})
    assert not same_bits(weights, {})


def test_a_command_that_fails_is_an_error_with_its_output():
    assert "activations" in run("benchmarks.cli", "list")
    with pytest.raises(RuntimeError, match=r"exited with status 2: .*nonsense"):
        run("benchmarks.cli", "nonsense")


def test_the_page_names_the_card():
    card = {"name": "NVIDIA H100", "memory_gib": 79.6, "capability": "9.0", "cuda": "13.0", "driver": "580.1"}
    git = {"commit": "0123abc", "dirty": None}
    where = {"cpu": "CPU", "cores": 16, "platform": "Linux", "python": "3.12", "packages": {"torch": "2.11"}}
    checks = [{"name": "packs", "seconds": 1.0, "rows": [vars(Row("a | b", "failed", note="why"))]}]
    report = {"environment": {**where, "git": git, "code_version": "x"}, "card": card, "small": False}
    text = page({**report, "seconds": 2.0, "checks": checks})
    assert "NVIDIA H100, 80 GiB, compute capability 9.0, CUDA 13.0, driver 580.1" in text
    assert "- packs: a | b: failed. why" in text
    assert "| a / b | failed |  |  | why |" in text
    assert "commit 0123abc" in text

"""`python -m benchmarks.measure.process_parity`: one process and two, really run, and the page of what came out."""

import json
from pathlib import Path

import pytest

from benchmarks.measure import process_parity as parity

COMMITTED = Path(__file__).parents[3] / "results/parity"


def test_two_forked_processes_are_measured_against_one(tmp_path, monkeypatch, capsys):
    iris = {"name": "iris", "batch_size": 32}
    monkeypatch.setattr(parity, "ALIKE", {"plain": (parity.MLP, iris, 2, (2,))})
    monkeypatch.setattr(parity, "APART", {"dropout": {**parity.MLP, "dropout": 0.3}})
    monkeypatch.setattr(parity, "EPOCHS", 1)
    assert parity.main(["--seeds", "2", "--out", str(tmp_path / "parity")]) == 0
    found = json.loads((tmp_path / "parity/parity_cpu.json").read_text())
    (alike,), (apart,) = found["alike"], found["apart"]
    assert (alike["case"], alike["processes"]) == ("plain", 2)
    assert 0 <= alike["losses"] < 1e-5
    assert 0 <= alike["weights"] < 1e-5
    assert len(apart["one"]) == len(apart["two"]) == 2
    assert all(0 < accuracy <= 1 for accuracy in apart["one"] + apart["two"])
    text = (tmp_path / "parity/parity_cpu.md").read_text()
    assert text == capsys.readouterr().out.removesuffix("\n")
    assert f"| plain | 2 | 2 | {alike['losses']:.1e} |" in text


def test_differences_are_the_largest_of_any_epoch_and_any_weight(tmp_path):
    import torch

    for folder, val, weight in (("a", 2.0, 1.0), ("b", 2.5, 1.125)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "metrics.csv").write_text(f"epoch,train/loss,val/loss\n0,1.0,4.0\n1,1.0,{val}\n")
        own = {"format": 1, "model": "mlp", "data": {}, "config": None}
        given = {"input_shape": [2], "num_classes": 2}
        weights = {"w": torch.tensor([0.5, weight])}
        torch.save({"zoo": own, "hyper_parameters": given, "state_dict": weights}, tmp_path / folder / "best.ckpt")
    assert parity.differences(tmp_path / "a", tmp_path / "b") == (0.25, 0.125)


def test_one_seed_has_no_interval(capsys):
    with pytest.raises(SystemExit) as exit:
        parity.main(["--seeds", "1"])
    assert exit.value.code == 2
    assert "--seeds must be at least 2, got 1" in capsys.readouterr().err


def test_the_committed_page_and_what_the_docs_say_of_it_are_of_the_committed_numbers():
    found = json.loads((COMMITTED / "parity_cpu.json").read_text())
    assert (COMMITTED / "parity_cpu.md").read_text() == parity.page(found)
    docs = (COMMITTED.parents[1] / "docs/strategies.md").read_text()
    losses, weights = (max(row[name] for row in found["alike"]) for name in ("losses", "weights"))
    assert f"losses are within {losses:.1e}, relative, and weights within {weights:.1e}".replace("e-0", "e-") in docs
    for row in found["apart"]:
        mean = sum(b - a for a, b in zip(row["one"], row["two"], strict=True)) / len(row["one"])
        assert f"| {row['case']} | {sum(row['one']) / len(row['one']):.4f} ".replace("| 0.", "| .") in docs
        assert f"| {mean:+.4f} (".replace("+", "").replace("0.", ".") in docs

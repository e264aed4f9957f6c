"""Trials trained together: what shares a pack, and that nobody can tell from the records."""

import csv
import json
import os
import shlex
import signal
import threading
import time
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.running.packs import explain, make_packs, parse_pack
from benchmarks.running.plan import Plan
from benchmarks.study.study import Study
from benchmarks.tasks.base import Packing
from datamodules.errors import InputError

STUDY = """\
# Which activation, at which rate?
base:
  model: {name: mlp, hidden_dims: [16, 16], dropout: 0.1}
  data: {name: wine}
  trainer: {max_epochs: 3}
vary:
  model.activation: [relu, tanh, gelu]
  model.lr: [0.001, 0.1]
seeds: 2
baseline: {model.activation: relu, model.lr: 0.001}
metric: test/accuracy
"""
MIXED = """\
# Do nets of several kinds run side by side?
base: {trainer: {max_epochs: 1}, data: {name: digits}}
vary:
  model.name: [mlp, perceptron, cnn]
seeds: 3
baseline: {model.name: mlp}
metric: test/accuracy
"""


def run(command: str) -> int:
    return main(["run", *shlex.split(command)])


def records(folder: Path) -> dict[str, dict]:
    found = (json.loads(path.read_text()) for path in folder.glob("trials/*/result.json"))
    return {record["key"]: record for record in found}


def numbers(folder: Path) -> dict[str, tuple]:
    """What a trial came to, to the last bit, with its whole learning curve."""
    return {
        key: (r["status"], r["metrics"], r["best_epoch"], (folder / "trials" / key / "metrics.csv").read_text())
        for key, r in records(folder).items()
    }


def sizes(folder: Path) -> list[int | None]:
    return sorted(r["environment"]["pack_size"] for r in records(folder).values())


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    (folder / "rates.yaml").write_text(STUDY)
    assert run(f"{folder / 'rates.yaml'} --out {folder} --workers 1") == 0
    assert sizes(folder / "rates") == [12] * 12
    return folder


@pytest.mark.parametrize(
    ("options", "expected"), [("--workers 2", [6] * 12), ("--pack 5", [4] * 12), ("--pack 1", [1] * 12)]
)
def test_numbers_do_not_depend_on_the_pack(packed, tmp_path, options, expected):
    assert run(f"{packed / 'rates.yaml'} --out {tmp_path} --workers 1 {options}") == 0
    assert sizes(tmp_path / "rates") == expected
    assert numbers(tmp_path / "rates") == numbers(packed / "rates")


def test_more_seeds_and_single_trials_agree_with_one_big_run(packed, tmp_path):
    command = f"{packed / 'rates.yaml'} --out {tmp_path} --workers 1"
    assert run(f"{command} --seeds 1 --filter model.activation=gelu --filter model.lr=0.1") == 0
    assert run(f"{command} --seeds 1") == 0
    assert run(command) == 0
    assert sizes(tmp_path / "rates") == [1] + [5] * 5 + [6] * 6
    assert numbers(tmp_path / "rates") == numbers(packed / "rates")


def test_a_trial_is_run_again_by_zoo_fit_to_the_last_bit(packed, tmp_path):
    import torch

    from zoo.train import fit

    key, record = next(iter(records(packed / "rates").items()))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        again = fit(record["config"], tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert again.metrics == record["metrics"]
    assert (tmp_path / "metrics.csv").read_text() == (packed / "rates/trials" / key / "metrics.csv").read_text()


@pytest.mark.parametrize("metric", ["gap/accuracy", "train_eval/loss"])
def test_a_study_compares_gaps_packed_with_the_callback_on(tmp_path, metric):
    text = STUDY.replace("metric: test/accuracy", f"metric: {metric}")
    (tmp_path / "gaps.yaml").write_text(text.replace("vary:", "  callbacks: {generalization_gap: true}\nvary:"))
    assert run(f"{tmp_path / 'gaps.yaml'} --out {tmp_path} --workers 1") == 0
    assert sizes(tmp_path / "gaps") == [12] * 12
    with (tmp_path / "gaps/trials.csv").open() as file:
        values = {row["key"]: float(row["value"]) for row in csv.DictReader(file)}
    assert values == {key: record["metrics"][metric] for key, record in records(tmp_path / "gaps").items()}
    assert len(set(values.values())) > 1


@pytest.mark.parametrize("vary", ["", "  callbacks.generalization_gap: [true, false]\n"])
def test_a_gap_that_some_trial_does_not_measure_is_refused_with_the_metrics_there_are(tmp_path, capsys, vary):
    text = STUDY.replace("test/accuracy", "train_eval/loss").replace("seeds: 2", f"{vary}seeds: 2")
    if vary:
        text = text.replace("model.lr: 0.001}", "model.lr: 0.001, callbacks.generalization_gap: true}")
    (tmp_path / "gaps.yaml").write_text(text)
    assert run(f"{tmp_path / 'gaps.yaml'} --out {tmp_path}") == 2
    there = [f"{split}/{name}" for split in ("test", "val") for name in ("accuracy", "auroc", "f1_macro", "loss")]
    remedy = "Set callbacks.generalization_gap: true in all trials to measure train_eval/ and gap/ metrics."
    assert f"Available: {', '.join(there)}. {remedy}" in capsys.readouterr().err
    assert not (tmp_path / "gaps").exists()


def test_off_means_lightning(packed, tmp_path):
    assert run(f"{packed / 'rates.yaml'} --out {tmp_path} --workers 1 --pack off --filter model.lr=0.001") == 0
    alone, together = records(tmp_path / "rates"), records(packed / "rates")
    assert [r["environment"]["pack_size"] for r in alone.values()] == [None] * 6
    for key, record in alone.items():
        assert record["metrics"] == pytest.approx(together[key]["metrics"], rel=1e-3, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("study", ["activations", "initializers", "optimizers", "regularizers", "schedules"])
def test_shipped_studies_say_the_same_packed_and_unpacked(study, tmp_path):
    tables = []
    for pack in ("auto", "off"):
        command = f"{study} --out {tmp_path / pack} --pack {pack} --seeds 5 --filter model.lr=0.001"
        assert run(command) == 0
        with (tmp_path / pack / study / "table.csv").open() as file:
            tables.append({row["variant"]: row for row in csv.DictReader(file)})
    verdicts = [{name: row["verdict"] for name, row in table.items()} for table in tables]
    assert verdicts[0] == verdicts[1]
    assert all(row["n"] == "5" for row in tables[0].values())


def test_explain_says_what_is_packed_and_why_not(tmp_path, capsys):
    (tmp_path / "mixed.yaml").write_text(MIXED)
    assert run(f"{tmp_path / 'mixed.yaml'} --out {tmp_path} --workers 1 --explain") == 0
    said = capsys.readouterr().err
    assert "one pack of 3 trials: mlp × 3." in said
    assert "one pack of 3 trials: perceptron × 3." in said
    assert "3 trials alone, because Conv2d cannot be stacked: cnn × 3." in said
    assert sum(r["environment"]["pack_size"] == 3 for r in records(tmp_path / "mixed").values()) == 6
    assert all(r["status"] == "done" for r in records(tmp_path / "mixed").values())


def test_a_pack_that_takes_too_long_is_run_trial_by_trial(packed, tmp_path):
    assert run(f"{packed / 'rates.yaml'} --out {tmp_path} --workers 1 --pack 6 --trial-timeout 0.0001") == 1
    found = records(tmp_path / "rates")
    assert len(found) == 12
    assert {r["status"] for r in found.values()} == {"failed"}
    assert all("timeout: the trial took more than 0.0001 s" in r["reason"] for r in found.values())


LONG = STUDY.replace("max_epochs: 3", "max_epochs: 300").replace("seeds: 2", "seeds: 1")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
def test_a_pack_whose_process_dies_is_run_trial_by_trial(tmp_path):
    (tmp_path / "long.yaml").write_text(LONG)
    killed: list[int] = []

    def kill_the_worker_once_it_trains():
        while not killed:
            for scratch in (tmp_path / "long/trials").glob(".*"):
                token = scratch.name.rpartition(".")[2]
                for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
                    if token and is_worker(pid):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                        return
            time.sleep(0.01)

    watcher = threading.Thread(target=kill_the_worker_once_it_trains, daemon=True)
    watcher.start()
    assert run(f"{tmp_path / 'long.yaml'} --out {tmp_path} --workers 1") == 0
    watcher.join(60)
    assert len(killed) == 1
    found = records(tmp_path / "long")
    assert {r["status"] for r in found.values()} == {"done"}
    assert sizes(tmp_path / "long") == [1] * 6


def is_worker(pid: int) -> bool:
    """Whether it is a worker of this process: a child of its fork server."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes() and parent != os.getpid() and ours(parent)
    except (OSError, ValueError):
        return False


def ours(pid: int) -> bool:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()


# --- who goes with whom -----------------------------------------------------------------------------------------------


def plan(packings: list[Packing], seeds: int) -> Plan:
    values = list(range(len(packings)))
    study = Study("s", {}, {"x": values}, {"x": 0}, metric="m", mode="max", task="noop", seeds=seeds)
    keys = [[f"{variant}.{seed}" for seed in range(seeds)] for variant in values]
    return Plan(study, [{} for _ in values], keys, packings)


def keys(packs) -> list[list[str]]:
    return [[trial.key for trial in pack] for pack in packs]


SAME = Packing("same", largest=4)


def test_every_worker_gets_a_pack_and_none_is_larger_than_pays():
    made = plan([SAME, SAME], seeds=5)
    trials = list(made.trials())
    assert [len(pack) for pack in make_packs(made, trials, None, workers=1)] == [4, 3, 3]
    assert [len(pack) for pack in make_packs(made, trials, None, workers=5)] == [2] * 5
    assert [len(pack) for pack in make_packs(made, trials, 100, workers=1)] == [4, 3, 3]
    assert keys(make_packs(made, trials[:3], None, workers=1)) == [["0.0", "0.1", "0.2"]]
    assert keys(make_packs(made, trials, 2, workers=1))[0] == ["0.0", "1.0"]  # they share their data


def test_off_and_those_that_cannot_be_packed_run_alone():
    made = plan([SAME, Packing(alone="no")], seeds=2)
    trials = list(made.trials())
    assert sorted(keys(make_packs(made, trials, None, workers=1))) == [["0.0", "0.1"], ["1.0"], ["1.1"]]
    assert sorted(keys(make_packs(made, trials, 0, workers=1))) == [["0.0"], ["0.1"], ["1.0"], ["1.1"]]


def test_groups_that_keep_all_workers_busy_stay_whole():
    made = plan([Packing("one", largest=9), Packing("two", largest=9), Packing(alone="no")], seeds=2)
    packs = keys(make_packs(made, list(made.trials()), None, workers=2))
    assert packs == [["2.0"], ["2.1"], ["0.0", "0.1"], ["1.0", "1.1"]]


def test_where_numbers_depend_on_the_pack_it_is_the_same_in_every_run():
    made, more = (plan([Packing("gpu", largest=2, fixed=True)] * 3, seeds=seeds) for seeds in (2, 5))
    trials = list(made.trials())
    whole = keys(make_packs(made, trials, None, workers=4))
    assert whole == [["0.0", "1.0"], ["0.1", "1.1"], ["2.0"], ["2.1"]]
    assert keys(make_packs(made, trials[-1:], None, workers=1)) == [["2.1"]]
    assert keys(make_packs(made, trials[:1], None, workers=1)) == [["0.0", "1.0"]]
    assert all(pack in keys(make_packs(more, list(more.trials()), None, workers=1)) for pack in whole)


@pytest.mark.parametrize(
    ("packing", "seeds", "limit", "reason"),
    [
        (Packing(alone="it is odd"), 2, None, "it is odd"),
        (Packing("same", largest=4), 2, 0, "--pack is off"),
        (Packing("same", largest=4), 2, 1, "--pack is 1"),
        (Packing("same", largest=1), 2, None, "nets or data of this size do not benefit from packs"),
        (Packing("same", largest=4), 1, None, "no other trial matches them"),
    ],
)
def test_explain_gives_the_reason_of_every_trial_alone(packing, seeds, limit, reason):
    made = plan([packing], seeds)
    said = list(explain(made, make_packs(made, list(made.trials()), limit, workers=1), limit))
    assert said == [f"{seeds} trial{'s' * (seeds > 1)} alone, because {reason}: 0 × {seeds}."]


@pytest.mark.parametrize("option", ["on", "0", "-1", "2.5", ""])
def test_a_bad_pack_is_refused(option):
    with pytest.raises(InputError, match="--pack must be auto, off or a number of at least 1"):
        parse_pack(option)


def test_the_command_refuses_it_too(tmp_path, capsys):
    assert run(f"activations --out {tmp_path} --pack many") == 2
    assert "--pack must be auto, off or a number" in capsys.readouterr().err

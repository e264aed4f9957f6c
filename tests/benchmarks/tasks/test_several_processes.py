"""Trials of several processes, and what a machine lacks: rows with a reason, and nothing that lives on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import trial
from benchmarks.cli import main
from benchmarks.tasks import fit, own_process
from benchmarks.tasks.machine import lacking, n_processes, without_lacking
from benchmarks.tasks.own_process import OUTPUT, run_apart
from zoo.config import resolve

# 32 GPUs are more than any machine of ours has.
STUDY = """# Do two processes learn what one does?
base:
  model: {name: mlp, hidden_dims: [8]}
  data: {name: iris, batch_size: 32}
  trainer: {max_epochs: 3}
  callbacks: {early_stopping: false, model_checkpoint: false, throughput: true}
vary:
  trainer:
    one: {trainer.accelerator: cpu, trainer.devices: 1}
    two: {trainer.accelerator: cpu, trainer.devices: 2, trainer.strategy: ddp}
    many: {trainer.accelerator: gpu, trainer.devices: 32}
baseline: {trainer: one}
metric: test/loss
margin: 0.001
also: [samples_per_second]
claims: [{claim: many do as well, variant: many, is: equivalent}]
seeds: 1
"""
ENDLESS = """# Does anything outlive its driver?
base:
  model: {name: mlp}
  data: {name: iris}
  trainer: {accelerator: cpu, devices: 2, strategy: ddp}
vary: {trainer.max_epochs: [1000000]}
baseline: {trainer.max_epochs: 1000000}
metric: test/loss
seeds: 1
"""


def processes_of(folder: Path) -> set[int]:
    """The living processes whose command names a folder, but for this one and those of `bench` itself."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
            state = (file.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if b"benchmarks.trial" in words and any(os.fsencode(str(folder)) in word for word in words) and state != "Z":
            found.add(int(file.parent.name))
    return found


def gone(folder: Path, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while processes_of(folder) and time.monotonic() < end:
        time.sleep(0.02)
    return not processes_of(folder)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    (folder / "pair.yaml").write_text(STUDY)
    assert main(["run", str(folder / "pair.yaml"), "--out", str(folder / "runs")]) == 0
    return folder


def records(folder):
    found = [json.loads(path.read_text()) for path in (folder / "runs/pair/trials").glob("*/result.json")]
    return {record["variant"]: record for record in found}


def test_two_processes_learn_what_one_does_and_are_measured_together(ran):
    one, two = (records(ran)[name] for name in ("one", "two"))
    assert one["status"] == two["status"] == "done"
    assert two["metrics"]["test/loss"] == pytest.approx(one["metrics"]["test/loss"], abs=1e-5)
    assert two["metrics"]["test/accuracy"] == one["metrics"]["test/accuracy"]
    memory = [two["metrics"][f"rank_{rank}/peak_memory_bytes"] for rank in (0, 1)]
    assert two["metrics"]["peak_memory_bytes"] == max(memory)
    # All 96 rows of both, in two epochs of three batches.
    for record in (one, two):
        found = record["metrics"]
        training = 2 * 3 * (found["data_seconds"] + found["step_seconds"])
        assert found["samples_per_second"] * training == pytest.approx(2 * 96)
    assert two["metrics"]["startup_seconds"] > one["metrics"]["startup_seconds"]
    files = {path.name for path in (ran / "runs/pair/trials" / two["key"]).iterdir()}
    assert files == {"config.yaml", "metrics.csv", "result.json"}
    assert not processes_of(ran)


def test_what_the_machine_lacks_is_a_skipped_row_with_its_reason(ran):
    trials = pd.read_csv(ran / "runs/pair/trials.csv").set_index("variant")
    assert trials.loc["many", "status"] == "skipped"
    assert "GPU" in trials.loc["many", "reason"]
    table = pd.read_csv(ran / "runs/pair/table.csv").set_index("variant")
    assert table.loc["many", ["n", "n_failed", "verdict"]].tolist() == [0, 0, "inconclusive"]
    assert pd.isna(table.loc["many", "mean"])
    assert table.loc["two", "n"] == 1
    text = (ran / "runs/pair/table.md").read_text()
    assert f"1 trial of many was skipped: {trials.loc['many', 'reason']}." in text
    assert text.splitlines()[4].endswith("Inconclusive: two. Not run: many.")
    assert pd.read_csv(ran / "runs/pair/claims.csv")["verdict"].tolist() == ["cannot tell"]
    speed = pd.read_csv(ran / "runs/pair/speed.csv").set_index("variant")
    assert speed["devices"].to_dict() == {"one": 1, "two": 2}
    assert speed.loc["two", "efficiency"] == pytest.approx(speed.loc["two", "relative"] / 2)
    assert "many" in (ran / "runs/pair/report.html").read_text()


def test_the_same_command_runs_what_was_skipped_again_and_nothing_else(ran, capsys):
    before = records(ran)
    assert main(["run", str(ran / "pair.yaml"), "--out", str(ran / "runs"), "--explain"]) == 0
    said = capsys.readouterr()
    assert "1 trial alone, because they are skipped on this machine (trainer.accelerator is gpu" in said.err
    assert "1 trial run" in said.out
    assert "one at a time" in said.err
    after = records(ran)
    assert {name: after[name]["token"] for name in ("one", "two")} == {n: before[n]["token"] for n in ("one", "two")}
    assert after["many"]["token"] != before["many"]["token"]
    assert after["many"]["attempt"] == 1
    assert not (ran / "runs/pair/trials" / after["many"]["key"] / "attempts").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel must tell of a parent's death")
def test_no_process_outlives_a_driver_that_is_killed(tmp_path):
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    command = [sys.executable, "-m", "benchmarks.cli", "run", str(tmp_path / "endless.yaml"), "--workers", "1"]
    driver = subprocess.Popen([*command, "--out", str(tmp_path / "runs")], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while len(processes_of(tmp_path)) < 2 and time.monotonic() < end and driver.poll() is None:
            time.sleep(0.05)
        assert len(processes_of(tmp_path)) == 2
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert gone(tmp_path)


def test_a_trial_that_takes_too_long_is_a_failed_row_and_ends(tmp_path, capsys):
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    run = ["run", str(tmp_path / "endless.yaml"), "--out", str(tmp_path / "runs"), "--workers", "1"]
    assert main([*run, "--trial-timeout", "0.5"]) == 1
    assert "failed: timeout: the trial took more than 0.5 s" in capsys.readouterr().err
    assert gone(tmp_path)
    (folder,) = (tmp_path / "runs/endless/trials").iterdir()
    assert not (folder / "trial.yaml").exists()


def as_command(monkeypatch, script: str) -> None:
    monkeypatch.setattr(own_process, "command", lambda folder: [sys.executable, "-c", script, str(folder)])


def test_the_process_that_failed_first_is_the_reason(tmp_path, monkeypatch):
    failures = [
        {"rank": 0, "time": 2.0, "reason": "RuntimeError: connection closed by peer", "traceback": "later"},
        {"rank": 1, "time": 1.0, "reason": "ValueError: the culprit", "traceback": "first"},
    ]
    lines = [
        f"open(sys.argv[1] + '/failure_{f['rank']}.json', 'w').write({json.dumps(json.dumps(f))})" for f in failures
    ]
    as_command(monkeypatch, "\n".join(["import sys", *lines, "print('seen'), sys.exit(1)"]))
    outcome = run_apart({}, tmp_path)
    assert outcome["status"] == "failed"
    assert outcome["reason"] == "process 1: ValueError: the culprit"
    assert {path.name for path in tmp_path.iterdir()} == {"traceback.txt", OUTPUT}
    assert (tmp_path / "traceback.txt").read_text() == "first"
    assert (tmp_path / OUTPUT).read_text() == "seen\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; os.kill(os.getpid(), 11)", "its first process was killed by SIGSEGV"),
        ("raise SystemExit(3)", "its first process exited with status 3"),
    ],
)
def test_a_process_that_dies_is_a_crash(script, reason, tmp_path, monkeypatch):
    as_command(monkeypatch, script)
    outcome = run_apart({}, tmp_path)
    assert (outcome["status"], outcome["reason"], outcome["metrics"]) == ("crashed", reason, {})


def test_processes_that_outlive_the_first_are_ended(tmp_path, monkeypatch):
    script = """import json, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
json.dump({"status": "done", "metrics": {"child": child.pid}}, open(sys.argv[1] + "/outcome.json", "w"))
"""
    as_command(monkeypatch, script)
    child = run_apart({}, tmp_path)["metrics"]["child"]
    end = time.monotonic() + 5
    stat = Path(f"/proc/{child}/stat")  # a zombie, or gone
    while stat.exists() and ") Z" not in stat.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    assert not stat.exists() or ") Z" in stat.read_text()


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `python -m benchmarks.trial` in this process: its status, output and errors."""
    monkeypatch.setattr(trial, "end_with_parent", lambda: None)

    def command(*arguments: str) -> tuple[int, str, str]:
        status = trial.main(arguments)
        out, err = capsys.readouterr()
        return status, out, err

    return command


def test_a_trial_is_a_command(command, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model: mlp\ndata: iris\ntrainer: {max_epochs: 1}\n")
    status, out, _ = command(str(config))
    assert status == 0
    assert json.loads(out)["metrics"].keys() >= {"test/accuracy", "test/loss"}
    assert list(tmp_path.iterdir()) == [config]
    assert command(str(config), "--out", str(tmp_path / "kept"))[0] == 0
    assert json.loads((tmp_path / "kept/result.json").read_text())["metrics"] == json.loads(out)["metrics"]
    status, _, err = command(str(config), "--out", str(tmp_path / "kept"))
    assert (status, "already contains a result" in err) == (2, True)


def test_a_trial_as_a_command_says_what_is_wrong(command, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model: mpl\ndata: iris\n")
    status, _, err = command(str(config), "--out", str(tmp_path / "kept"))
    assert (status, "mlp" in err, "Traceback" in err) == (2, True, False)
    assert json.loads((tmp_path / "kept/failure_0.json").read_text())["reason"].startswith("InputError: ")
    config.write_text("model: mlp\ndata: iris\ntrainer: {accelerator: gpu, devices: 99}\n")
    status, out, _ = command(str(config))
    assert (status, json.loads(out)["status"]) == (0, "skipped")


def of(**trainer):
    compiled = trainer.pop("compile", False)
    return resolve({"model": {"name": "mlp", "compile": compiled}, "data": "iris", "trainer": trainer})


@pytest.mark.parametrize(
    ("trainer", "n"),
    [
        ({}, 1),
        ({"devices": 3}, 3),
        ({"devices": 2, "num_nodes": 2}, 4),
        ({"devices": "auto"}, 1),
        ({"devices": [0, 1]}, 2),
        ({"devices": "0,1"}, 2),
    ],
)
def test_how_many_processes_a_config_asks_for(trainer, n):
    assert n_processes(of(accelerator="cpu", **trainer)) == n


def test_a_machine_without_a_compiler_lacks_one(monkeypatch):
    assert not lacking(of(accelerator="cpu"))
    monkeypatch.setattr("shutil.which", lambda name: None)
    compiled = of(accelerator="cpu", compile=True)
    assert "C++ compiler" in lacking(compiled)
    assert not lacking(without_lacking(compiled))


@pytest.mark.parametrize("throughput", [{"warmup_epochs": 1}, None])
def test_what_is_measured_and_what_joins_others_has_processes_and_compilations_of_its_own(
    throughput, tmp_path, monkeypatch
):
    caches = []

    def ran(config, folder, more):
        caches.append(Path(more["TORCHINDUCTOR_CACHE_DIR"]))
        assert list(caches[-1].iterdir()) == []
        (caches[-1] / "compiled").touch()
        return {}

    monkeypatch.setattr(fit, "run_apart", ran)
    config = of(accelerator="cpu", **({} if throughput else {"strategy": "ddp"}))
    config["callbacks"]["throughput"] = throughput
    for _ in range(2):
        assert fit.Fit().run(config, tmp_path) == {}
    assert caches[0] != caches[1]
    assert not any(cache.exists() for cache in caches)


def test_what_an_earlier_run_or_a_cluster_left_in_the_environment_does_not_reach_a_trial(tmp_path, monkeypatch):
    for name, value in {"LOCAL_RANK": "0", "MASTER_PORT": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "job"}.items():
        monkeypatch.setenv(name, value)
    as_command(
        monkeypatch,
        """import json, os, sys
json.dump({"status": "done", "metrics": {}, "seen": dict(os.environ)}, open(sys.argv[1] + "/outcome.json", "w"))""",
    )
    seen = run_apart({}, tmp_path, {"MORE": "1"})["seen"]
    assert {"LOCAL_RANK", "MASTER_PORT"}.isdisjoint(seen)
    assert (seen["SLURM_JOB_NAME"], seen["SLURM_NTASKS"], seen["MORE"]) == ("bash", "2", "1")


def test_a_study_is_still_refused_for_what_no_machine_could_run(refused):
    said = refused(STUDY.replace("max_epochs: 3", "max_epochs: three").replace("[8]", "[-8]"))
    assert "max_epochs" in said
    wrong = STUDY.replace("trainer.devices: 32", "trainer.devices: 32, model.hidden_dims: [-8]")
    assert "line 11: model.hidden_dims must contain widths" in refused(wrong)
    assert "must be divisible by the number of devices, 32, but it is 31" in refused(
        STUDY.replace("batch_size: 32", "batch_size: 31")
    )

"""What a task of an array does by itself: its journal, a second start, the end of its time. And what is refused."""

import json
import os
import shlex
import sys
import time

import pytest

from benchmarks.cli import main
from benchmarks.records.store import Store
from benchmarks.running.engines.slurm_batch import Batch, Journal
from benchmarks.running.job import Job, PackJob
from benchmarks.tasks.noop import NOOP

STUDY = """\
# Does noise matter?
task: noop
base: {returns: {value: 1}}
vary: {noise: [0.0, 0.5]}
baseline: {noise: 0.0}
metric: {name: value, mode: max}
seeds: 2
"""


@pytest.fixture
def batch(tmp_path) -> Batch:
    """Three trials of one task, as they are submitted."""
    jobs = []
    for seed in range(3):
        identity = {"study": "x", "key": f"key{seed}", "variant": "v", "varied": {}, "seed": seed}
        config = {"seed_everything": seed, **NOOP}
        jobs.append((PackJob((Job(tmp_path, "noop", config, identity, 1, f"token{seed}"),)),))
    (tmp_path / "trials").mkdir()
    (tmp_path / "journal").touch()
    return Batch(PackJob.run, tuple(jobs), (60.0,) * 3, tmp_path / "journal", 60, 90, False, ())


def test_a_journal_is_read_on_from_where_it_was_and_mends_a_torn_line(tmp_path):
    path = tmp_path / "journal"
    path.touch()
    reader = Journal(path)
    Journal(path).add({"a": 1})
    assert reader.news() == [{"a": 1}]
    assert reader.news() == []
    with path.open("ab") as file:
        file.write(b'{"torn": ')
    assert reader.news() == []
    Journal(path).add({"b": "é"})
    assert reader.news() == [{"b": "é"}]
    assert Journal(path).news() == [{"a": 1}, {"b": "é"}]
    path.unlink()
    Journal(path).add({"c": 1})
    assert not path.exists(), "the driver has removed it, and nobody reads any more"


def test_a_second_start_runs_what_the_first_has_not_finished(batch, tmp_path):
    Journal(batch.journal).add({"started": 0, "at": time.time()})
    batch.jobs[0][0].run()  # its task died before it could note it
    first = (tmp_path / "trials/key0/result.json").read_bytes()
    left = tmp_path / "trials/.key1.token1"
    left.mkdir()
    (left / "metrics.csv").write_text("half a line")
    batch()
    entries = Journal(batch.journal).news()
    assert [entry["started"] for entry in entries if "started" in entry] == [0, 1]
    assert [entry["job"] for entry in entries if "job" in entry] == [0, 1, 2]
    assert "job" in entries[-1]
    assert all(len(entry["records"]) == 1 and not entry["crash"] for entry in entries if "job" in entry)
    assert (tmp_path / "trials/key0/result.json").read_bytes() == first
    assert [Store(tmp_path).record(f"key{n}")["token"] for n in range(3)] == ["token0", "token1_1", "token2_1"]
    assert not list((tmp_path / "trials").glob(".*"))
    assert not (tmp_path / "trials/key1/metrics.csv").exists()
    before = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}
    batch()
    assert {path: path.read_bytes() for path in tmp_path.rglob("result.json")} == before


def test_a_job_that_had_all_of_the_time_is_given_up_and_others_are_not(batch):
    pytest.importorskip("submitit")
    Journal(batch.journal).add({"started": 0, "at": time.time()})
    again = batch.checkpoint()  # SLURM took the node for another job
    assert again.function == batch
    assert len(Journal(batch.journal).news()) == 1
    Journal(batch.journal).add({"started": 1, "at": time.time() - 3600})
    batch.checkpoint()
    (*_, entry) = Journal(batch.journal).news()
    assert entry["job"] == 0
    assert entry["crash"] == "not finished within --slurm-time (60 min)"
    Journal(batch.journal).add({"started": 2, "at": time.time() - 3600})
    Journal(batch.journal).add({**entry, "job": 1, "crash": ""})
    batch.checkpoint()  # it got on, so the next one has not had all of the time
    assert [one["job"] for one in Journal(batch.journal).news() if "job" in one] == [0, 1]


def test_a_store_leaves_alone_what_runs_still(tmp_path):
    store = Store(tmp_path)
    running, dead = store.scratch("key1", "a"), store.scratch("key2", "b")
    store.recover({"key1"})
    assert running.is_dir()
    assert not dead.exists()
    store.discard("key1", "a")
    assert not running.exists()
    store.discard("key1", "a")


LOCAL = "--engine slurm --slurm-executor local"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--engine slum", "unknown engine 'slum'. Did you mean 'slurm'?"),
        ("--slurm-time 5", "--slurm-time cannot be used with --engine local; it requires --engine slurm."),
        ("--slurm account=me", "--slurm cannot be used with --engine local; it requires --engine slurm."),
        (
            "--cpus-per-trial 2",
            "--cpus-per-trial cannot be used with --engine local; it requires --engine ray or slurm.",
        ),
        (f"{LOCAL} --slurm-time 0", "--slurm-time must be at least 2 minutes, got 0."),
        (f"{LOCAL} --slurm-tasks 0", "--slurm-tasks must be at least 1, got 0."),
        (
            f"{LOCAL} --cpus-per-trial 0.5",
            "--cpus-per-trial must be an integer of at least 1 with --engine slurm, got 0.5.",
        ),
        (f"{LOCAL} --gpus-per-trial -1", "--gpus-per-trial must be a number of at least 0, got -1.0."),
        (f"{LOCAL} --gpus-per-trial nan", "--gpus-per-trial must be a number of at least 0, got nan."),
        (f"{LOCAL} --cpus-per-trial inf", "--cpus-per-trial must be a number above 0, got inf."),
        (f"{LOCAL} --workers 0", "--workers must be at least 1, got 0."),
        (f"{LOCAL} --slurm =me", "--slurm must be an option of sbatch as KEY=VALUE, such as account=NAME; got '=me'."),
        (f"{LOCAL} --slurm time=5", "--slurm time: use --slurm-time instead."),
        (f"{LOCAL} --slurm array=0-3", "--slurm array: this option is set by the engine; remove it."),
        (f"{LOCAL} --slurm ntasks-per-node=2", "--slurm ntasks-per-node: this option is set by the engine; remove it."),
        (f"{LOCAL} --slurm ntasks_per_core=2", "--slurm ntasks-per-core: this option is set by the engine; remove it."),
        (f"{LOCAL} --slurm no-requeue", "--slurm no-requeue: this option is set by the engine; remove it."),
        (f"{LOCAL} --slurm wrap=true", "--slurm wrap: this option is set by the engine; remove it."),
        (f"{LOCAL} --slurm wait", "--slurm wait: this option is set by the engine; remove it."),
    ],
)
def test_options_are_refused(refused, options, sentence):
    if "--engine slurm" in options:
        pytest.importorskip("submitit")
    assert sentence in refused(STUDY, options)


def test_slurm_and_submitit_that_are_not_there_are_refused(refused, monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "requires the SLURM command sbatch, which is not on PATH" in refused(STUDY, "--engine slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert "requires submitit, which is not installed; run pip install 'ablation-zoo[slurm]'" in refused(
        STUDY, "--engine slurm"
    )


def test_what_slurm_says_of_a_partition_is_passed_on(refused, monkeypatch, tmp_path):
    """Commands that answer as those of SLURM 22.05 do."""
    pytest.importorskip("submitit")
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (tmp_path / name).write_text(
            "#!/bin/sh\n"
            "echo 'sbatch: error: invalid partition specified: nope' >&2\n"
            "echo 'allocation failure: Invalid partition name specified' >&2; exit 1\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    err = refused(STUDY, "--engine slurm --slurm-partition nope")
    assert "SLURM rejected these jobs: invalid partition specified: nope; allocation failure: Invalid partition" in err
    assert "Change --slurm-partition, --slurm-time or --slurm KEY=VALUE" in err


def test_jobs_of_another_engine_are_left_alone(tmp_path, capsys):
    pytest.importorskip("submitit")
    (tmp_path / "study.yaml").write_text(STUDY)
    folder = tmp_path / "runs/study/slurm/bench-study-0"
    folder.mkdir(parents=True)
    (folder / "array.json").write_text(json.dumps({"kind": "slurm", "packs": []}))
    command = f"run {tmp_path}/study.yaml --out {tmp_path}/runs --workers 1"
    for options, sentence in (("", "use --engine slurm again"), (LOCAL, "was submitted with --slurm-executor slurm")):
        assert main(shlex.split(f"{command} {options}")) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert "bench-study-0" in err
    for text in ('{"kind": "slurm"', "[]"):
        (folder / "array.json").write_text(text)
        assert main(shlex.split(f"{command} {LOCAL}")) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert f"array.json in {folder} cannot be read, so jobs may still be running; cancel its jobs with" in said
        assert "scancel --name=bench-study-0" in said
    assert not list((tmp_path / "runs/study").glob("trials/*"))

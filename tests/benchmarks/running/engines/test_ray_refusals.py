"""What `--engine ray` refuses before any cluster is there, and what its workers do without one."""

import math
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.records.store import Store
from benchmarks.running.carry import Carried, run_pack
from benchmarks.running.engines import ray_worker
from benchmarks.running.engines.local import OF_SRUN
from benchmarks.running.engines.ray_worker import Answer, Sender, serve, this_node
from benchmarks.running.job import Job, PackJob
from benchmarks.tasks import find_task
from datamodules.errors import InputError

NOOP = """\
# Does noise matter?
task: noop
base: {noise: 0.0}
vary: {returns: [{value: 1.0}, {value: 2.0}]}
baseline: {returns: {value: 1.0}}
metric: {name: value, mode: max}
seeds: 2
"""


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--ray-address auto", "--ray-address cannot be used with --engine local; it requires --engine ray."),
        (
            "--cpus-per-trial 2",
            "--cpus-per-trial cannot be used with --engine local; it requires --engine ray or slurm.",
        ),
        (
            "--gpus-per-trial 1",
            "--gpus-per-trial cannot be used with --engine local; it requires --engine ray or slurm.",
        ),
        ("--engine ray --cpus-per-trial 0", "--cpus-per-trial must be a number above 0, got 0.0."),
        ("--engine ray --cpus-per-trial nan", "--cpus-per-trial must be a number above 0, got nan."),
        ("--engine ray --gpus-per-trial -1", "--gpus-per-trial must be a number of at least 0, got -1.0."),
        ("--engine ray --gpus-per-trial inf", "--gpus-per-trial must be a number of at least 0, got inf."),
        ("--engine ray --gpus-per-trial 1.5", "--gpus-per-trial must be a fraction of 1 or a whole number, got 1.5."),
        ("--engine rya", "unknown engine 'rya'. Did you mean 'ray'? Available: local, ray, slurm."),
        ("--engine ray --workers 0", "--workers must be at least 1, got 0."),
        ("--engine ray --ray-address somewhere", "--ray-address must be HOST:PORT, ray://HOST:PORT or auto, got 'some"),
        ("--engine ray --ray-address ''", "--ray-address must be HOST:PORT, ray://HOST:PORT or auto, got ''."),
        ("--engine ray --ray-address localhost:99999", "no Ray cluster answers at localhost:99999 ("),
    ],
)
def test_options_that_cannot_be_are_refused(refused, options, sentence):
    if any(word in options for word in ("1.5", "somewhere", "''", "99999")):
        pytest.importorskip("ray")
    assert sentence in refused(NOOP, options)


def test_ray_that_is_not_installed_is_a_sentence_with_the_command(refused, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    said = refused(NOOP, "--engine ray")
    assert "--engine ray requires ray, which is not installed; run pip install 'ablation-zoo[ray]'." in said


def test_an_address_at_which_no_cluster_answers_is_refused(refused, monkeypatch):
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        server.settimeout(60)  # else a driver that never comes would hang the test

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        said = refused(NOOP, f"--engine ray --ray-address {address}")
        thread.join()
    assert f"no Ray cluster answers at {address} (another service answers there). Start one with" in said
    monkeypatch.setenv("RAY_ADDRESS", address)
    said = refused(NOOP, "--engine ray")
    assert f"no Ray cluster answers at {address} (Connection refused). Start one with `ray start --head`, or" in said


def test_what_ray_says_on_failing_to_connect_is_told_apart():
    pytest.importorskip("ray")
    from benchmarks.running.engines.ray_cluster import _sentence

    assert "no Ray cluster answers at far:1 (nobody). Start" in _sentence(ConnectionError("nobody"), "far:1")
    said = _sentence(RuntimeError("first\nthe working directory is too large"), "far:1")
    assert said == "cannot use the Ray cluster at far:1: the working directory is too large"
    both = "Version mismatch: Ray: 1.0 Python: 3.1 and Ray: 2.0 Python: 3.2"
    assert "runs Ray 1.0 on Python 3.1, but the driver runs Ray 2.0" in _sentence(RuntimeError(both), "far:1")
    assert "Version mismatch of some kind" in _sentence(RuntimeError("Version mismatch of some kind"), "far:1")


def test_versions_that_differ_are_told_apart_by_what_they_change():
    here = this_node()
    assert here.refusal(here) == ""
    packages = dict(here.packages)
    other = replace(here, host="far", packages=packages | {"torch": "1.0.0", "torchmetrics": "0.1.0"})
    severe, mild = other.differences(here)
    assert severe == [f"torch 1.0.0 (the driver: {packages['torch']})"]
    assert mild == [f"torchmetrics 0.1.0 (the driver: {packages['torchmetrics']})"]
    assert f"pip install torch=={packages['torch']} torchmetrics==" in other.refusal(here)
    assert replace(here, packages=packages | {"torchmetrics": "0.1.0"}).refusal(here) == "", "numbers hardly change"
    assert "has no torchmetrics (" in replace(here, packages=packages | {"torchmetrics": None}).refusal(here)
    assert "has Python 3.1.0 (the driver: 3." in replace(here, python="3.1.0").refusal(here)
    patch = here.python.rpartition(".")[0] + ".99"
    assert replace(here, python=patch).refusal(here) == ""


# --- what a worker does -----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "study")
    store.create("name: study\n", {"v": ["abc"]})
    return store


@pytest.fixture
def sender(store) -> Sender:
    (store.trials / ".shared.token").touch()
    return Sender(this_node(), str(Path.cwd()), ".shared.token", {"git": {"commit": "a1b2", "dirty": False}})


def pack(store: Store, *keys: str, token: str = "t0", **config) -> PackJob:
    jobs = []
    for seed, key in enumerate(keys):
        identity = {"study": "s", "key": key, "variant": "v", "varied": {}, "seed": seed}
        resolved = {"seed_everything": seed, **find_task("noop").resolve(config)}
        jobs.append(Job(store.folder, "noop", resolved, identity, attempt=1, token=token))
    return PackJob(tuple(jobs))


def test_a_run_of_an_attempt_that_has_finished_is_not_repeated(store, sender):
    job = pack(store, "abc", returns={"value": 1.0}, noise=1.0)
    (first,) = run_pack(job, sender.token, sender.environment)
    written = (store.trials / "abc/result.json").stat().st_mtime_ns
    assert run_pack(job, sender.token, sender.environment) == [first]
    assert (store.trials / "abc/result.json").stat().st_mtime_ns == written
    assert first["environment"]["git"] == {"commit": "a1b2", "dirty": False}
    assert job.jobs[0].settled() == first


def test_runs_of_one_attempt_share_no_folder_and_one_taken_for_dead_finishes_no_more(store, sender):
    (job,) = pack(store, "abc").jobs
    first, second = (replace(job, token=f"t0_{n}") for n in "ab")
    assert first.open() != second.open()
    store.recover()  # as the next driver does
    outcome = {"status": "done", "reason": "", "metrics": {"value": 1.0}}
    for zombie in (first, second):
        with pytest.raises(FileNotFoundError):
            zombie.commit(dict(outcome), started=time_of(job), seconds=1.0)
    assert store.record("abc") is None


def time_of(job: Job):
    from datetime import UTC, datetime

    return datetime.now(UTC)


def test_a_crash_is_written_beside_what_the_last_run_has_left(store):
    (job,) = pack(store, "abc").jobs
    (replace(job, token="t0_a").open() / "seen.txt").write_text("before it died")
    record = job.end("crashed", "its Ray worker died", 1.0)
    assert record["environment"]["cpu"]
    assert (store.trials / "abc/seen.txt").read_text() == "before it died"
    assert not list(store.trials.glob(".abc.*"))
    (job,) = pack(store, "def").jobs
    assert job.end("crashed", "its Ray worker died", 1.0)["environment"]["cpu"] is None, "it died before it could say"
    assert (store.trials / "def/config.yaml").is_file()


def test_what_a_worker_without_the_folder_leaves_is_brought_into_it(store, sender, tmp_path):
    job = pack(store, "abc", raises="on purpose")
    carried = run_pack(job, ".shared.of another folder", sender.environment)
    assert isinstance(carried, Carried)
    assert [path.name for path in store.trials.iterdir()] == [".shared.token"]
    (record,) = carried.take_in(store.folder)
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: on purpose")
    assert store.record("abc") == record
    assert sorted(path.name for path in (store.trials / "abc").iterdir()) == [
        "config.yaml",
        "result.json",
        "traceback.txt",
    ]
    assert carried.take_in(store.folder) == [record], "twice does no harm"
    assert job.jobs[0].settled() == record


def test_a_job_ends_when_its_time_is_up_and_the_worker_stays(sender, store):
    before = signal.getsignal(signal.SIGALRM)
    answer = serve(time.sleep, (600.0,), 0.2, sender)
    assert (answer.kind, answer.value) == ("timed out", None)
    assert serve(PackJob.run, (pack(store, "abc", sleep=600.0),), 0.2, sender).kind == "timed out"
    assert store.record("abc") is None
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before
    for limit in (60.0, 1e300, math.inf):
        assert serve(math.sqrt, (4.0,), limit, sender)[:2] == ("returned", 2.0)


def test_what_a_job_comes_to_is_an_answer(sender, store, tmp_path):
    assert serve(exit, (3,), math.inf, sender)[:2] == ("exited", "exited with status 3")
    raised = serve(os.listdir, ("/nowhere",), math.inf, sender)
    assert (raised.kind, "FileNotFoundError" in raised.value) == ("raised", True)
    other = replace(sender, node=replace(sender.node, packages={**sender.node.packages, "torch": "1.0.0"}))
    refusal: Answer = serve(os.getpid, (), math.inf, other)
    assert refusal.kind == "refused", "a node that has joined since"
    assert "would not be comparable" in refusal.value
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write to"):
        Carried([{"key": "abc", "token": "t0"}], [{}]).take_in(tmp_path / "file/study")


def test_a_trial_is_no_process_of_the_srun_that_started_its_node(sender, monkeypatch):
    for name in OF_SRUN:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    asked = (*OF_SRUN, "SLURM_JOB_ID")
    assert [serve(os.getenv, (name,), math.inf, sender).value for name in asked] == [*[None] * len(OF_SRUN), "7"]


def test_imports_are_not_of_a_trials_time(sender, tmp_path, monkeypatch):
    """A module in place of the real one, which takes a hundred seconds of a clock that it sets."""
    (tmp_path / "preload.py").write_text(
        "import signal\n"
        "from benchmarks.running.engines import ray_worker\n\n"
        "ray_worker.time.now += 100.0\n"
        "TIMER = signal.getitimer(signal.ITIMER_REAL)\n"
    )
    name = "benchmarks.running.engines.preload"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("benchmarks.running.engines.__path__", [str(tmp_path)])
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(ray_worker, "time", clock)
    serve(math.sqrt, (4.0,), 60.0, sender)
    assert name not in sys.modules, "trials of noop need no torch"
    answer = serve(math.sqrt, (4.0,), 60.0, replace(sender, preload=True))
    assert answer == ("returned", 2.0, 0.0)
    assert sys.modules.pop(name).TIMER == (0.0, 0.0)


# --- fits -------------------------------------------------------------------------------------------------------------


def fits(store: Store, *keys: str, fixed: bool = False, **trainer) -> PackJob:
    from zoo.config import resolve

    jobs = []
    for seed, key in enumerate(keys):
        given = {"model": {"name": "mlp", "hidden_dims": [8]}, "data": "iris", "seed_everything": seed}
        config = resolve({**given, "trainer": {"accelerator": "cpu", "max_epochs": 1, **trainer}})
        identity = {"study": "s", "key": key, "variant": "v", "varied": {}, "seed": seed}
        jobs.append(Job(store.folder, "fit", config, identity, attempt=1, token="t0"))
    return PackJob(tuple(jobs), fixed)


def test_a_fit_ends_when_its_time_is_up(sender, store):
    job = fits(store, "abc", max_epochs=10**6)
    assert serve(PackJob.run, (job,), 0.5, replace(sender, preload=True)).kind == "timed out"
    assert store.record("abc") is None
    record = job.jobs[0].end("failed", "timeout", 0.5)
    assert store.record("abc") == record


def test_a_pack_whose_numbers_depend_on_all_of_it_runs_again_whole_and_keeps_the_records_that_are_there(store, sender):
    job = fits(store, "abc", "def", fixed=True)
    first = run_pack(job, sender.token, sender.environment)
    assert [record["pack"] for record in first] == [["abc", "def"]] * 2
    written = (store.trials / "abc/result.json").read_bytes()
    (store.trials / "def").rename(store.folder / "as if it had not finished")
    second = run_pack(job, sender.token, sender.environment)
    assert [record["metrics"] for record in second] == [record["metrics"] for record in first]
    assert second[0] == first[0]
    assert second[1]["pack"] == ["abc", "def"]
    assert second[1]["token"] != first[1]["token"]
    assert (store.trials / "abc/result.json").read_bytes() == written


def test_a_pack_that_fails_since_it_was_taken_for_dead_opens_no_folder_again(store, monkeypatch):
    def fit_members(members, folders):
        store.recover()  # as the next driver does
        raise RuntimeError("its files are gone")

    monkeypatch.setattr("zoo.pack.run.fit_members", fit_members)
    with pytest.raises(RuntimeError, match="its files are gone"):
        fits(store, "abc", "def").run()
    assert list(store.trials.iterdir()) == []


def test_a_pack_that_fails_runs_trial_by_trial(store, monkeypatch):
    def fit_members(members, folders):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("zoo.pack.run.fit_members", fit_members)
    assert [record["status"] for record in fits(store, "abc", "def").run()] == ["done"] * 2

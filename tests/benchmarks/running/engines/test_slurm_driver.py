"""What the driver of an array does where tasks die, lines are lost and people are impatient. No task runs here."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.records.store import Store
from benchmarks.run import n_workers
from benchmarks.running.engines.slurm import END, SlurmEngine, _last_words
from benchmarks.running.engines.slurm_array import Array
from benchmarks.running.engines.slurm_batch import Batch, Journal, _lying, _salvage, entry_of
from benchmarks.running.engines.slurm_queue import LocalQueue, Resources, _user
from benchmarks.running.job import Job, PackJob
from benchmarks.tasks.noop import NOOP
from datamodules.errors import InputError


class Dying:
    """A queue whose tasks end before they begin."""

    kind, pause, waiting = "none", (0.0, 0.0), ""

    def __init__(self) -> None:
        self.resources = Resources()
        self.batches: list[list[Batch]] = []
        self.cancelled: list[str] = []
        self.interrupts = 0  # how often somebody presses Ctrl-C while it is asked

    def largest(self, workers: int) -> int:
        return 10

    def submit(self, name: str, folder: Path, batches: list[Batch], workers: int) -> str:
        self.batches.append(batches)
        return "nothing"

    def alive(self, name: str, folder: Path) -> set[int]:
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        return set()

    def cancel(self, name: str, folder: Path) -> None:
        self.cancelled.append(name)

    def log(self, folder: Path, task: int) -> None:
        return None

    def cause(self, name: str, folder: Path, task: int) -> str:
        return "it ended"


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path)
    store.trials.mkdir()
    return store


def pack(store: Store, *keys: str, fixed: bool = False) -> PackJob:
    jobs = []
    for seed, key in enumerate(keys):
        identity = {"study": "x", "key": key, "variant": "v", "varied": {}, "seed": seed}
        jobs.append(Job(store.folder, "noop", {"seed_everything": seed, **NOOP}, identity, 1, f"of{key}"))
    return PackJob(tuple(jobs), fixed)


def test_jobs_that_were_not_begun_run_again_once_under_other_names(store):
    queue = Dying()
    outcomes = list(SlurmEngine(store, queue, 2).run(PackJob.run, [(pack(store, key),) for key in ("a", "b")]))
    assert [outcome.crash.partition(";")[0] for outcome in outcomes] == ["it ended"] * 2
    assert len(queue.batches) == 2
    tokens = [{one.token for batch in array for (job,) in batch.jobs for one in job.jobs} for array in queue.batches]
    assert tokens[0] == {"ofa", "ofb"}
    assert len(tokens[1]) == 2
    assert tokens[0].isdisjoint(tokens[1])
    assert {one.token for outcome in outcomes for one in outcome.job[0].jobs} == tokens[1]


def test_a_task_whose_last_line_was_lost_is_not_waited_for_for_ever(store):
    array = Array(store.folder / "slurm/x", "none", [[[("a", "ofa")], [("b", "ofb")]]])
    array.write()
    journal = Journal(array.journal_path(0))
    journal.add({"started": 0, "at": 0.0})
    journal.add(entry_of(0, []))
    journal.add({"finished": True})  # and nothing of the second job
    array.read_journals()
    assert array.tasks_left() == {0}
    assert [array.dead(set()) for _ in range(2)] == [[], [0]]
    assert array.unfinished(0) == [1]


def test_nobody_else_can_put_anything_into_the_folder_that_jobs_unpickle(store):
    array = Array(store.folder / "slurm/x", "none", [])
    array.write()
    assert array.folder.stat().st_mode & 0o077 == 0


def test_whoever_cancels_twice_leaves_no_job_unmentioned(store, capsys):
    queue = Dying()
    engine = SlurmEngine(store, queue, 2)
    outcomes = engine.run(PackJob.run, [(pack(store, "a"),), (pack(store, "b"),)])
    queue.interrupts = 2
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    with pytest.raises(KeyboardInterrupt):
        engine.stop()
    (array,) = (store.folder / "slurm").iterdir()
    assert f"cancelling {array.name}" in capsys.readouterr().err
    assert (array / "array.json").is_file(), "so that the next driver knows of it"
    assert queue.cancelled == [array.name]
    engine.stop()
    assert queue.cancelled == [array.name] * 2
    assert not (array / "array.json").exists()
    engine.stop()
    assert len(queue.cancelled) == 2


def test_a_refused_array_leaves_nothing(store):
    class Refusing(Dying):
        def submit(self, name, folder, batches, workers):
            raise InputError("no")

    engine = SlurmEngine(store, Refusing(), 2)
    with pytest.raises(InputError, match="no"):
        list(engine.run(PackJob.run, [(pack(store, "a"),)]))
    engine.stop()
    assert not list((store.folder / "slurm").iterdir())


# --- a task that starts again -----------------------------------------------------------------------------------------


def test_what_earlier_starts_left_is_found_without_looking_through_all_trials_for_each(store, monkeypatch):
    ended = {"status": "done", "reason": "", "metrics": {}}
    job = pack(store, "a", "b", "c", "d")
    a, b, c, _ = job.jobs
    a.run()  # in the first start
    replace(b, token="ofb_1").run()  # in the second
    replace(c, token="ofc_1").open()  # what it died at
    left = replace(b, token="other").open()
    store.commit(store.scratch("e", "ofe"), {"key": "e", "token": "ofe", **ended})
    lying = _lying(store.folder)
    assert {key: sorted(tokens) for key, tokens in lying.items()} == {"a": [], "b": ["other"], "c": ["ofc_1"], "e": []}
    monkeypatch.setattr(Path, "glob", None)
    monkeypatch.setattr(os, "listdir", None)
    found, rest = _salvage(job, 2, lying)
    assert [record["key"] for record in found] == ["a", "b"]
    assert [one.token for one in rest.jobs] == ["ofc_2", "ofd_2"]
    assert not store.opened("c", "ofc_1").exists()
    assert left.is_dir(), "it is of another attempt"


def test_a_pack_whose_numbers_depend_on_all_of_it_starts_again_whole(store):
    job = pack(store, "a", "b", fixed=True)
    job.jobs[0].run()
    found, rest = _salvage(job, 1, _lying(store.folder))
    assert found == []
    assert [one.token for one in rest.jobs] == ["ofa_1", "ofb_1"]
    job.jobs[1].run()
    found, rest = _salvage(job, 1, _lying(store.folder))
    assert ([record["key"] for record in found], rest) == (["a", "b"], None)


# --- what is said -----------------------------------------------------------------------------------------------------


def test_processes_in_place_of_a_cluster_are_as_many_as_cores_and_called_so(store):
    cores = len(os.sched_getaffinity(0))
    args = argparse.Namespace(workers=None, engine="slurm", slurm_executor="local")
    assert n_workers(args) == cores
    args.slurm_executor = None
    assert n_workers(args) == 16
    assert n_workers(argparse.Namespace(workers=None)) == cores, "bench verify has no engines"
    assert SlurmEngine(store, LocalQueue(Resources()), 2).describe() == "2 local processes instead of SLURM tasks"
    assert SlurmEngine(store, Dying(), 1).describe() == "1 SLURM task at a time"


def test_the_last_words_are_those_of_the_end_of_a_log(tmp_path):
    log = tmp_path / "log"
    log.write_text("error: long ago\n" + END * "." + "\nand then this\nsubmitit WARNING\n")
    assert _last_words(log) == ", which ends with: and then this"
    log.write_text("an error: é\nthe end\n")
    assert _last_words(log) == ", which ends with: an error: é"
    assert _last_words(tmp_path / "none") == ""


def test_jobs_are_those_of_the_user_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert _user() not in ("", "somebody-else")

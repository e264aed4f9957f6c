"""Publishing a study when something is in the way: another project or account, another attempt, a wandb that breaks."""

import shlex
import shutil
from pathlib import Path

import pytest

import benchmarks.publish
from benchmarks.cli import main
from benchmarks.publish import push_after_run, study_hash, trial_id
from benchmarks.publish.trials import Recorded
from benchmarks.records.store import Store
from benchmarks.study.file import load_study
from zoo.tracking.options import WandbOptions

NOOP = """\
# Does it come through?
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary:
  kind: {plain: {raises: null}, raising: {raises: 'no'}}
baseline: {kind: plain}
metric: {name: score, mode: max}
seeds: 2
"""


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture
def noop(capfd) -> Path:
    """The folder of a study of four trials, two of which failed."""
    Path("noop.yaml").write_text(NOOP)
    assert run("run noop.yaml --workers 1") == 1
    capfd.readouterr()
    return Path("runs/noop")


def test_a_second_project_leaves_what_waits_for_the_first(noop, wandb_files, capfd):
    def projects(folder):
        return sorted((one.path.stem, one.run.project) for one in wandb_files(folder))

    assert run(f"push {noop} --wandb-project a") == 0
    first = projects(noop)
    assert len(first) == 5
    assert run(f"push {noop} --wandb-project b") == 0
    both = projects(noop)
    assert both == sorted([*first, *((run_id, "b") for run_id, _ in first)])
    capfd.readouterr()
    assert run(f"push {noop} --wandb-project a") == 0
    assert "0 trials published" in capfd.readouterr().err
    # What was thrown away comes again, and nothing else does.
    thrown = next(
        one.path.parent for one in wandb_files(noop) if one.run.project == "a" and one.run.job_type == "plain"
    )
    shutil.rmtree(thrown)
    assert run(f"push {noop} --wandb-project a") == 0
    assert "1 trial published" in capfd.readouterr().err
    assert projects(noop) == both


def test_another_attempt_and_another_account_have_runs_of_their_own(noop, wandb_server, capfd):
    assert run(f"push {noop}") == 0
    first = set(wandb_server.runs)
    assert run("run noop.yaml --workers 1 --retry-failed") == 1
    capfd.readouterr()
    assert run(f"push {noop}") == 0
    assert "2 trials published" in capfd.readouterr().err
    new = wandb_server.runs.keys() - first
    assert len(new) == 2
    keys = {record.parent.name for record in noop.glob("trials/*/result.json")}
    assert {run_id.partition("-")[0] for run_id in new} < keys
    assert all(any(old.startswith(run_id[:-7]) for old in first) for run_id in new), "one of each attempt"
    wandb_server.entity = "somebody"
    assert run(f"push {noop}") == 0
    assert "4 trials published" in capfd.readouterr().err
    assert run(f"push {noop}") == 0
    assert "0 trials published" in capfd.readouterr().err


def test_a_run_that_is_refused_keeps_no_other_back(noop, wandb_server, capfd):
    study, store = load_study(str(noop / "study.yaml")), Store(noop)
    trial = Recorded(study.variants[0], 0, store.record(store.plan()["plain"][0]))
    wandb_server.refuses = {trial_id(study, trial)}  # the first of all
    assert run(f"push {noop}") == 1
    err = capfd.readouterr().err
    assert "3 trials published" in err
    assert "plain, seed 0 was not published: W&B rejected the run in project" in err
    assert f"comparison-{study_hash(study)}" in wandb_server.runs
    wandb_server.refuses = set()
    assert run(f"push {noop}") == 0
    assert "1 trial published" in capfd.readouterr().err
    assert len(wandb_server.runs) == 5


def test_whatever_becomes_of_wandb_the_study_ends_as_it_ended(wandb_files, monkeypatch, capfd):
    import wandb

    teardown, ended = wandb.teardown, []

    def tear_down():
        teardown()
        ended.append(True)
        if len(ended) > 3:  # before and after the check, and before the study is published
            raise SystemExit(3)

    monkeypatch.setattr(wandb, "teardown", tear_down)
    Path("größe.yaml").write_text(NOOP)
    assert run("run größe.yaml --workers 1 --wandb") == 1, "two trials have failed"
    err = capfd.readouterr().err
    assert "4 trials published" in err
    assert "the wandb process ended with an error (SystemExit: 3)" in err
    runs = wandb_files("runs/größe")
    assert len(runs) == 5
    study = load_study("runs/größe/study.yaml")
    # W&B takes no other letters in the names of artifacts.
    (comparison,) = (one for one in runs if one.run.job_type == "comparison")
    assert "records.zip" in comparison.artifacts[f"gr__e-{study_hash(study)}"]


def test_an_odd_exception_is_said_with_how_to_go_on(noop, monkeypatch, capfd):
    publish, told = benchmarks.publish.publish_trial, []

    def fail(*args):
        told.append(True)
        if len(told) == 3:
            raise PermissionError("not yours")
        return publish(*args)

    monkeypatch.setattr(benchmarks.publish, "publish_trial", fail)
    assert run(f"push {noop}") == 1
    err = capfd.readouterr().err
    assert "2 trials published" in err
    assert (
        "W&B: publishing failed with PermissionError: not yours. Published runs are kept; to continue, run: bench"
        in err
    )
    assert run(f"push {noop}") == 0
    assert "2 trials published" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("no"), "but could not be published: RuntimeError: no. To publish it, run: "),
        (KeyboardInterrupt(), "publishing was interrupted. To continue, run: "),
    ],
    ids=["an exception", "Ctrl-C"],
)
def test_after_a_run_the_command_that_goes_on_says_all_that_was_said(error, words, noop, monkeypatch, capfd):
    def fail(*args):
        raise error

    monkeypatch.setattr(benchmarks.publish, "push", fail)
    options = WandbOptions("my project", "me", "offline")
    push_after_run(load_study(str(noop / "study.yaml")), Store(noop), options)
    again = f"bench push {noop} --wandb-project 'my project' --wandb-entity me --wandb-mode offline"
    assert capfd.readouterr().err.endswith(f"{words}{again}\n")

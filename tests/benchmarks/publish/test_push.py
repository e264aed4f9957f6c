"""Studies in Weights & Biases: what was published is read back from offline files, and from a server's side."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

import zoo.tracking.session
from benchmarks.cli import main
from benchmarks.publish import group_of, study_hash, trial_id
from benchmarks.publish.trials import Recorded
from benchmarks.records.store import Store
from benchmarks.study.file import load_study
from benchmarks.study.study import Study
from zoo.config import resolve
from zoo.tracking.content import LONGEST_JOB_TYPE, shortened

NOOP = """\
# Does it come through?
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary:
  kind: {plain: {raises: null}, raising: {raises: 'no: <b>'}, better: {returns: {score: 0.9}}}
baseline: {kind: plain}
metric: {name: score, mode: max}
seeds: 2
"""
FIT = """\
# Which activation?
base:
  model: {name: mlp, hidden_dims: [8], lr: 0.01, optimizer: sgd}
  data: {name: iris}
  trainer: {max_epochs: 3, gradient_clip_val: null}
  callbacks: {gradient_flow: true}
vary:
  how:
    relu: {model.activation: relu}
    tanh: {model.activation: tanh}
    wild: {model.lr: 1000000.0}
    elsewhere: {trainer.accelerator: gpu}
baseline: {how: relu}
metric: test/accuracy
also: [test/loss]
margin: 0.02
claims: [{claim: tanh is no worse, variant: tanh, is: no worse}]
seeds: 2
"""
KEY = "k" * 40


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture
def noop(capfd) -> Path:
    """The folder of a study of six trials, two of which failed."""
    Path("noop.yaml").write_text(NOOP)
    assert run("run noop.yaml --workers 1") == 1
    capfd.readouterr()
    return Path("runs/noop")


def id_of(study: Study, store: Store, key: str) -> str:
    """The id of the run of a trial."""
    return trial_id(study, Recorded(study.variants[0], 0, store.record(key)))


def files_of(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """All that is in a study's folder but for what W&B has."""
    there = (path for path in folder.rglob("*") if path.is_file() and "wandb" not in path.relative_to(folder).parts)
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in there}


def test_a_study_becomes_a_run_a_trial_and_a_comparison(wandb_runs, capfd, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    Path("acts.yaml").write_text(FIT)
    assert run("run acts.yaml --workers 1 --wandb-project mine") == 0
    err = capfd.readouterr().err
    assert "W&B: 8 trials published in" in err
    assert "wandb sync" in err
    folder = Path("runs/acts")
    study, store, runs = load_study(str(folder / "study.yaml")), Store(folder), wandb_runs(folder)
    group = group_of(study)
    assert group == f"acts-{study_hash(study)}"
    comparison = runs.pop(f"comparison-{study_hash(study)}")
    assert len(runs) == 8
    trials = pd.read_csv(folder / "trials.csv", keep_default_na=False)
    assert set(trials["status"]) == {"done", "diverged", "skipped"}
    for row in trials.to_dict("records"):
        shown, record = runs[id_of(study, store, row["key"])], store.record(row["key"])
        assert (shown.run.project, shown.run.run_group, shown.run.job_type) == ("mine", group, row["variant"])
        assert list(shown.run.tags) == ["acts", "mlp", "iris", row["status"]]
        assert resolve({name: shown.config[name] for name in record["config"]}) == record["config"]
        assert shown.config["seed"] == row["seed"] == shown.config["seed_everything"]
        assert shown.config["trial"]["key"] == row["key"]
        assert shown.config["environment"]["git"] == record["environment"]["git"]
        assert {name: shown.summary[name] for name in record["metrics"]} == record["metrics"]
        assert (shown.summary["status"], shown.summary["reason"]) == (row["status"], row["reason"])
        assert shown.exit_code == (row["status"] == "diverged")
        assert not shown.run.HasField("git")
        assert not shown.run.host
        curves = store.curves([row["key"]]).get(row["key"], {})
        assert len(shown.history) == len(curves.get("epoch", []))
        for name, values in curves.items():
            seen = [entry["trainer/global_step" if name == "step" else name] for entry in shown.history]
            assert [float(value) for value in seen] == pytest.approx(values, nan_ok=True, abs=0, rel=0)
        assert [entry["_step"] for entry in shown.history] == curves.get("epoch", [])
        assert all("gradient_norm/by_layer.values" in entry for entry in shown.history) or row["status"] != "done"

    assert (comparison.run.job_type, comparison.run.run_group, comparison.exit_code) == ("comparison", group, 0)
    assert comparison.run.notes == "Which activation?"
    (row,) = comparison.history
    for name in ("table", "claims"):
        entry = {k.rpartition(".")[2]: v for k, v in row.items() if k.startswith(f"{name}.")}
        told, table = json.loads(comparison.media(entry)), pd.read_csv(folder / f"{name}.csv")
        assert told["columns"] == list(table.columns)
        again = pd.DataFrame(told["data"], columns=told["columns"]).astype(table.dtypes)
        pd.testing.assert_frame_equal(again, table)
    for name in ("figure", "curves"):
        entry = {"path": row[f"figures/{name}.path"]}
        assert comparison.media(entry) == (folder / f"{name}.png").read_bytes()
    assert "tanh is no worse" in comparison.media({"path": row["report.path"]}).decode()
    kept = comparison.artifacts[group]
    assert {"records.zip", "study.yaml", "report.html", "table.csv", "claims.csv", "figure.svg"} <= set(kept)
    assert comparison.summary["trials"] == 8
    assert comparison.summary["trials/skipped"] == 2
    assert comparison.summary["finding"] == json.loads((folder / "summary.json").read_text())["finding"]


def test_a_later_push_adds_what_is_new_and_nothing_twice(noop, wandb_runs, capfd):
    before = files_of(noop)
    assert run(f"push {noop}") == 0
    assert "6 trials published" in capfd.readouterr().err
    first = wandb_runs(noop)
    assert len(first) == 7
    failed = [one for one in first.values() if one.exit_code]
    assert [one.summary["reason"] for one in failed] == ["RuntimeError: no: <b>"] * 2
    assert files_of(noop) == before, "records and report are untouched"
    again = {path: path.stat().st_mtime_ns for path in noop.glob("wandb/**/*.wandb")}
    assert run(f"push {noop}") == 0
    assert "0 trials published" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in noop.glob("wandb/**/*.wandb")} == again

    assert run("run noop.yaml --workers 1 --seeds 3 --wandb") == 1, "of the study, whatever W&B says"
    assert "3 trials published" in capfd.readouterr().err
    more = wandb_runs(noop)
    assert len(more) == 10
    assert first.keys() < more.keys()
    (comparison,) = (one for one in more.values() if one.run.job_type == "comparison")
    assert comparison.summary["trials"] == 9

    assert run(f"archive {noop} kept") == 0
    assert run("push kept/noop --wandb.project other") == 0
    archived = wandb_runs("kept/noop")
    assert archived.keys() == more.keys()
    for name, one in archived.items():
        assert (one.run.project, one.run.run_group) == ("other", more[name].run.run_group)
        if one.run.job_type != "comparison":
            assert {k: v for k, v in one.config.items() if k != "_wandb"} == {
                k: v for k, v in more[name].config.items() if k != "_wandb"
            }
            assert {k: v for k, v in one.summary.items() if "_" not in k} == {
                k: v for k, v in more[name].summary.items() if "_" not in k
            }


def test_a_push_that_is_killed_goes_on_where_it_was(wandb_runs):
    Path("noop.yaml").write_text(NOOP.replace("seeds: 2", "seeds: 30"))
    assert run("run noop.yaml --workers 2") == 1
    folder = Path("runs/noop")
    before, ledger = files_of(folder), folder / "wandb/pushed.jsonl"
    pusher = subprocess.Popen([sys.executable, "-m", "benchmarks.cli", "push", str(folder)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (ledger.is_file() and ledger.read_bytes().count(b"\n") >= 5) and time.monotonic() < deadline:
        time.sleep(0.005)
    pusher.send_signal(signal.SIGKILL)
    assert pusher.wait() == -signal.SIGKILL
    noted = ledger.read_bytes().count(b"\n")
    assert 5 <= noted < 90
    # As if it had died while it wrote: a run that is half there, and half a line.
    victim = max(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    text = ledger.read_text().splitlines()
    kept = [line for line in text if json.loads(line)["id"] != victim.stem.removeprefix("run-")]
    ledger.write_text("\n".join(kept) + '\n{"to": "offl')
    victim.write_bytes(victim.read_bytes()[:-100])
    assert run(f"push {folder}") == 0
    runs = wandb_runs(folder)
    assert len(runs) == 91
    assert all(one.exit_code is not None for one in runs.values()), "all are whole, and each is there once"
    assert files_of(folder) == before


@pytest.mark.parametrize("trouble", ["no study", "another study", "a file in the way", "two at once", "unreadable"])
def test_bad_input_is_a_sentence(trouble, noop, capfd):
    if trouble == "no study":
        assert run("push runs") == 2
        assert "runs is not a study folder" in capfd.readouterr().err
    elif trouble == "another study":
        (noop / "plan.json").write_text("{}")
        assert run(f"push {noop}") == 2
        assert "do not match its study.yaml" in capfd.readouterr().err
    elif trouble == "a file in the way":
        (noop / "wandb").write_text("mine")
        assert run(f"push {noop}") == 2
        assert "cannot write to" in capfd.readouterr().err
        assert (noop / "wandb").read_text() == "mine"
    elif trouble == "two at once":
        import fcntl

        (noop / "wandb").mkdir()
        with (noop / "wandb/pushed.jsonl").open("w") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            assert run(f"push {noop}") == 2
        assert "another process is publishing the study of" in capfd.readouterr().err
    else:
        record = next(noop.glob("trials/*/result.json"))
        record.write_bytes(record.read_bytes()[:-30])
        assert run(f"push {noop}") == 0
        err = capfd.readouterr().err
        assert f"({record.parent.name}) was not published: it is not valid JSON" in err
        assert "5 trials published" in err


# --- with a server ----------------------------------------------------------------------------------------------------


def test_online_the_ids_keep_rows_from_coming_twice(wandb_server, capfd):
    Path("acts.yaml").write_text(FIT.replace("    elsewhere: {trainer.accelerator: gpu}\n", ""))
    assert run("run acts.yaml --workers 1 --wandb") == 0
    folder, n = Path("runs/acts"), len(wandb_server.runs)
    assert n == 7
    assert f"W&B: 6 trials published in {wandb_server.url} (ablation-zoo)" in capfd.readouterr().err
    study, store = load_study("runs/acts/study.yaml"), Store(folder)
    before = {run_id: wandb_server.history(run_id) for run_id in wandb_server.runs}
    for row in pd.read_csv(folder / "trials.csv").to_dict("records"):
        held = wandb_server.runs[id_of(study, store, row["key"])]
        assert (held["groupName"], held["jobType"]) == (group_of(study), row["variant"])
        assert (held["complete"], held["exitcode"]) == (True, int(row["status"] == "diverged"))
        assert len(before[held["name"]]) == row["epochs_run"] or row["status"] == "diverged"
    kinds = [artifact["artifactTypeName"] for artifact in wandb_server.artifacts]
    assert kinds.count("study") == 1
    assert run(f"push {folder}") == 0
    assert "0 trials published" in capfd.readouterr().err
    (folder / "wandb/pushed.jsonl").unlink()  # nobody remembers
    assert run(f"push {folder}") == 0
    assert "6 trials published" in capfd.readouterr().err
    assert len(wandb_server.runs) == n
    after = {run_id: wandb_server.history(run_id) for run_id in wandb_server.runs}
    assert after == before, "the comparison's, too"
    kinds = [artifact["artifactTypeName"] for artifact in wandb_server.artifacts]
    assert kinds.count("study") == 1


def test_a_server_that_falls_silent_costs_the_rest_of_the_push_alone(noop, wandb_server, monkeypatch, capfd):
    monkeypatch.setattr(zoo.tracking.session, "UPLOAD", 2)
    monkeypatch.setattr(zoo.tracking.session, "WAIT", 4)
    before = files_of(noop)
    wandb_server.dies_after = 3
    assert run(f"push {noop}") == 1
    err = capfd.readouterr().err
    assert f"Published runs are kept; to continue, run: bench push {noop}" in err
    assert files_of(noop) == before
    wandb_server.dies_after, wandb_server.dead = None, False
    assert run(f"push {noop}") == 0
    assert "were already published" in capfd.readouterr().err
    assert len(wandb_server.runs) == 7
    assert all(held.get("complete") for held in wandb_server.runs.values())


def test_a_study_with_a_key_that_is_refused_does_not_run(wandb_server, monkeypatch, capfd):
    Path("noop.yaml").write_text(NOOP)
    monkeypatch.setenv("WANDB_API_KEY", "w" * 40)
    assert run("run noop.yaml --workers 1 --wandb") == 2
    assert "rejected the W&B API key" in capfd.readouterr().err
    assert not Path("runs").exists()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert run("run noop.yaml --workers 1 --wandb --wandb-project forbidden") == 1, "two trials have failed"
    err = capfd.readouterr().err
    assert "the study is done, but could not be published: W&B rejected the run in project 'forbidden'" in err
    assert len(list(Path("runs/noop/trials").iterdir())) == 6


def test_what_waits_on_disk_is_uploaded_by_wandb_sync(noop, wandb_server, wandb_runs, capfd):
    assert run(f"push {noop} --wandb-mode offline") == 0
    assert not wandb_server.runs
    waiting = wandb_runs(noop)
    cut = next(one.path for one in waiting.values() if one.run.job_type == "better")
    cut.write_bytes(cut.read_bytes()[:-20])  # as a crash leaves it
    sync = [sys.executable, "-m", "wandb", "sync", "--yes", *map(str, noop.glob("wandb/offline-run-*"))]
    done = subprocess.run(sync, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert wandb_server.runs.keys() == waiting.keys()
    for name, held in wandb_server.runs.items():
        assert held["groupName"] == waiting[name].run.run_group
    # What was uploaded is known, and not written again.
    assert run(f"push {noop} --wandb-mode offline") == 0
    assert "0 trials published" in capfd.readouterr().err


def test_long_names_are_shortened_to_different_ones(wandb_runs, capfd):
    long = "a name of a variant that is far too long for a type of job, and for a name of a run as well " * 2
    kinds = {f"{long}{end}": {"noise": 0.1 * end} for end in (1, 2)}
    study = {"task": "noop", "base": {"returns": {"score": 0.5}}, "vary": {"kind": kinds}, "seeds": 2}
    study |= {"baseline": {"kind": next(iter(kinds))}, "metric": {"name": "score", "mode": "max"}}
    Path("long.yaml").write_text("# Too long?\n" + yaml.safe_dump(study, width=1000))
    assert run("run long.yaml --workers 1") == 0
    assert run("push runs/long --wandb-mode offline") == 0
    runs = [one.run for name, one in wandb_runs(Path("runs/long")).items() if "comparison" not in name]
    assert {len(one.job_type) for one in runs} == {64}
    assert len({one.job_type for one in runs}) == 2
    assert {len(one.display_name) for one in runs} == {128}
    assert len({one.display_name for one in runs}) == 4
    assert all(one.display_name.endswith((", seed 0", ", seed 1")) for one in runs)


def test_the_types_of_jobs_of_shipped_studies_fit_and_differ():
    names = [variant.name for variant in load_study("safety_nets").variants]
    assert all(len(name) > 64 for name in names)
    types = [shortened(name, LONGEST_JOB_TYPE) for name in names]
    assert all(len(kind) == 64 for kind in types)
    assert len(set(types)) == len(names)

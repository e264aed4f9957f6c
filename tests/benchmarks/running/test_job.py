"""What a job leaves of a trial: one record, written once, and a config that says where an unfinished trial ran."""

import json

import pytest
import yaml

import zoo.config
import zoo.outputs.result
import zoo.train
from benchmarks.records.reading import read_curves
from benchmarks.records.record_file import read_stored_record
from benchmarks.running.job import Job, PackJob
from zoo.config import resolve
from zoo.outputs.provenance import environment

CONFIG = {"model": "mlp", "data": "iris", "trainer": {"max_epochs": 2, "accelerator": "cpu"}}


NOOP = {"sleep": 0.0, "returns": {"value": 1.0}, "noise": 0.0, "raises": None, "dies": None}


def job(folder, task="noop", config=NOOP, **more) -> Job:
    seed = config.get("seed_everything", 0)
    identity = {"study": "s", "key": f"key{seed}", "variant": "v", "varied": {}, "seed": seed}
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    return Job(folder, task, {**config, "seed_everything": seed}, identity, attempt=1, token="abc", **more)


@pytest.fixture
def behind_the_edge(monkeypatch):
    """Fail where a config is resolved, or a result is written besides the record."""

    def refuse(*args, **kwargs):
        raise AssertionError("a second time")

    monkeypatch.setattr(zoo.config, "resolve", refuse)
    monkeypatch.setattr(zoo.train, "resolve", refuse)
    monkeypatch.setattr(zoo.outputs.result, "write_atomically", refuse)


@pytest.mark.parametrize("pack", [True, False])
def test_a_trial_is_not_resolved_again_and_its_record_is_written_once(pack, tmp_path, behind_the_edge):
    record = job(tmp_path, "fit", resolve(CONFIG), options={"pack": pack}).run()
    assert (record["status"], record["reason"]) == ("done", "")
    folder = tmp_path / "trials/key0"
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "metrics.csv", "result.json"}
    assert read_stored_record(folder / "result.json", "key0").record == record
    assert len(read_curves(folder / "metrics.csv")["epoch"]) == record["epochs_run"] == 2


def test_trials_of_a_pack_are_not_resolved_again_and_their_records_are_written_once(tmp_path, behind_the_edge):
    configs = [{**resolve(CONFIG), "seed_everything": seed} for seed in (0, 1)]
    records = PackJob(tuple(job(tmp_path, "fit", config) for config in configs)).run()
    assert [record["status"] for record in records] == ["done", "done"]
    for seed in (0, 1):
        names = {path.name for path in (tmp_path / f"trials/key{seed}").iterdir()}
        assert names == {"config.yaml", "metrics.csv", "result.json"}


def test_a_record_has_all_that_the_result_of_a_run_has(tmp_path):
    record = job(tmp_path, "fit", resolve(CONFIG)).run()
    zoo.train.fit(CONFIG, tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result.keys() <= record.keys()
    assert result["environment"].keys() <= record["environment"].keys()
    for name in ("status", "reason", "metrics", "best_epoch", "epochs_run", "n_parameters", "sizes"):
        assert record[name] == result[name]


def test_the_record_of_a_crash_says_where_it_ran(tmp_path):
    crashed = job(tmp_path, environment={"host": "far"})
    scratch = crashed.open()
    assert {path.name for path in scratch.iterdir()} == {"config.yaml"}
    record = crashed.end("crashed", "killed by SIGKILL", 2.0)
    assert record["environment"]["host"] == "far"
    assert record["environment"]["cpu"] == environment()["cpu"]
    config = (tmp_path / "trials/key0/config.yaml").read_text()
    assert yaml.safe_load(config) == crashed.config
    assert config.startswith('# Started on: {"git"')


@pytest.mark.parametrize("left", [None, "", '# Started on: {"host": "f', "model: mlp\n"])
def test_a_process_that_died_before_it_could_say_where_leaves_nulls(left, tmp_path):
    crashed = job(tmp_path)
    scratch = crashed.open()
    (scratch / "config.yaml").unlink() if left is None else (scratch / "config.yaml").write_text(left)
    record = crashed.end("crashed", "killed by SIGKILL", 2.0)
    where = {name: value for name, value in record["environment"].items() if name not in ("code_version", "precision")}
    assert set(where.values()) == {None}
    assert yaml.safe_load((tmp_path / "trials/key0/config.yaml").read_text()) == crashed.config

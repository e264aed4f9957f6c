"""What trials do, by the real command: `noop`, a function of the user's own, and how their ends become rows."""

import json
import shlex
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.cli import main
from benchmarks.tasks import find_task
from benchmarks.tasks.own_code import importable

NOOP = """\
# Does noise matter?
task: noop
base: {returns: {value: 1}}
vary: {noise: [0.0, 0.5]}
seeds: 3
baseline: {noise: 0.0}
metric: {name: value, mode: max}
"""
OWN = """\
# Does x matter?
task: MODULE:measure
base: {how: fine}
vary: {x: [1, 2]}
seeds: 2
baseline: {x: 1}
metric: {name: score, mode: max}
"""
SOURCE = '''\
"""A task of a user's own."""

import math
import time


def measure(config, folder):
    seed = config.pop("seed_everything")  # the config is its own
    (folder / "notes.txt").write_text(f"seed {seed}")
    score = {"score": config["x"] + seed / 10, "other": math.inf}
    if config["x"] == 1:
        return score
    if config["how"] == "raises":
        raise ValueError(f"no score for {config['x']}\\nand more")
    if config["how"] == "hangs":
        time.sleep(600)
    return {"fine": score, "is nan": {"score": math.nan}, "forgets": {"scor": 1}, "returns none": None}[config["how"]]
'''


class Ran:
    """What `bench run` left."""

    def __init__(self, folder: Path, status: int, out: str, err: str) -> None:
        self.folder, self.status, self.out, self.err = folder, status, out, err
        self.trials = pd.read_csv(folder / "trials.csv", keep_default_na=False)

    def column(self, name: str) -> list:
        return self.trials[name].tolist()

    def trial(self, number: int) -> Path:
        """The folder of a trial."""
        return self.folder / "trials" / self.column("key")[number]

    def record(self, number: int) -> dict:
        return json.loads((self.trial(number) / "result.json").read_text())


@pytest.fixture
def run(tmp_path, capsys) -> Callable[[str, str], Ran]:
    """Runs a study's text in one worker."""

    def run(text: str, options: str = "") -> Ran:
        (tmp_path / "s.yaml").write_text(text)
        command = ["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "runs"), "--workers", "1"]
        status = main([*command, *shlex.split(options)])
        return Ran(tmp_path / "runs/s", status, *capsys.readouterr())

    return run


@pytest.fixture
def own(tmp_path) -> str:
    """A study whose task lies beside its file, in a module that no other test has loaded."""
    module = f"own_{uuid.uuid4().hex}"
    (tmp_path / f"{module}.py").write_text(SOURCE)
    return OWN.replace("MODULE", module)


# --- a function of the user's own ------------------------------------------------------------------------------------


def test_a_function_of_ones_own_gives_its_metrics(run, own):
    ran = run(own)
    assert ran.status == 0
    assert ran.column("status") == ["done"] * 4
    assert ran.column("value") == [1.0, 1.1, 2.0, 2.1]
    assert ran.column("x") == [1, 1, 2, 2]
    record = ran.record(3)
    assert record["metrics"] == {"score": 2.1, "other": None}, "what is not finite is null in JSON"
    assert record["task"] == yaml.safe_load(own)["task"]
    assert (ran.trial(3) / "notes.txt").read_text() == "seed 1", "its folder is the trial's"


def test_what_the_function_does_to_its_config_is_not_recorded(run, own):
    ran = run(own)
    expected = {"seed_everything": 1, "how": "fine", "x": 2}
    assert yaml.safe_load((ran.trial(3) / "config.yaml").read_text()) == expected
    assert ran.record(3)["config"] == expected


def test_its_exception_is_a_row_with_a_reason_and_a_traceback(run, own):
    ran = run(own, "--set how=raises")
    assert ran.status == 1
    assert ran.column("status") == ["done", "done", "failed", "failed"]
    assert ran.column("reason")[2:] == ["ValueError: no score for 2"] * 2
    assert ran.column("value")[2:] == ["", ""]
    assert "2, seed 1: failed: ValueError: no score for 2" in ran.err
    traceback = (ran.trial(2) / "traceback.txt").read_text()
    assert "in measure\n" in traceback
    assert traceback.endswith("ValueError: no score for 2\nand more\n")
    assert (ran.trial(2) / "notes.txt").is_file(), "what it wrote before is kept"


@pytest.mark.parametrize(
    ("how", "status", "exit_status", "reason"),
    [
        ("is nan", "diverged", 0, "score is not finite"),
        ("forgets", "failed", 1, "the task returned no 'score', only scor"),
        ("returns none", "failed", 1, "must return its metrics, a mapping of names to numbers; got None"),
    ],
)
def test_a_metric_that_is_not_there_is_a_row_with_a_reason(run, own, how, status, exit_status, reason):
    ran = run(own, f"--set 'how={how}'")
    assert ran.status == exit_status
    assert ran.column("status") == ["done", "done", status, status]
    assert all(reason in given for given in ran.column("reason")[2:])
    assert pd.read_csv(ran.folder / "table.csv")[["n", "n_failed"]].to_numpy().tolist() == [[2, 0], [0, 2]]


def test_another_source_of_the_task_is_another_version_of_the_code(run, own, tmp_path):
    task = yaml.safe_load(own)["task"]
    first = run(own)
    with importable(tmp_path):
        assert first.record(0)["environment"]["code_version"] == find_task(task).code_version()
    assert "another version" not in run(own).err
    (tmp_path / f"{task.partition(':')[0]}.py").write_text(SOURCE.replace("seed / 10", "seed / 10 + 1"))
    again = run(own)
    assert "4 of them were made by another version of the code" in again.err
    assert "0 trials run" in again.out
    more = run(own, "--seeds 3")
    assert more.column("value") == [1.0, 1.1, 2.2, 2.0, 2.1, 3.2], "what is there stays, what is new is by the new code"


# --- noop ------------------------------------------------------------------------------------------------------------


def test_noop_returns_what_it_is_told_with_noise_by_the_seed(run):
    ran = run(NOOP)
    values = ran.column("value")
    assert ran.status == 0
    assert values[:3] == [1.0] * 3
    assert len(set(values[3:])) == 3
    louder = run(NOOP.replace("[0.0, 0.5]", "[0.0, 1.0]")).column("value")
    assert [2 * (value - 1) for value in values[3:]] == pytest.approx([value - 1 for value in louder[3:]])


def test_noop_raises(run):
    ran = run(NOOP.replace("noise: [0.0, 0.5]", "raises: [null, out of cheese]").replace("noise: 0.0", "raises: null"))
    assert ran.status == 1
    assert ran.column("status") == ["done"] * 3 + ["failed"] * 3
    assert ran.column("reason")[3:] == ["RuntimeError: out of cheese"] * 3
    assert all((ran.trial(number) / "traceback.txt").is_file() for number in (3, 4, 5))


def test_noop_dies_and_is_tried_twice(run):
    ran = run(
        NOOP.replace("noise: [0.0, 0.5]", "dies: [null, SIGKILL]").replace("noise: 0.0", "dies: null"), "--seeds 1"
    )
    assert ran.status == 1
    assert ran.column("status") == ["done", "crashed"]
    assert ran.column("reason")[1] == "killed by SIGKILL"
    assert ran.record(1)["attempt"] == 2
    again = run((ran.folder.parents[1] / "s.yaml").read_text(), "--seeds 1")
    assert "1 trial run" in again.out, "a crash is tried again by the next command"


def test_noop_sleeps(run):
    ran = run(NOOP.replace("{returns", "{sleep: 0.3, returns"), "--seeds 1")
    assert all(0.3 <= ran.record(number)["wall_seconds"] < 10 for number in (0, 1))


def test_other_files_beside_a_study_do_not_matter(run, tmp_path):
    (tmp_path / "calendar.py").write_text("raise RuntimeError('not the standard one')")
    assert run(NOOP, "--seeds 1").status == 0


# --- options ---------------------------------------------------------------------------------------------------------


def test_a_trial_that_takes_too_long_fails_and_the_others_go_on(run):
    text = NOOP.replace("noise: [0.0, 0.5]", "sleep: [0.0, 600.0]").replace("noise: 0.0", "sleep: 0.0")
    ran = run(
        text.replace("[0.0, 600.0]", "[600.0, 0.0]"), "--trial-timeout 6 --seeds 1"
    )  # many times what a noop takes
    assert ran.status == 1
    assert ran.column("status") == ["failed", "done"]
    assert ran.column("reason")[0] == "timeout: the trial took more than 6 s"
    assert 6 <= ran.record(0)["wall_seconds"] < 600


def test_a_very_long_timeout_is_none(run):
    assert run(NOOP, "--trial-timeout 1e9 --seeds 1").status == 0
    assert run(NOOP, "--trial-timeout inf --seeds 2").status == 0


def test_a_failed_trial_runs_again_only_on_request(run, own):
    first = run(own, "--set how=raises")
    assert "4 trials run" in first.out
    again = run(own, "--set how=raises")
    assert again.status == 1
    assert "0 trials run" in again.out
    retried = run(own, "--set how=raises --retry-failed")
    assert "2 trials run" in retried.out
    assert [retried.record(number)["attempt"] for number in range(4)] == [1, 1, 2, 2]
    assert (retried.trial(2) / "attempts/1/traceback.txt").is_file()


def test_filters_run_the_chosen_trials_and_the_rest_is_pending(run):
    ran = run(NOOP, "--filter noise=0.5 --filter seed=0 --filter seed=2")
    assert ran.status == 0
    assert ran.column("status") == ["pending"] * 3 + ["done", "pending", "done"]
    assert ran.column("value")[:3] == [""] * 3
    assert "4 of 6 trials have not run yet." in ran.err
    assert "2 trials run" in ran.out
    rest = run(NOOP)
    assert rest.column("status") == ["done"] * 6
    assert "4 trials run" in rest.out


def test_settings_change_the_base_and_so_the_keys(run):
    one, two = run(NOOP), run(NOOP, "--set returns.value=2")
    assert two.column("value")[:3] == [2.0] * 3
    assert not set(one.column("key")) & set(two.column("key"))
    assert two.record(0)["config"]["returns"] == {"value": 2}
    assert yaml.safe_load((two.folder / "study.yaml").read_text())["base"] == {"returns": {"value": 2}}
    back = run(NOOP)
    assert "0 trials run" in back.out, "records of both are kept"
    pd.testing.assert_frame_equal(back.trials, one.trials)

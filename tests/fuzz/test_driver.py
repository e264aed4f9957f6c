"""The driver of the fuzz test sees each kind of wrong answer."""

import itertools
import os
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import driver
from tests.fuzz.driver import CPU_LIMIT, MINE, WALL_LIMIT, Hang, Input, answers


def fail(argv):
    raise KeyError("planted")


def spin(argv):
    for _ in itertools.count():
        pass


def wait(argv):
    time.sleep(100)


def swallow(argv):
    """Spin behind a handler of all usual exceptions."""
    try:
        spin(argv)
    except Exception:
        return 0


def leave(status):
    def main(argv):
        raise SystemExit(status)

    return main


def say(text, status):
    def main(argv):
        print(text, file=sys.stderr)
        return status

    return main


def overwrite(argv):
    Path(MINE).write_text("overwritten")
    return 0


def touch(argv):
    Path(MINE).touch()
    return 0


def refuse(argv):
    print(f"bench: {argv[0]} is not good; pass another.", file=sys.stderr)
    os.chdir("/")
    os.environ["LEFT_BEHIND"] = "1"
    return 2


WRONG = {
    "a verb that raises": (fail, "KeyError escaped: \"'planted'\" at"),
    "a verb that computes for ever": (spin, "hang: more than"),
    "a verb that waits for ever": (wait, "hang: more than"),
    "a hang behind a handler": (swallow, "hang: more than"),
    "status 3": (lambda argv: 3, "the status is 3"),
    "no status": (lambda argv: None, "the status is None"),
    "true as status": (lambda argv: True, "the status is True"),
    "exit with text": (leave("bye"), "the status is 'bye'"),
    "a printed traceback": (say("Traceback (most recent call last):", 1), "a traceback was printed"),
    "a refusal without a word": (lambda argv: 2, "the status is 2 without a word on stderr"),
    "a file overwritten": (overwrite, "mine.txt was changed"),
    "a file touched": (touch, "mine.txt was changed"),
}
RIGHT = {"a refusal": refuse, "success": lambda argv: 0, "exit of argparse": leave(None), "exit 1": leave(1)}


@pytest.fixture(autouse=True)
def short_limits(monkeypatch):
    assert (CPU_LIMIT, WALL_LIMIT) == (5, 60)
    monkeypatch.setattr(driver, "CPU_LIMIT", 0.2)
    monkeypatch.setattr(driver, "WALL_LIMIT", 1.0)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_is_seen(case, tmp_path):
    main, problem = WRONG[case]
    (answer,) = answers([Input("x-1", "bench", ["run", "\ud800"])], tmp_path, {"bench": main})
    assert len(answer.problems) == 1
    assert answer.problems[0].startswith(problem)
    assert str(answer).startswith("x-1: bench 'run' '\\ud800'\n    " + problem)


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_answer_is_none_of_them(case, tmp_path):
    here = Path.cwd()
    (answer,) = answers([Input("x-1", "zoo", ["a"])], tmp_path, {"zoo": RIGHT[case]})
    assert answer.problems == ()
    assert Path.cwd() == here
    assert "LEFT_BEHIND" not in os.environ
    assert not list(tmp_path.iterdir())


def test_all_inputs_run_after_a_hang(tmp_path):
    inputs = [Input(f"x-{n}", name, []) for n, name in enumerate(("zoo", "bench", "zoo"))]
    found = list(answers(inputs, tmp_path, {"zoo": lambda argv: 0, "bench": spin}))
    assert [bool(answer.problems) for answer in found] == [False, True, False]
    assert not issubclass(Hang, Exception)

"""What is asked of a task is asked of its object, and not decided by comparing its name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks.tasks import BUILT_IN, find_task
from datamodules.errors import InputError

FOLDER = Path(benchmarks.__file__).parent
COMPARED = re.compile(r"task (==|!=)|\.task (==|!=)|in (study|plan\.study|self)\.task")


def test_no_task_is_known_by_its_name_outside_of_tasks():
    files = [
        file for file in FOLDER.rglob("*.*") if file.suffix in (".py", ".j2") and FOLDER / "tasks" not in file.parents
    ]
    assert len(files) > 50
    found = [
        f"{file.name}: {line}" for file in files for line in file.read_text().splitlines() if COMPARED.search(line)
    ]
    assert found == []


def test_the_comparisons_that_were_there_would_be_found():
    for line in ('if study.task != "fit":', 'if ":" in study.task:', 'preload=study.task != "noop"', 'task == "fit"'):
        assert COMPARED.search(line), line


def test_what_is_asked_of_a_task():
    fit, noop, signal, own = (find_task(name) for name in ("fit", "noop", "signal_propagation", "any:thing"))
    assert [task.name for task in (fit, noop, signal, own)] == ["fit", "noop", "signal_propagation", "any:thing"]
    assert [task.needs_torch for task in (fit, noop, signal, own)] == [True, False, True, True]
    assert [task.trains for task in (fit, noop, signal, own)] == [True, False, False, False]
    assert [task.is_own for task in (fit, noop, signal, own)] == [False, False, False, True]
    assert [dict(task.options(pack=False)) for task in (fit, noop, signal, own)] == [{"pack": False}, {}, {}, {}]
    assert [dict(task.options(pack=True)) for task in (fit, noop, signal, own)] == [{}, {}, {}, {}]
    config = {"data": {"name": "csv", "path": "/x"}, "trainer": {"precision": "bf16"}}
    assert [task.precision(config) for task in (fit, noop, signal, own)] == ["bf16", None, None, None]
    assert fit.precision({}) == "32-true"
    assert fit.without_locations(config) == {**config, "data": {"name": "csv"}}
    assert all(task.without_locations(config) == config for task in (noop, signal, own))


def test_the_metrics_of_a_config_are_known_before_it_runs():
    assert find_task("noop").metrics(find_task("noop").resolve({"returns": {"a": 1}})) == ["a"]
    config = find_task("fit").resolve({"model": {"name": "perceptron"}, "data": {"name": "iris"}})
    assert {"test/accuracy", "val/loss"} <= set(find_task("fit").metrics(config))
    assert find_task("any:thing").metrics({}) is None


@pytest.mark.parametrize("name", ["fitt", "a:b:c", "a-b:f", ":f", "a:", None, ["fit"], 3])
def test_what_cannot_name_a_task_is_refused(name):
    with pytest.raises(InputError, match="task"):
        find_task(name)


def test_a_task_is_one_object_and_costs_no_torch():
    code = (
        "import sys\n"
        "from benchmarks.tasks import BUILT_IN, find_task\n"
        "assert all(find_task(name) is find_task(name) for name in [*BUILT_IN, 'a.b:c'])\n"
        "assert not {'torch', 'lightning', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(BUILT_IN) == {"fit", "noop", "signal_propagation"}

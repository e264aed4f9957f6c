"""Studies on a Ray cluster, and the processes of that cluster."""

import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd

from benchmarks.cli import main

PATIENCE = 180.0  # seconds until a test gives up: a guard, nothing is timed by it
SMALL = 80 * 2**20  # bytes of a node's object store
NOOP = """\
# Does it survive?
task: noop
base: {sleep: 0.2, noise: 1.0}
vary:
  returns: [{value: 1.0}, {value: 2.0}]
baseline: {returns: {value: 1.0}}
metric: {name: value, mode: max}
seeds: 10
"""


def raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"it has not come about in {PATIENCE:g} s"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def at_work(pid: int) -> list[int]:
    """The workers of a raylet that are at a trial."""
    found = []
    for child in children(pid):
        with suppress(OSError):
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::serve"):
                found.append(child)
    return found


# --- studies ----------------------------------------------------------------------------------------------------------


def run(folder: Path, text: str, options: str, name: str = "study") -> int:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)
    return main(shlex.split(f"run {folder}/{name}.yaml --out {folder}/runs {options}"))


def seen(trials: Path) -> dict[Path, tuple[bytes, int]]:
    """The content of each record that is there, and when it was written."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in trials.glob("[!.]*/result.json")}


def assert_as_if_undisturbed(folder: Path, before: dict[Path, tuple[bytes, int]], text: str) -> None:
    """All is done with the numbers of local workers; what was done before is as it was, and no trial ran again."""
    study = folder / "runs/study"
    assert run(folder / "undisturbed", text, "--workers 2") == 0
    trials, others = (
        pd.read_csv(at / "trials.csv").drop(columns="train_seconds")
        for at in (study, folder / "undisturbed/runs/study")
    )
    pd.testing.assert_frame_equal(trials, others, check_exact=True)
    assert (trials["status"] == "done").all()
    for path, (content, written) in before.items():
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, written)
    assert sorted(path.name for path in (study / "trials").iterdir()) == sorted(trials["key"])
    assert not list(study.glob("trials/*/attempts"))

"""A study of two variants, and what tests of its records share."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.cli import main
from benchmarks.records.store import Store

STUDY = """\
# Which is better?
task: noop
base: {returns: {score: 0.5}, noise: 0.01}
vary:
  kind:
    a: {returns: {score: 0.5}}
    b: {returns: {score: 0.6}}
baseline: {kind: a}
metric: {name: score, mode: max}
seeds: 5
"""


def run(command: str) -> int:
    return main(shlex.split(command))


def values(folder: Path) -> dict[tuple[str, int], float]:
    """The values in a report's table of trials, by variant and seed."""
    table = pd.read_csv(folder / "trials.csv")
    return {(row.variant, row.seed): row.value for row in table.itertuples()}


def old_archive(ab: Path, to: Path, edit: Callable[[list[dict[str, Any]]], object]) -> Path:
    """The records of a folder as a `records.jsonl`, edited."""
    to.mkdir()
    shutil.copy(ab / "study.yaml", to)
    lines = [Store(ab).record(key) for keys in Store(ab).plan().values() for key in keys]
    edit(lines)
    (to / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return to

"""Reads trial records and learning curves from disk."""

import csv
import json
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from datamodules.errors import require

Record = dict[str, Any]


Curves = dict[str, list[Any]]  # columns of metrics.csv, a value an epoch


RECORDS = "records.jsonl"


SCHEMA = 1  # of records and configs; it goes into every key


class Unreadable(Exception):  # noqa: N818 - it names the record, not the event
    """A trial's folder without a record that can be read; the message says why."""


def is_final(record: Record | None, retry_failed: bool = False) -> bool:
    """Whether a trial with this record is not to be run again: a crash or a skipped trial is, a failure on request."""
    return record is not None and record["status"] in (
        ("done", "diverged") if retry_failed else ("done", "diverged", "failed")
    )


def read_curves(path: Path) -> Curves:
    """The columns of a `metrics.csv`, by name; none where there is no such file."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _number(cell: str) -> float | int | str | None:
    if cell == "":
        return None
    try:
        return int(cell) if cell.lstrip("-").isdigit() else float(cell)
    except ValueError:
        return cell


def read_records(folder: Path, keys: Container[str] | None = None) -> Iterator[Record]:
    """The records of an archive, in its order; none where there is no archive.

    Args:
        folder: The study's folder.
        keys: Only those of these trials, at a fraction of the cost.

    Raises:
        InputError: A line cannot be read.
    """
    path = folder / RECORDS
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if keys is not None and (named := re.search(r'"key": "(\w+)"', line[:1000])) and named[1] not in keys:
                continue
            try:
                record = json.loads(line)
                good = {"key", "variant", "seed", "status", "metrics"} <= record.keys()
            except (ValueError, AttributeError):
                good = False
            require(good, f"line {number} of {path} is no trial's record; restore the file, or move it away.")
            _check_schema(record, f"line {number} of {path}")
            yield record


def _read(path: Path, key: str) -> Record:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unreadable(error.strerror) from None
    except ValueError as error:
        raise Unreadable(f"it is no JSON: {error}") from None
    known = isinstance(record, dict) and {"key", "status"} <= record.keys()
    if not (known and isinstance(record.get("metrics"), dict)):
        raise Unreadable("it is no trial's record")
    if record["key"] != key:
        raise Unreadable(f"it is the record of another trial, {record['key']}")
    _check_schema(record, str(path))
    return record


def _check_schema(record: Record, where: str) -> None:
    schema = record.get("schema", SCHEMA)
    require(
        schema == SCHEMA,
        f"{where} has schema {schema}, and this version reads schema {SCHEMA} alone; use the version of ablation-zoo "
        "that wrote it, or run the study again into another folder.",
    )

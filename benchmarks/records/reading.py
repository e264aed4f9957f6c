"""Read trial records and learning curves from disk."""

import csv
import json
from pathlib import Path
from typing import Any

from datamodules.errors import require

from .columns import Column, Curves

Record = dict[str, Any]
OLD_ARCHIVE = "records.jsonl"  # what `bench archive` wrote before `records.zip`, see `compact`
SCHEMA = 1  # version of records and configs; part of every key
REMEDY = "restore the file, or move it away."


class Unreadable(Exception):  # noqa: N818 - it names the record, not the event
    """A trial's folder has no readable record; the message says why."""


def is_final(record: Record | None, retry_failed: bool = False) -> bool:
    """Whether a trial with this record is not run again; crashed and skipped trials are, failed ones on request."""
    return record is not None and record["status"] in (
        ("done", "diverged") if retry_failed else ("done", "diverged", "failed")
    )


def read_curves(path: Path) -> dict[str, list[Any]]:
    """The columns of a `metrics.csv` by name; empty if there is no such file."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _number(cell: str | None) -> float | int | str | None:
    if not cell:  # None in a row that was cut off
        return None
    try:
        return int(cell) if cell.lstrip("-").isdigit() else float(cell)
    except ValueError:
        return cell


class OldArchive:
    """The records of a `records.jsonl`, in which each line is a complete record with its curves; read once.

    Attributes:
        path: The file.
        records: One per trial, in the study's order, without their curves.

    Raises:
        InputError: A line cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self._curves: dict[str, Curves] = {}
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                where = f"line {number} of {path}"
                try:
                    record = json.loads(line)
                    curves = {name: Column.of(values) for name, values in (record.pop("curves", None) or {}).items()}
                except (ValueError, AttributeError, TypeError):
                    record, curves = None, {}
                self.records.append(check_record(record, where))
                if curves:
                    self._curves[record["key"]] = curves

    def curves(self, key: str) -> Curves:
        """The curves of a trial; empty if it has none."""
        return self._curves.get(key, {})


def check_record(record: Any, where: str) -> Record:
    """The record itself, if it is one.

    Args:
        record: The parsed line.
        where: The line and the file, for the error.

    Raises:
        InputError: It is not a record, or of another schema.
    """
    good = isinstance(record, dict) and {"key", "variant", "seed", "status", "metrics"} <= record.keys()
    good = good and isinstance(record["metrics"], dict)
    good = good and all(isinstance(record[name], str) for name in ("key", "variant", "status"))
    require(good, f"{where} is not a trial's record; {REMEDY}")
    _check_schema(record, where)
    return record


def _read(path: Path, key: str) -> Record:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unreadable(error.strerror) from None
    except ValueError as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None
    known = isinstance(record, dict) and {"key", "status"} <= record.keys()
    if not (known and isinstance(record.get("metrics"), dict)):
        raise Unreadable("it is not the record of a trial")
    if record["key"] != key:
        raise Unreadable(f"it is the record of another trial, {record['key']}")
    _check_schema(record, str(path))
    return record


def _check_schema(record: Record, where: str) -> None:
    schema = record.get("schema", SCHEMA)
    require(
        schema == SCHEMA,
        f"{where} has schema {schema}, but this version only reads schema {SCHEMA}; use the version of ablation-zoo "
        "that wrote it, or run the study again into another folder.",
    )

"""Read trial records and learning curves from disk."""

import csv
import io
from pathlib import Path
from typing import Any

from datamodules.errors import InputError, require
from zoo.outputs.files import read_regular
from zoo.plain import canonical

from ..tasks import find_task
from .columns import Column, Curves
from .record_file import Record, check_schema, fault_of, parse

OLD_ARCHIVE = "records.jsonl"  # what `bench archive` wrote before `records.zip`, see `compact`
REMEDY = "restore the file, or move it away."


def is_final(record: Record | None, retry_failed: bool = False) -> bool:
    """Whether a trial with this record is not run again; crashed and skipped trials are, failed ones on request."""
    return record is not None and record["status"] in (
        ("done", "diverged") if retry_failed else ("done", "diverged", "failed")
    )


def is_alike(record: Record, other: Record) -> bool:
    """Whether two records of a key have the same config, apart from where the data are; one without is not checked."""
    if not record.get("config") or not other.get("config"):
        return True
    own = find_task(other["task"]).without_locations
    ours, theirs = own(record["config"]), own(other["config"])
    return ours == theirs or canonical(ours) == canonical(theirs)


def read_curves(path: Path) -> dict[str, list[Any]]:
    """The columns of a `metrics.csv` by name; empty if there is no such file.

    Raises:
        InputError: It is not a CSV file.
    """
    try:
        text = read_regular(path).decode(errors="backslashreplace")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except FileNotFoundError:
        return {}
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); {REMEDY}") from None
    names = [name for name in (rows[0] if rows else ()) if name is not None]  # None has what is beyond the columns
    return {name: [_number(row[name]) for row in rows] for name in names}


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
        for number, line in enumerate(io.BytesIO(read_archive(path)), 1):
            where = f"line {number} of {path}"
            try:
                record = parse(line)
                curves = {name: Column.of(values) for name, values in (record.pop("curves", None) or {}).items()}
            except (ValueError, AttributeError, TypeError, OverflowError):
                record, curves = None, {}
            self.records.append(check_record(record, where))
            if curves:
                self._curves[record["key"]] = curves

    def curves(self, key: str) -> Curves:
        """The curves of a trial; empty if it has none."""
        return self._curves.get(key, {})


def read_archive(path: Path) -> bytes:
    """The content of an archive's file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return read_regular(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from None


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
    check_schema(record, where)
    fault = fault_of(record, archived=True)
    require(not fault, f"{where} is not a trial's record: {fault}; {REMEDY}")
    return record

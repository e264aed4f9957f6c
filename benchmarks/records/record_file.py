"""The file of a trial's record, `result.json`: how it is written, and what makes it unreadable.

Its last line is a checksum of everything before it. If the trial has learning curves, the line before is the checksum
of `metrics.csv`. Files of earlier versions have neither.
"""

import hashlib
import json
import reprlib
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.errors import require
from zoo.outputs.files import read_regular
from zoo.plain import is_number

Record = dict[str, Any]
SCHEMA = 1  # version of records and configs; part of every key
STATUSES = ("done", "diverged", "failed", "crashed", "skipped")
CHECKSUM, CURVES_CHECKSUM = "checksum", "curves_checksum"
SEAL = f',\n "{CHECKSUM}": "'
NONE, QUOTES = type(None), "'\""
# Types of the values of a record, and of its environment. Records of earlier versions may lack some of them.
FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("study", "key", "variant", "task", "status", "reason", "started", "token"), (str,)),
    **dict.fromkeys(("schema", "seed", "attempt"), (int,)),
    **dict.fromkeys(("best_epoch", "epochs_run", "n_parameters"), (int, NONE)),
    **dict.fromkeys(("train_seconds", "wall_seconds"), (int, float, NONE)),
    **dict.fromkeys(("varied", "metrics", "environment", "config"), (dict,)),
    **dict.fromkeys(("sizes", "peak_memory_bytes"), (dict, NONE)),
    **dict.fromkeys(("pack", "attempts"), (list,)),
}
OF_ENVIRONMENT: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("code_version", "python", "platform", "cpu", "device", "precision"), (str, NONE)),
    **dict.fromkeys(("cores", "threads", "pack_size", "world_size"), (int, NONE)),
    **dict.fromkeys(("git", "packages"), (dict, NONE)),
    "gpus": (list, NONE),
}


class Unreadable(Exception):  # noqa: N818 - it names the record, not the event
    """A trial's folder has no readable record; the message says why."""


class Stored(NamedTuple):
    """A record as read from its file.

    Attributes:
        record: The record, without checksums.
        digest: Checksum of its file and of its learning curves.
    """

    record: Record
    digest: str


def sealed(record: Record, curves: bytes | None) -> str:
    """The text of a record's file.

    Args:
        record: The record.
        curves: Content of `metrics.csv`; None if there is no such file.
    """
    whole = record if curves is None else {**record, CURVES_CHECKSUM: checksum(curves)}
    body = json.dumps(whole, indent=1, allow_nan=False).removesuffix("\n}")
    return f'{body}{SEAL}{checksum(body.encode())}"\n}}\n'


def checksum(data: bytes) -> str:
    """The first 64 bits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def parse(data: bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It is not valid JSON, contains NaN or an infinity, or is nested too deeply.
    """
    try:
        return json.loads(data.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_stored_record(path: Path, key: str) -> Stored:
    """Read the record of a trial and check it, and the learning curves next to it.

    Args:
        path: The file.
        key: The trial's key.

    Raises:
        Unreadable: The record or the curves are missing, damaged or those of another trial.
        InputError: The record is of another schema.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise Unreadable(error.strerror) from None
    try:
        record = parse(data)
    except ValueError as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None
    known = isinstance(record, dict) and {"key", "status"} <= record.keys()
    if not (known and isinstance(record.get("metrics"), dict)):
        raise Unreadable("it is not the record of a trial")
    if record["key"] != key:
        raise Unreadable(f"it is the record of another trial, {reprlib.repr(record['key']).strip(QUOTES)}")
    body, _, ending = data.rpartition(SEAL.encode())
    if CHECKSUM in record and ending != f'{checksum(body)}"\n}}\n'.encode():
        raise Unreadable("its checksum does not match; the file is damaged or was edited")
    record.pop(CHECKSUM, None)
    check_schema(record, str(path))
    if fault := fault_of(record):
        raise Unreadable(fault)
    curves = _curves(path.with_name("metrics.csv"), record)
    return Stored(record, f"{checksum(data)} {curves}")


def fault_of(record: Record, archived: bool = False) -> str:
    """What is wrong with the values of a record; empty if nothing is.

    Args:
        record: The record.
        archived: Whether it comes from an archive, where trials may be pending, environment and config unknown.
    """
    for name, types in FIELDS.items():
        unknown = archived and name in ("environment", "config") and record.get(name, 0) is None
        if name in record and not unknown and not _is(record[name], types):
            return f"its {name} is {reprlib.repr(record[name])}"
    if record["status"] not in (*STATUSES, *(["pending"] if archived else [])):
        return f"its status is {reprlib.repr(record['status'])}"
    for name, value in record["metrics"].items():
        if value is not None and not is_number(value):
            return f"its metric {name} is {reprlib.repr(value)}"
    where = record.get("environment") or {}
    for name, types in OF_ENVIRONMENT.items():
        if name in where and not _is(where[name], types):
            return f"its environment has {name} {reprlib.repr(where[name])}"
    if not all(isinstance(gpu, str) for gpu in where.get("gpus") or ()):
        return "its environment has gpus that are not text"
    seed = (record.get("config") or {}).get("seed_everything")
    if "seed" in record and seed is not None and seed != record["seed"]:
        return f"its seed is {record['seed']}, but that of its config is {reprlib.repr(seed)}"
    return ""


def check_schema(record: Record, where: str) -> None:
    """Refuse a record of another schema.

    Raises:
        InputError: It has another schema.
    """
    schema = record.get("schema", SCHEMA)
    require(
        schema == SCHEMA,
        f"{where} has schema {reprlib.repr(schema)}, but this version only reads schema {SCHEMA}; use the version of "
        "ablation-zoo that wrote it, or run the study again into another folder.",
    )


def _curves(path: Path, record: Record) -> str:
    """Checksum of the learning curves next to a record; empty if there are none.

    Raises:
        Unreadable: They are damaged.
    """
    expected = record.pop(CURVES_CHECKSUM, None)
    try:
        data = read_regular(path)
    except FileNotFoundError:
        if expected is None:
            return ""
        raise Unreadable("its metrics.csv is missing") from None
    except OSError as error:
        raise Unreadable(f"its metrics.csv cannot be read: {error.strerror}") from None
    found = checksum(data)
    if expected is not None and found != expected:
        raise Unreadable("the checksum of its metrics.csv does not match; the file is damaged or was edited")
    # Earlier versions recorded no checksum, but wrote one row per epoch.
    epochs = record.get("epochs_run") if expected is None else None
    rows = data.count(b"\n") - 1
    if epochs is not None and (rows != epochs or not data.endswith(b"\n")):
        raise Unreadable(f"its metrics.csv has {max(rows, 0)} complete rows for {epochs} epochs")
    return found


def _is(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a value has one of these types, and is finite and of moderate size if it is a number."""
    if type(value) is int:
        return (int in types or float in types) and abs(value) < 2**63
    if type(value) is float:
        return float in types and is_number(value)
    return type(value) in types


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")

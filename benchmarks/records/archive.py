"""All records of a study in one file, a line a trial, in place of thousands of folders."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import InputError, require
from zoo.outputs.files import write_atomically

from ..study.study import Study
from .reading import RECORDS, SCHEMA, Record, Unreadable, is_final, read_curves, read_records
from .store import Store, trials_of


def archive(study: Study, source: Store, target: Path) -> Store:
    """Write the records of a study to `target/records.jsonl`, in the study's order.

    A line holds a trial's record, its learning curves (`curves`: column of metrics.csv to values) and the records of
    its earlier `attempts`. A trial that has not run is a line of status `pending`.

    Args:
        study: The study.
        source: Its store.
        target: The folder to write to, made if need be.

    Raises:
        InputError: A record cannot be read, the target holds trials that the source lacks, or it cannot be written.
    """
    if (target / "trials").is_dir() and any((target / "trials").iterdir()):
        raise InputError(
            f"{target} holds the trials of a run; archive into another folder, so that nothing is mixed up."
        )
    destination = Store(target)
    older = {key: record for key, record in destination.archived().items() if is_final(record)}
    archived = {record["key"]: record for record in read_records(source.folder) if record["status"] != "pending"}
    lines = []
    for variant, seed, key in trials_of(study, source):
        try:
            record = source.record(key)
        except Unreadable as error:
            raise InputError(f"the record of {key} cannot be read: {error}. Run the study again first.") from None
        lost = older.pop(key, None)
        require(
            lost is None or is_final(record),
            f"{target} holds a finished trial ({variant.name}, seed {seed}) that {source.folder} lacks; go on "
            f"there with `bench run ... --out {target.parent}`, or archive elsewhere.",
        )
        opening = {"schema": SCHEMA, "study": study.name, "key": key, "variant": variant.name}
        opening |= {"varied": variant.varied, "seed": seed}
        if record is None:
            lines.append({**opening, "status": "pending", "reason": "", "metrics": {}})
        else:
            lines.append({**record, **opening, **_files(source, key, archived.get(key, {}))})
    require(
        not older,
        f"{target} holds {len(older)} finished trials of another plan than {source.folder}; archive elsewhere.",
    )
    with destination.sentences():
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / RECORDS, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
        write_atomically(target / "study.yaml", study.to_file())
    return Store(target)


def _files(store: Store, key: str, archived: Record) -> dict[str, Any]:
    """What belongs to a record and is not in it: its curves, and its earlier attempts, archived ones included."""
    folder = store.trials / key
    if not folder.is_dir():
        return {name: archived[name] for name in ("attempts", "curves") if name in archived}
    alone = {name: value for name, value in archived.items() if name not in ("attempts", "curves")}
    attempts = [*archived.get("attempts", []), *([alone] if alone else [])]
    attempts += [_attempt(path) for path in sorted((folder / "attempts").glob("*"), key=lambda path: int(path.name))]
    found: dict[str, Any] = {"attempts": attempts} if attempts else {}
    if curves := read_curves(folder / "metrics.csv"):
        found["curves"] = {name: [_shortest(value) for value in values] for name, values in curves.items()}
    return found


def _attempt(folder: Path) -> Record:
    try:
        return json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # it is there because it could not be read
        return {"status": "unreadable", "reason": str(error)}


def _shortest(value: Any) -> Any:
    """A number that single precision holds, in as few digits as that takes; curves are most of an archive."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)  # JSON has no such numbers; float() reads the text
    short = float(str(np.float32(value)))
    return short if float(np.float32(value)) == value else value

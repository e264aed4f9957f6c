"""All records of a study in one file instead of thousands of folders."""

from pathlib import Path
from typing import Any

from datamodules.errors import InputError, require
from zoo.outputs.files import make_folder, remove_abandoned, write_atomically

from ..study.study import Study
from .columns import Column, Curves
from .compact import ARCHIVE, write_compact
from .reading import OLD_ARCHIVE, is_final
from .record_file import SCHEMA, Record, Unreadable, read_stored_record
from .store import Store, attempts_in
from .stored import read_stored


def archive(study: Study, source: Store, target: Path) -> Store:
    """Write the records of a study to `target/records.zip`, in the study's order.

    It holds each trial's record, its learning curves in single precision, and the records of its earlier `attempts`. A
    trial that has not run has a record of status `pending`. An archive of the old form in `target` is replaced.

    Args:
        study: The study.
        source: Its store: a run's folder, or an archive of either form.
        target: The folder to write to; it is created if needed.

    Raises:
        InputError: A record cannot be read, the target holds trials that the source lacks, or it cannot be written.
    """
    if (target / "trials").is_dir() and any((target / "trials").iterdir()):
        raise InputError(f"{target} contains the trials of a run; archive into another folder.")
    destination = Store(target)
    older = {key: record for key, record in destination.archived().items() if is_final(record)}
    archived = source.archived()
    kept: list[tuple[Record, Curves]] = []
    for trial in read_stored(study, source):
        key, record = trial.key, trial.record
        if trial.trouble:
            raise InputError(f"the record of {key} cannot be read: {trial.trouble}. Run the study again first.")
        lost = older.pop(key, None)
        require(
            lost is None or is_final(record),
            f"{target} has a finished trial ({trial.variant.name}, seed {trial.seed}) that {source.folder} lacks; "
            f"continue there with `bench run ... --out {target.parent}`, or archive into another folder.",
        )
        opening = {"schema": SCHEMA, "study": study.name, "key": key, "variant": trial.variant.name}
        opening |= {"varied": trial.variant.varied, "seed": trial.seed}
        if record is None:
            kept.append(({**opening, "status": "pending", "reason": "", "metrics": {}}, {}))
        else:
            curves = {name: Column.of(column) for name, column in source.curves([key]).get(key, {}).items()}
            kept.append(({**record, **opening, **_attempts(source, key, archived.get(key))}, curves))
    require(
        not older,
        f"{target} has {len(older)} finished trials that are not in the plan of {source.folder}; use another folder.",
    )
    with destination.sentences():
        make_folder(target)
        for file in destination.half_written():
            remove_abandoned(file)
        write_compact(target / ARCHIVE, kept)
        (target / OLD_ARCHIVE).unlink(missing_ok=True)
        write_atomically(target / "study.yaml", study.to_file())
    return Store(target)


def _attempts(store: Store, key: str, archived: Record | None) -> dict[str, Any]:
    """The earlier attempts of a trial that has a folder, archived ones included."""
    folder = store.trials / key
    if not folder.is_dir():
        return {}  # its archived record contains them
    attempts = []
    if archived is not None:
        alone = {name: value for name, value in archived.items() if name != "attempts"}
        attempts = [*archived.get("attempts", []), alone]
    attempts += [_attempt(path) for path in attempts_in(folder / "attempts")]
    return {"attempts": attempts} if attempts else {}


def _attempt(folder: Path) -> Record:
    try:
        return read_stored_record(folder / "result.json", folder.parents[1].name).record
    except Unreadable as error:  # it may have been replaced because it was unreadable
        return {"status": "unreadable", "reason": str(error)}

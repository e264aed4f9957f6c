"""The trials of a study with their records, each checked to be of its variant and seed."""

import reprlib
from dataclasses import dataclass
from typing import Any

from datamodules.errors import InputError, require
from zoo.plain import canonical

from ..study.study import Study, Variant, get_dotted, same
from .record_file import Record, Unreadable
from .store import Store


@dataclass(frozen=True)
class StoredTrial:
    """A trial of a study that was run or archived.

    Attributes:
        variant: Variant of the trial.
        seed: Its seed.
        key: Its key.
        record: Its record; None if it has not run, or if the record cannot be read.
        trouble: Why the record cannot be read; empty if it can.
    """

    variant: Variant
    seed: int
    key: str
    record: Record | None
    trouble: str = ""


def read_stored(study: Study, store: Store) -> list[StoredTrial]:
    """The trials of a study with their records, read once, in the study's order.

    Raises:
        InputError: The folder contains another study, a record of another variant or seed, or a damaged archive.
    """
    trials, settings = [], _Settings(study)
    for variant, seed, key in trials_of(study, store):
        try:
            record = store.record(key)
        except Unreadable as error:
            trials.append(StoredTrial(variant, seed, key, None, str(error)))
            continue
        if record is not None and (other := settings.mismatch(variant, seed, record)):
            raise InputError(
                f"{store.folder} has {key} as the trial of {variant.name!r}, seed {seed}, but its record has {other}; "
                "run the study again, or restore the folder."
            )
        trials.append(StoredTrial(variant, seed, key, record))
    return trials


def trials_of(study: Study, store: Store) -> list[tuple[Variant, int, str]]:
    """The trials of a study that was run or archived, by variant, each with its seed and key.

    Raises:
        InputError: The folder contains another study, or `plan.json` is damaged.
    """
    plan = store.plan()
    good = isinstance(plan, dict) and list(plan) == [variant.name for variant in study.variants]
    good = good and all(isinstance(keys, list) and len(keys) == study.seeds for keys in plan.values())
    keys = [key for keys in plan.values() for key in keys] if good else []
    listed = " Its plan.json lists other trials, or is damaged." if (store.folder / "plan.json").exists() else ""
    require(
        good and all(isinstance(key, str) for key in keys),
        f"the records in {store.folder} do not match its study.yaml; run the study again.{listed}",
    )
    require(
        len(set(keys)) == len(keys),
        f"the records in {store.folder} have two trials with the same key; run the study again, or restore the folder.",
    )
    by_variant = zip(study.variants, plan.values(), strict=True)
    return [(variant, seed, key) for variant, keys in by_variant for seed, key in enumerate(keys)]


class _Settings:
    """What distinguishes the variants of a study, to tell from a record's config which variant it belongs to.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._values: dict[str, list[Any]] = {}
        for key in {key for axis in study.axes for key in axis.keys}:
            found = {canonical(v.varied[key]): v.varied[key] for v in study.variants if key in v.varied}
            self._values[key] = list(found.values())

    def mismatch(self, variant: Variant, seed: int, record: Record) -> str:
        """Why a record is not of this variant and seed, in a few words; empty if it is.

        Labels do not count: a variant may be renamed. A config holds complete values, which need not equal those of the
        study (`early_stopping: {patience: 10}` gets more keys); what the study said when the trial ran then decides.
        """
        if (found := record.get("seed", seed)) != seed:
            return f"seed {reprlib.repr(found)}"
        config, varied = record.get("config") or {}, record.get("varied", {})
        for key, value in variant.varied.items():
            recorded = get_dotted(config, key)
            if covers(value, recorded):
                continue
            others = any(covers(other, recorded) for other in self._values[key])
            if others or (key in varied and not same(varied[key], value)):
                return f"{key} {reprlib.repr(recorded)}"
        return ""


def covers(value: Any, recorded: Any) -> bool:
    """Whether a value of a study is the one in a complete config, which may have more keys in a section."""
    if isinstance(value, dict) and isinstance(recorded, dict):
        return all(key in recorded and covers(part, recorded[key]) for key, part in value.items())
    if isinstance(value, list) and isinstance(recorded, list):
        return len(value) == len(recorded) and all(map(covers, value, recorded))
    if isinstance(value, bool) or isinstance(recorded, bool):
        return value is recorded
    return bool(value == recorded)  # 1 and 1.0: a config has the type that its key requires

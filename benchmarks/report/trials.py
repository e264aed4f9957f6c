"""The trials of a study as a table, one row per trial."""

from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd

from ..records.outcome import judge
from ..records.record_file import Record
from ..records.stored import StoredTrial
from ..study.study import Study, Variant, text
from .provenance import Provenance


def read_trials(study: Study, stored: Iterable[StoredTrial]) -> tuple[pd.DataFrame, Provenance]:
    """Read the trials, one row each in the study's order, and their provenance.

    Columns: `study, key, variant, seed, status, reason, metric, value, best_epoch, epochs_run, train_seconds`, then the
    varied keys under their dotted names (the name of a group before the keys in it), then the further metrics that the
    study reports or tunes by. `value` and the further metrics are missing unless the status is `done`.

    Args:
        study: The study.
        stored: Its trials with their records.
    """
    columns = list(dict.fromkeys(name for axis in study.axes for name in (axis.name, *axis.keys)))
    rows, provenance = [], Provenance()
    for trial in stored:
        record = _record(trial)
        provenance.add(record)
        rows.append(_row(study, trial, record) | _varied(trial.variant, columns) | _further(study, record))
    types: dict[Hashable, Any] = {"value": float, "best_epoch": "Int64", "epochs_run": "Int64"}
    types |= dict.fromkeys(study.further_metrics, float)
    return pd.DataFrame(rows).astype(types), provenance


def _record(trial: StoredTrial) -> Record:
    reason = f"the record cannot be read: {trial.trouble}" if trial.trouble else ""
    return trial.record or {"status": "pending", "reason": reason, "metrics": {}}


def _row(study: Study, trial: StoredTrial, record: Record) -> dict[str, Any]:
    status, reason = judge(record, study.metric)
    return {
        "study": study.name,
        "key": trial.key,
        "variant": trial.variant.name,
        "seed": trial.seed,
        "status": status,
        "reason": reason,
        "metric": study.metric,
        "value": record["metrics"][study.metric] if status == "done" else None,
        **{name: record.get(name) for name in ("best_epoch", "epochs_run", "train_seconds")},
    }


def _varied(variant: Variant, columns: list[str]) -> dict[str, Any]:
    values = {**variant.cell, **variant.varied}
    return {name: text(v) if isinstance(v := values.get(name), list | dict) else v for name in columns}


def _further(study: Study, record: Record) -> dict[str, Any]:
    done = judge(record, study.metric)[0] == "done"
    return {name: record["metrics"].get(name) if done else None for name in study.further_metrics}

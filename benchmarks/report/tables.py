"""Tables of a study as CSV and Markdown."""

from typing import Any

import pandas as pd

from ..store import Record, Store, Unreadable, keys_of
from ..study import Study, Variant, text
from ..tasks import judge


def trials_table(study: Study, store: Store) -> pd.DataFrame:
    """One row a trial, in the study's order, with a column for each varied key.

    Columns: `study, key, variant, seed, status, reason, metric, value, best_epoch, epochs_run, train_seconds`, then the
    varied keys under their dotted names, those of a group after the group's own. `value` is missing unless the status
    is `done`.

    Raises:
        InputError: The store does not hold this study.
    """
    columns = list(dict.fromkeys(name for axis in study.axes for name in (axis.name, *axis.keys)))
    rows = [
        _row(study, variant, seed, key, _record(store, key)) | _varied(variant, columns)
        for variant, keys in zip(study.variants, keys_of(study, store), strict=True)
        for seed, key in enumerate(keys)
    ]
    return pd.DataFrame(rows).astype({"value": float, "best_epoch": "Int64", "epochs_run": "Int64"})


def _record(store: Store, key: str) -> Record:
    try:
        return store.record(key) or {"status": "pending", "reason": "", "metrics": {}}
    except Unreadable as error:
        return {"status": "pending", "reason": f"its record cannot be read: {error}", "metrics": {}}


def _row(study: Study, variant: Variant, seed: int, key: str, record: Record) -> dict[str, Any]:
    status, reason = judge(record, study.metric)
    return {
        "study": study.name,
        "key": key,
        "variant": variant.name,
        "seed": seed,
        "status": status,
        "reason": reason,
        "metric": study.metric,
        "value": record["metrics"][study.metric] if status == "done" else None,
        **{name: record.get(name) for name in ("best_epoch", "epochs_run", "train_seconds")},
    }


def _varied(variant: Variant, columns: list[str]) -> dict[str, Any]:
    values = {**variant.cell, **variant.varied}
    return {name: text(v) if isinstance(v := values.get(name), list | dict) else v for name in columns}


def markdown_table(study: Study, summary: pd.DataFrame) -> str:
    """A study's table for people, with what its intervals mean."""
    lines = [
        f"# {study.name}",
        "",
        study.question,
        "",
        f"`{study.metric}` over {study.seeds} seeds; intervals are 95 % Student t. Δ is the mean paired difference "
        f"from `{study.baseline_name}`. Intervals speak for training randomness on this one test set.",
        "",
    ]
    header, *rows = display_rows(study, summary)
    table = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    rows_of_text = (" | ".join(cell.replace("|", "\\|") for cell in cells) for cells in table)
    return "\n".join([*lines, *(f"| {row} |" for row in rows_of_text)]) + "\n"


def display_rows(study: Study, summary: pd.DataFrame) -> list[list[str]]:
    """A summary's header and rows as people read them."""
    rows = [["variant", "n", "failed", "mean", "sd", "95 % interval", "Δ", "95 % interval of Δ"]]
    for row in summary.to_dict("records"):
        name = row["variant"]
        rows.append(
            [
                f"{name} (baseline)" if name == study.baseline_name != "baseline" else name,
                str(row["n"]),
                str(row["n_failed"]),
                _number(row["mean"]),
                _number(row["std"]),
                _interval(row["ci_low"], row["ci_high"]),
                _number(row["delta"], signed=True),
                _interval(row["delta_ci_low"], row["delta_ci_high"], signed=True),
            ]
        )
    return rows


def _number(value: float, signed: bool = False) -> str:
    return "" if pd.isna(value) else f"{value:{'+' if signed else ''}.4f}"


def _interval(low: float, high: float, signed: bool = False) -> str:
    return "" if pd.isna(low) else f"{_number(low, signed)} to {_number(high, signed)}"

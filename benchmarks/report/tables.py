"""Tables of a study as CSV and Markdown."""

from collections.abc import Iterable

import pandas as pd

from ..store import Record
from ..study import Study


def trials_table(study: Study, records: Iterable[Record]) -> pd.DataFrame:
    """One row a trial, in the study's order, with a column for each varied key.

    Columns: `study, key, variant, seed, status, reason, metric, value, best_epoch, epochs_run, train_seconds`, then the
    varied keys under their dotted names. `value` is missing unless the status is `done`.
    """
    rows = [
        {
            "study": study.name,
            "key": record["key"],
            "variant": record["variant"],
            "seed": record["seed"],
            "status": record["status"],
            "reason": record["reason"],
            "metric": study.metric,
            "value": record["metrics"].get(study.metric),
            **{name: record.get(name) for name in ("best_epoch", "epochs_run", "train_seconds")},
            **{key: str(value) if isinstance(value, list) else value for key, value in record["varied"].items()},
        }
        for record in records
    ]
    return pd.DataFrame(rows).astype({"value": float, "best_epoch": "Int64", "epochs_run": "Int64"})


def markdown_table(study: Study, summary: pd.DataFrame, seeds: int) -> str:
    """A study's table for people, with what its intervals mean."""
    lines = [
        f"# {study.name}",
        "",
        study.question,
        "",
        f"`{study.metric}` over {seeds} seeds; intervals are 95 % Student t. Δ is the mean paired difference from "
        f"`{study.baseline_name}`. Intervals speak for training randomness on this one test set.",
        "",
    ]
    header, *rows = display_rows(study, summary)
    table = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in table)]) + "\n"


def display_rows(study: Study, summary: pd.DataFrame) -> list[list[str]]:
    """A summary's header and rows as people read them."""
    rows = [["variant", "n", "failed", "mean", "sd", "95 % interval", "Δ", "95 % interval of Δ"]]
    for row in summary.to_dict("records"):
        name = row["variant"]
        rows.append(
            [
                f"{name} (baseline)" if name == study.baseline_name else name,
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

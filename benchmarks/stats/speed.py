"""Training speed of the variants of a study, per hardware."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..study.study import Study

RATE = "samples_per_second"
SECONDS = ("step_seconds", "data_seconds", "validation_seconds", "startup_seconds")
BYTES = ("peak_memory_bytes", "peak_gpu_memory_bytes")
MEASURED = (RATE, *SECONDS, *BYTES)  # metrics of the callback `throughput` that the table uses


def speed_table(study: Study, measured: pd.DataFrame) -> pd.DataFrame:
    """One row per hardware and variant measured on it, in the study's order.

    Args:
        study: The study.
        measured: One row per finished trial that was measured: `variant, seed, hardware, devices` (number of devices),
            `family` (equal for trials that differ only in their devices), and the columns `MEASURED`.

    Returns:
        `hardware, variant, n, devices`, the medians over seeds of the columns `MEASURED`, and the minimum and maximum
        of `samples_per_second`. `relative` is the median over seeds of the ratio to the baseline's samples per second
        at the same seed on the same hardware, with `relative_min` and `relative_max`. `efficiency` is the median over
        seeds of the samples per second on N devices over N times those on one device, for variants of one family. Both
        are missing if there is nothing to divide by.
    """
    rows: list[dict[str, Any]] = []
    for hardware, block in measured.groupby("hardware", sort=False):
        rates = block.pivot(index="seed", columns="variant", values=RATE)
        alone = block[block["devices"] == 1].drop_duplicates("family").set_index("family")["variant"]
        for variant in study.compared:
            own = block[block["variant"] == variant.name]
            if not len(own):
                continue
            devices, family = int(own["devices"].max()), own["family"].iloc[0]
            rate, base = rates[variant.name], study.baseline_of(variant)
            relative = _over(rate, rates, base) if base != variant.name else rate[:0]
            single = alone.get(family) if devices > 1 else None
            row = {"hardware": hardware, "variant": variant.name, "n": len(own), "devices": devices}
            row |= {RATE: _median(rate), f"{RATE}_min": rate.min(), f"{RATE}_max": rate.max()}
            row |= {"relative": _median(relative), "relative_min": relative.min(), "relative_max": relative.max()}
            row["efficiency"] = _median(_over(rate, rates, single) / devices)
            rows.append(row | {name: _median(own[name]) for name in (*SECONDS, *BYTES)})
    return pd.DataFrame(rows)


def _over(rate: "pd.Series[float]", rates: pd.DataFrame, other: str | None) -> "pd.Series[float]":
    """Ratios of a variant's rates to another's, by seed; empty if there is no other."""
    return (rate / rates[other]).dropna() if other in rates else rate[:0]


def _median(values: "Sequence[float] | pd.Series[float]") -> float:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return float(np.median(finite)) if len(finite) else np.nan

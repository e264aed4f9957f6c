"""How fast the variants of a study train, hardware by hardware."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..study.study import Study

RATE = "samples_per_second"
SECONDS = ("step_seconds", "data_seconds", "validation_seconds", "startup_seconds")
BYTES = ("peak_memory_bytes", "peak_gpu_memory_bytes")
MEASURED = (RATE, *SECONDS, *BYTES)  # metrics of the callback `throughput` that the table is made of


def speed_table(study: Study, measured: pd.DataFrame) -> pd.DataFrame:
    """One row a hardware and variant that was measured on it, in the study's order.

    Args:
        study: The study.
        measured: One row a finished trial that was measured: `variant, seed, hardware, devices` (how many computed at
            once), `family` (the same for trials that differ in their devices alone), and the columns `MEASURED`.

    Returns:
        `hardware, variant, n, devices`, the medians over seeds of the columns `MEASURED`, and the least and the largest
        `samples_per_second`. `relative` is that over the baseline's at the same seed on the same hardware, its median,
        with `relative_min` and `relative_max`; `efficiency` the median over seeds of it over `devices` times that of
        the variant of the same family with one device, where there is one. Missing where there is nothing to divide by.
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
    """A variant's rates over another's, by seed; none where there is no other."""
    return (rate / rates[other]).dropna() if other in rates else rate[:0]


def _median(values: "Sequence[float] | pd.Series[float]") -> float:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return float(np.median(finite)) if len(finite) else np.nan

"""What the trials of a study say: one row a variant."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from .study import Study

CONFIDENCE = 0.95


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided Student t interval of a mean; NaNs for fewer than two values.

    Args:
        values: Independent values, one a seed.
        confidence: The coverage aimed at.
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    mean, half = float(np.mean(values)), stats.t.ppf((1 + confidence) / 2, n - 1) * float(stats.sem(values))
    return mean - half, mean + half


def summarize(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """Mean, sample sd and 95 % t interval of each variant, and of its paired difference from the baseline.

    Args:
        study: The study.
        trials: One row a trial with `variant`, `seed`, `status` and `value`.

    Returns:
        One row a variant in the study's order: `variant, n, n_failed, mean, std, ci_low, ci_high, delta, delta_ci_low,
        delta_ci_high`. `n` counts finished trials, `n_failed` those that diverged, failed or crashed; differences are
        over the seeds that both variants finished, and are missing for the baseline.
    """
    done = trials[trials["status"] == "done"]
    failed = trials["status"].isin(["diverged", "failed", "crashed"])
    # (seed, variant): pairs stand in one row.
    values = done.pivot_table(index="seed", columns="variant", values="value")
    rows = []
    for variant in study.variants:
        name = variant.name
        own = values[name].dropna() if name in values else pd.Series(dtype=float)
        low, high = mean_interval(own.tolist())
        row = {
            "variant": name,
            "n": len(own),
            "n_failed": int(failed[trials["variant"] == name].sum()),
            "mean": own.mean(),
            "std": own.std(ddof=1),
            "ci_low": low,
            "ci_high": high,
        }
        if name != study.baseline_name and name in values and study.baseline_name in values:
            difference = (values[name] - values[study.baseline_name]).dropna()
            delta_low, delta_high = mean_interval(difference.tolist())
            row |= {"delta": difference.mean(), "delta_ci_low": delta_low, "delta_ci_high": delta_high}
        rows.append(row)
    columns = ["variant", "n", "n_failed", "mean", "std", "ci_low", "ci_high", "delta", "delta_ci_low", "delta_ci_high"]
    return pd.DataFrame(rows, columns=columns)

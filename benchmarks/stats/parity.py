"""Parity of variants that should give equal results: paired differences in every metric of a study except times."""

from typing import Any

import numpy as np
import pandas as pd

from zoo.parts.metric_names import is_timing

from ..study.study import OF_TRAINING, Study
from .paired import moments, t_interval
from .summary import by_seed


def parity_metrics(study: Study) -> list[str]:
    """The metrics of the parity table: the study's own first, then those of `study.also`."""
    return [name for name in (study.metric, *study.also) if not is_timing(name) and name not in OF_TRAINING]


def parity_table(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """Paired differences from the baseline at the same seed, one row per variant and metric.

    Args:
        study: The study.
        trials: As in `benchmarks.stats.summarize`.

    Returns:
        `variant, metric, n_pairs, delta` (the mean difference) with its 95 % t interval `delta_ci_low, delta_ci_high`,
        and `largest`, the largest absolute difference at any seed. Variants without pairs are left out.
    """
    names = [variant.name for variant in study.compared]
    place = {name: k for k, name in enumerate(names)}
    base = np.array([place[study.baseline_of(variant)] for variant in study.compared])
    rows: list[dict[str, Any]] = []
    for metric in parity_metrics(study):
        values = by_seed(study, trials, names, "value" if metric == study.metric else metric)
        d = values - values[:, base]
        (n, delta, _), (low, high) = moments(d), t_interval(d)
        for k, name in enumerate(names):
            if base[k] != k and n[k]:
                largest = float(np.nanmax(np.abs(d[:, k])))
                row = {"variant": name, "metric": metric, "n_pairs": int(n[k]), "delta": float(delta[k])}
                rows.append(row | {"delta_ci_low": low[k], "delta_ci_high": high[k], "largest": largest})
    columns = ["variant", "metric", "n_pairs", "delta", "delta_ci_low", "delta_ci_high", "largest"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("variant", key=lambda column: column.map(place), kind="stable", ignore_index=True)

"""Compare methods across data sets: average ranks with Friedman's and Nemenyi's tests, and interquartile means."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..study.study import Study, text
from .paired import ALPHA, CONFIDENCE, Array
from .summary import FAILED

BOOTSTRAPS = 2000


class Ranks(NamedTuple):
    """Ranks of methods over data sets, with their tests.

    Attributes:
        mean: Average rank of each method; 1 is best, and ties get the average of their ranks.
        chi2: Friedman's statistic, corrected for ties; NaN with fewer than three methods or two data sets, or if all
            methods tie on all data sets.
        p: p value of Friedman's test from the chi-squared approximation, which is rough below about ten data sets.
        critical_difference: Nemenyi's (1963) critical difference of average ranks at level .05.
        nemenyi: p value of each pair of methods, (k, k).
    """

    mean: Array
    chi2: float
    p: float
    critical_difference: float
    nemenyi: Array


def rank(scores: Array) -> Ranks:
    """Compare methods by their ranks on each data set (Demšar 2006, section 3.2).

    Args:
        scores: (data sets, methods); higher is better.
    """
    n, k = scores.shape
    mean = stats.rankdata(-scores, axis=1).mean(axis=0)
    testable = k > 2 and n > 1 and bool((np.ptp(scores, axis=1) > 0).any())
    chi2, p = (float(x) for x in stats.friedmanchisquare(*scores.T)) if testable else (np.nan, np.nan)
    error = np.sqrt(k * (k + 1) / (6 * n))
    # The studentized range of infinitely many degrees of freedom, over √2.
    critical = float(stats.studentized_range.isf(ALPHA, k, np.inf)) / np.sqrt(2) * error
    distance = np.abs(mean[:, None] - mean) / error
    nemenyi = stats.studentized_range.sf(distance * np.sqrt(2), k, np.inf)
    return Ranks(mean, chi2, p, critical, np.where(np.eye(k, dtype=bool), 1.0, nemenyi))


def iqm(scores: Array) -> float:
    """Interquartile mean: the mean of the middle half of all scores (Agarwal et al. 2021, section 4.3).

    Args:
        scores: (runs, data sets), or any other shape.
    """
    return float(stats.trim_mean(scores, 0.25, axis=None))


def iqm_interval(scores: Array, resamples: int = BOOTSTRAPS, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the IQM; runs are resampled per data set (Agarwal et al. 2021, 4.1).

    It is too narrow with few runs: with three to five, the actual coverage is about 75 % to 83 %.

    Args:
        scores: (runs, data sets).
        resamples: Number of bootstrap samples.
        seed: Seed of the bootstrap.
    """
    runs, sets = scores.shape
    drawn = np.random.default_rng(seed).integers(0, runs, (resamples, runs, sets))
    means = stats.trim_mean(scores[drawn, np.arange(sets)].reshape(resamples, -1), 0.25, axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


class Across(NamedTuple):
    """Results of the methods of a study across its data sets.

    Attributes:
        table: One row per method: `method, rank, iqm, iqm_ci_low, iqm_ci_high`, best rank first.
        ranks: Average ranks and their tests.
        methods: Methods in the order of `ranks`.
        sets: Number of complete data sets; the others are left out.
        seeds: Number of seeds used for the IQM.
        lost: Number of failed trials, whose seeds are left out.
    """

    table: pd.DataFrame
    ranks: Ranks
    methods: list[str]
    sets: int
    seeds: int
    lost: int


def across_data_sets(study: Study, trials: pd.DataFrame) -> Across | None:
    """Compare the methods of a study that varies the data set; None if it does not, or has only one method.

    Methods are the cells of the other axes. Each data set contributes the seeds that every method finished; a data set
    without such a seed is left out. The IQM uses the seeds that every method finished on all remaining data sets. If
    lower is better, the IQM is still of the metric itself.
    """
    axis = study.data_axis
    if axis is None or study.one_at_a_time:
        return None
    others = [name for name in study.vary if name != axis.name]
    method = {variant.name: study.name_of(variant.cell, others) for variant in study.compared}
    data = {variant.name: text(variant.cell[axis.name]) for variant in study.compared}
    names = list(dict.fromkeys(method.values()))
    done = trials[(trials["status"] == "done") & trials["variant"].isin(list(method))]
    done = done.assign(method=done["variant"].map(method), data=done["variant"].map(data))
    values = done.pivot(index=["data", "seed"], columns="method", values="value").reindex(columns=names)
    means = values.dropna().groupby(level="data", sort=False).mean()
    if len(names) < 2 or len(means) < 2:
        return None
    sign = 1 if study.mode == "max" else -1
    ranks = rank(sign * means.to_numpy())
    complete = values.loc[list(means.index)].unstack("data").dropna()  # seeds that every trial finished
    rows = []
    for k, name in enumerate(names):
        scores = complete[name].to_numpy() if len(complete) else np.empty((0, 0))
        low, high = iqm_interval(scores) if len(scores) > 1 else (np.nan, np.nan)
        middle = iqm(scores) if scores.size else np.nan
        rows.append({"method": name, "rank": ranks.mean[k], "iqm": middle, "iqm_ci_low": low, "iqm_ci_high": high})
    table = pd.DataFrame(rows).sort_values("rank", kind="stable", ignore_index=True)
    lost = int((trials["variant"].isin(list(method)) & trials["status"].isin(FAILED)).sum())
    return Across(table, ranks, names, len(means), len(complete), lost)

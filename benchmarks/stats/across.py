"""Methods across data sets: ranks with Friedman's and Nemenyi's tests, and interquartile means."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..study.study import Study, text
from .paired import ALPHA, CONFIDENCE, Array
from .summary import FAILED

BOOTSTRAPS = 2000


class Ranks(NamedTuple):
    """What the ranks of methods over data sets say.

    Attributes:
        mean: Each method's average rank, 1 being best; ties share theirs.
        chi2: Friedman's statistic, corrected for ties; NaN with fewer than three methods or two data sets, or where all
            methods tie on all of them.
        p: Its p, by the chi-squared distribution, which is rough below some ten data sets.
        critical_difference: Average ranks that differ by more differ at level .05 (Nemenyi 1963).
        nemenyi: The p of each pair of methods, (k, k).
    """

    mean: Array
    chi2: float
    p: float
    critical_difference: float
    nemenyi: Array


def rank(scores: Array) -> Ranks:
    """Compare methods by their ranks on each data set (Demšar 2006, section 3.2).

    Args:
        scores: (data sets, methods), higher being better.
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
    """The interquartile mean: that of the middle half of all scores (Agarwal et al. 2021, section 4.3).

    Args:
        scores: (runs, data sets), or any other shape.
    """
    return float(stats.trim_mean(scores, 0.25, axis=None))


def iqm_interval(scores: Array, resamples: int = BOOTSTRAPS, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the IQM, by bootstrap of the runs of each data set (Agarwal et al. 2021, 4.1).

    With few runs it is too narrow: with three to five runs such intervals cover some three quarters to five sixths.

    Args:
        scores: (runs, data sets).
        resamples: How many.
        seed: Of the draws.
    """
    runs, sets = scores.shape
    drawn = np.random.default_rng(seed).integers(0, runs, (resamples, runs, sets))
    means = stats.trim_mean(scores[drawn, np.arange(sets)].reshape(resamples, -1), 0.25, axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


class Across(NamedTuple):
    """How the methods of a study do across its data sets.

    Attributes:
        table: One row a method: `method, rank, iqm, iqm_ci_low, iqm_ci_high`, best rank first.
        ranks: The tests.
        methods: The methods in the order of `ranks`.
        sets: How many data sets are complete, and so counted.
        seeds: How many seeds count for the IQM.
        lost: How many trials failed, so that seeds do not count.
    """

    table: pd.DataFrame
    ranks: Ranks
    methods: list[str]
    sets: int
    seeds: int
    lost: int


def across_data_sets(study: Study, trials: pd.DataFrame) -> Across | None:
    """Compare the methods of a study that varies the data set; None where it does not, or has one method alone.

    Methods are the cells of the other axes. On each data set the seeds count that every method finished, and data sets
    that have such; for the IQM those seeds that all trials of these data sets finished. Where lower is better, the IQM
    is of the metric itself.
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
    complete = values.loc[list(means.index)].unstack("data").dropna()  # seeds that all trials finished
    rows = []
    for k, name in enumerate(names):
        scores = complete[name].to_numpy() if len(complete) else np.empty((0, 0))
        low, high = iqm_interval(scores) if len(scores) > 1 else (np.nan, np.nan)
        middle = iqm(scores) if scores.size else np.nan
        rows.append({"method": name, "rank": ranks.mean[k], "iqm": middle, "iqm_ci_low": low, "iqm_ci_high": high})
    table = pd.DataFrame(rows).sort_values("rank", kind="stable", ignore_index=True)
    lost = int((trials["variant"].isin(list(method)) & trials["status"].isin(FAILED)).sum())
    return Across(table, ranks, names, len(means), len(complete), lost)

"""The table of a study: one row per variant."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from ..study.study import Study
from .paired import ALPHA, Array, detectable_effect, level, moments, sign_flip, t_interval, t_test, tost

SINGLE = 2.0**-22  # relative rounding error: metrics are single precision, so equal differences vary by this much
FAILED = ("diverged", "failed", "crashed")


def summarize(study: Study, trials: pd.DataFrame, stand_ins: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Summary statistics of each variant, and of its paired difference from the baseline.

    Args:
        study: The study.
        trials: One row per trial with `variant`, `seed`, `status`, `value` and a column for each of `study.also`.
        stand_ins: Maps compared variants to the variants whose trials are used for them.

    Returns:
        One row per compared variant in the study's order. `n` is the number of finished trials, `n_failed` the number
        that diverged, failed or crashed. `diverged_rate` is the fraction of diverged trials among those that were done
        or diverged, with its 95 % Wilson interval. `mean`, `std` and the 95 % t interval are over finished trials; so
        are `METRIC_mean` and `METRIC_std` of each of `study.also`.

        The other columns compare the variant with `baseline` over the `n_pairs` seeds that both finished, and are
        missing for a baseline: `delta` with its 95 % t interval, `d_z` (delta in sds of the differences; Cohen 1988,
        section 2.3.5), `wins` (seeds at which the variant is better) and `ties`, `p` of the paired t test, `p_holm`
        (Holm 1979, over all p of the study), `p_exact` (see `sign_flip`), `p_tost` (against the study's margin), `mde`
        (minimum detectable effect at 80 % power for this n and sd, at the level of Holm's first step) and `verdict`.
    """
    names = [variant.name for variant in study.compared]
    stands = [(stand_ins or {}).get(name, name) for name in names]
    values = by_seed(study, trials, stands)
    n, mean, std = moments(values)
    low, high = t_interval(values)
    columns: dict[str, Any] = {"variant": names, "n": n, **_counts(trials, stands), "mean": mean, "std": std}
    columns |= {"ci_low": low, "ci_high": high, **_compare(study, trials, values, stands)}
    for metric in study.also:
        _, also_mean, also_std = moments(by_seed(study, trials, stands, metric))
        columns |= {f"{metric}_mean": also_mean, f"{metric}_std": also_std}
    return pd.DataFrame(columns)


def by_seed(study: Study, trials: pd.DataFrame, names: list[str], column: str = "value") -> Array:
    """A column of the trials as an array (seeds, variants); NaN if a trial is not done."""
    table = trials[trials["status"] == "done"].pivot(index="seed", columns="variant", values=column)
    return table.reindex(index=range(study.seeds), columns=names).to_numpy(float, na_value=np.nan)


def _compare(study: Study, trials: pd.DataFrame, values: Array, stands: list[str]) -> dict[str, Any]:
    """The columns that compare each variant with its baseline."""
    baselines = [study.baseline_of(variant) for variant in study.compared]
    place = {variant.name: k for k, variant in enumerate(study.compared)}
    base = np.array([place[name] for name in baselines])
    is_baseline = base == np.arange(len(base))
    d = np.where(is_baseline, np.nan, values - values[:, base])  # (seeds, variants)
    largest = np.where(np.isfinite(values), np.abs(values), 0).max(axis=0, initial=0)
    d = level(d, SINGLE * np.maximum(largest, largest[base]))
    n, delta, sd = moments(d)
    low, high = t_interval(d)
    p, p_tost = t_test(d), tost(d, study.margin) if study.margin else np.full(len(n), np.nan)
    p_holm, tests = holm(p), int(np.isfinite(p).sum())
    sign = 1 if study.mode == "max" else -1
    lost, won = _unpaired(study, trials, stands, base)
    verdicts = map(verdict, sign * delta, p_holm, p_tost, lost, won)
    with np.errstate(invalid="ignore", divide="ignore"):
        d_z = np.where(sd > 0, delta / sd, np.where((sd == 0) & (delta == 0), 0, np.nan))
    return {
        "baseline": np.where(is_baseline, "", baselines),
        "n_pairs": _compared(n, is_baseline),
        "delta": delta,
        "delta_std": sd,
        "delta_ci_low": low,
        "delta_ci_high": high,
        "d_z": d_z,
        "wins": _compared((sign * d > 0).sum(axis=0), is_baseline),
        "ties": _compared((d == 0).sum(axis=0), is_baseline),
        "p": p,
        "p_holm": p_holm,
        "p_exact": [sign_flip(column) for column in d.T],
        "p_tost": p_tost,
        "mde": [detectable_effect(int(pairs), ALPHA / max(1, tests)) for pairs in n] * np.where(sd > 0, sd, np.nan),
        "verdict": np.where(is_baseline, "baseline", list(verdicts)),
    }


def verdict(gain: float, p_holm: float, p_tost: float, lost: int, won: int) -> str:
    """Verdict of a comparison: `equivalent`, `better`, `worse` or `inconclusive`, checked in this order.

    Args:
        gain: Mean difference, positive if the variant is better.
        p_holm: p value of the paired t test after Holm's correction.
        p_tost: p value of the equivalence test; NaN without a margin.
        lost: Number of seeds at which only the variant failed. If there are any, it is neither better nor equivalent:
            missing trials never favour a variant.
        won: Number of seeds at which only the baseline failed. If there are any, the variant is neither worse nor
            equivalent.
    """
    if p_tost < ALPHA and not lost and not won:
        return "equivalent"
    if p_holm < ALPHA and gain > 0 and not lost:
        return "better"
    if p_holm < ALPHA and gain < 0 and not won:
        return "worse"
    return "inconclusive"


def holm(p: Array) -> Array:
    """The p values corrected by Holm's (1979) method; missing ones stay missing and do not count as tests."""
    corrected, tested = np.full(len(p), np.nan), np.isfinite(p)
    if tested.any():
        corrected[tested] = multipletests(p[tested], method="holm")[1]
    return corrected


def _counts(trials: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """Numbers of failed and diverged trials of each variant."""
    counted = trials.groupby(["variant", "status"]).size().unstack(fill_value=0)
    counted = counted.reindex(index=names, columns=["done", *FAILED], fill_value=0)
    diverged, ended = counted["diverged"].to_numpy(), (counted["done"] + counted["diverged"]).to_numpy()
    with np.errstate(invalid="ignore"):
        low, high = proportion_confint(diverged, np.where(ended > 0, ended, np.nan), method="wilson")
        rate = diverged / np.where(ended > 0, ended, np.nan)
    return {
        "n_failed": counted[list(FAILED)].sum(axis=1).to_numpy(),
        "n_diverged": diverged,
        "diverged_rate": rate,
        "diverged_ci_low": np.maximum(low, 0),
        "diverged_ci_high": np.minimum(high, 1),
    }


def _unpaired(study: Study, trials: pd.DataFrame, names: list[str], base: Array) -> tuple[Array, Array]:
    """For each variant, the number of seeds at which only the variant failed, and at which only its baseline failed."""
    states = trials["status"].map({"done": 1.0} | dict.fromkeys(FAILED, -1.0))
    own = by_seed(study, trials.assign(status="done", state=states), names, "state")
    theirs = own[:, base]
    return ((own < 0) & (theirs > 0)).sum(axis=0), ((own > 0) & (theirs < 0)).sum(axis=0)


def _compared(counts: Array, is_baseline: NDArray[np.bool_]) -> "pd.Series[int]":
    """Counts of pairs; missing for baselines."""
    return pd.Series(counts, dtype="Int64").mask(pd.Series(is_baseline))

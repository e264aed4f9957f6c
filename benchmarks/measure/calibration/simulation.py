"""Simulated studies, and how often the results of `benchmarks.stats` for them are correct."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests

from ...stats import paired, summarize
from ...stats.paired import ALPHA, CONFIDENCE, Array
from ...stats.summary import verdict
from ...study.study import Study
from .errors import Errors

COMPARISONS = 9
NOISE = 1e-9  # counts whose differences vary by less are equal
MARGIN = 3.0  # wide enough for the equivalence test to reach its level with three seeds


class Share(NamedTuple):
    """A rate and its Monte Carlo error."""

    mean: float
    error: float


def share(happened: ArrayLike) -> Share:
    """The rate of an event; `happened` is (studies,) or (studies, comparisons), dependent within a study."""
    x = np.asarray(happened, dtype=float)
    each = x.reshape(len(x), -1).mean(axis=1)
    return Share(float(each.mean()), float(each.std() / math.sqrt(len(each))))


def covered(x: Array, truth: float) -> NDArray[np.bool_]:
    """Whether t intervals of the mean cover the true mean, (seeds, studies, k) to (studies, k)."""
    low, high = paired.t_interval(x.reshape(len(x), -1), CONFIDENCE)
    return ((low <= truth) & (truth <= high)).reshape(x.shape[1:])


def verdicts(d: Array, margin: float | None = None) -> NDArray[np.str_]:
    """Verdicts of `summarize` for differences, (seeds, studies, k) to (studies, k)."""
    flat, shape = paired.level(d.reshape(len(d), -1), NOISE), d.shape[1:]
    p = paired.t_test(flat).reshape(shape)
    p_tost = paired.tost(flat, margin) if margin else np.full(p.size, np.nan)
    for study in np.flatnonzero((p < ALPHA).any(axis=1)):  # Holm's correction only raises p values
        p[study] = multipletests(p[study], method="holm")[1]
    gain, zeros = paired.moments(flat)[1], itertools.repeat(0)
    said = map(verdict, gain.tolist(), p.ravel().tolist(), p_tost.tolist(), zeros, zeros)
    return np.array(list(said)).reshape(shape)


def bootstrap_covers(x: Array, rng: np.random.Generator, resamples: int = 2000) -> NDArray[np.bool_]:
    """Whether percentile bootstrap intervals of the mean cover 0; `x` is (seeds, studies)."""
    n, tail = len(x), (1 - CONFIDENCE) / 2
    counts = rng.multinomial(n, np.full(n, 1 / n), resamples) / n
    parts = np.array_split(x, -(-x.shape[1] // 1000), axis=1)  # a thousand studies at a time to limit memory
    low, high = np.hstack([np.quantile(counts @ part, (tail, 1 - tail), axis=0) for part in parts])
    return np.asarray((low <= 0) & (high >= 0))


def measure(errors: Errors, n: int, studies: int, rng: np.random.Generator) -> Iterator[tuple[str, Share, str]]:
    """Rates of all events for a number of seeds, with their bounds."""
    values = errors.draw(rng, (n, studies, 1 + COMPARISONS))
    d = (values[..., 1:] - values[..., :1]) / errors.sd
    covers, errs = (f"= {CONFIDENCE}", f"≤ {ALPHA}") if errors.bound else ("", "")
    yield "coverage of the interval of a mean", share(covered(values[..., 1:], errors.mean)), covers
    yield "coverage of the interval of Δ", share(covered(d, 0)), covers
    found = np.isin(verdicts(d), ("better", "worse"))
    yield "family-wise error rate of nine equal variants", share(found.any(axis=1)), errs
    if errors.counts:
        certain = (np.ptp(d, axis=0) <= NOISE) & (np.abs(d[0]) > NOISE)
        yield "the same, if an sd of 0 counted as significant", share((found | certain).any(axis=1)), ""
    wrong = [verdicts(d + sign * MARGIN, MARGIN) == "equivalent" for sign in (1, -1)]
    worst = max(wrong, key=np.count_nonzero)
    yield "error rate of `equivalent` if Δ is the margin", share(worst), errs
    if not errors.bound:
        return
    yield "the same, any of nine", share(worst.any(axis=1)), ""
    least = paired.detectable_effect(n, ALPHA / COMPARISONS)
    for effect, words in (*((float(k), f"{k} sd") for k in (1, 2, 3)), (least, "`mde`")):
        one = d.copy()
        one[..., 0] += effect
        yield f"power for one of nine with Δ = {words}", share(verdicts(one)[:, 0] == "better"), ""
    yield "coverage of a percentile bootstrap interval of Δ", share(bootstrap_covers(d[..., 0], rng)), ""


def disagreements(errors: Errors, n: int, studies: int, rng: np.random.Generator) -> int:
    """Number of studies with various differences for which `summarize` and the functions above disagree."""
    variants = list(range(1 + COMPARISONS))
    margin = 2 * errors.sd
    study = Study("s", {}, {"variant": variants}, {"variant": 0}, "metric", margin=margin, seeds=n)
    values = errors.draw(rng, (n, studies, len(variants)))
    values = values + errors.sd * np.array([0, 0, 0, 0.5, -1, 2, 3, -4, 20, -40])
    d = values[..., 1:] - values[..., :1]
    said, differ = verdicts(d, margin), 0
    rows = pd.MultiIndex.from_product([range(n), map(str, variants)], names=["seed", "variant"])
    for k in range(studies):
        trials = pd.DataFrame({"value": values[:, k].ravel(), "status": "done"}, rows).reset_index()
        table = summarize(study, trials)
        same = list(table["verdict"])[1:] == list(said[k])
        for x, names in ((values[:, k], ["ci_low", "ci_high"]), (d[:, k], ["delta_ci_low", "delta_ci_high"])):
            ends = np.column_stack(paired.t_interval(x, CONFIDENCE))
            same &= np.allclose(table[names].to_numpy(float)[-len(ends) :], ends, rtol=1e-9, atol=1e-12)
        differ += not same
    return differ

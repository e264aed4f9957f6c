"""Simulated studies, and how often what `benchmarks.stats` says of them is right."""

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
NOISE = 1e-9  # differences less apart are equal ones of counts
MARGIN = 3.0  # so wide that the equivalence test reaches its level with three seeds


class Share(NamedTuple):
    """How often something happens, and the Monte Carlo error of that."""

    mean: float
    error: float


def share(happened: ArrayLike) -> Share:
    """How often something happened; `happened` is (studies,) or (studies, comparisons), of which one study's depend."""
    x = np.asarray(happened, dtype=float)
    each = x.reshape(len(x), -1).mean(axis=1)
    return Share(float(each.mean()), float(each.std() / math.sqrt(len(each))))


def covered(x: Array, truth: float) -> NDArray[np.bool_]:
    """Whether t intervals of the mean hold the truth, from (seeds, studies, k) to (studies, k)."""
    low, high = paired.t_interval(x.reshape(len(x), -1), CONFIDENCE)
    return ((low <= truth) & (truth <= high)).reshape(x.shape[1:])


def verdicts(d: Array, margin: float | None = None) -> NDArray[np.str_]:
    """What `summarize` says of differences, from (seeds, studies, k) to (studies, k)."""
    flat, shape = paired.level(d.reshape(len(d), -1), NOISE), d.shape[1:]
    p = paired.t_test(flat).reshape(shape)
    p_tost = paired.tost(flat, margin) if margin else np.full(p.size, np.nan)
    for study in np.flatnonzero((p < ALPHA).any(axis=1)):  # elsewhere Holm, who only raises a p, changes nothing
        p[study] = multipletests(p[study], method="holm")[1]
    gain, zeros = paired.moments(flat)[1], itertools.repeat(0)
    said = map(verdict, gain.tolist(), p.ravel().tolist(), p_tost.tolist(), zeros, zeros)
    return np.array(list(said)).reshape(shape)


def bootstrap_covers(x: Array, rng: np.random.Generator, resamples: int = 2000) -> NDArray[np.bool_]:
    """Whether percentile bootstrap intervals of the mean hold 0; `x` is (seeds, studies)."""
    n, tail = len(x), (1 - CONFIDENCE) / 2
    counts = rng.multinomial(n, np.full(n, 1 / n), resamples) / n
    parts = np.array_split(x, -(-x.shape[1] // 1000), axis=1)  # of a thousand studies, for the sake of memory
    low, high = np.hstack([np.quantile(counts @ part, (tail, 1 - tail), axis=0) for part in parts])
    return np.asarray((low <= 0) & (high >= 0))


def measure(errors: Errors, n: int, studies: int, rng: np.random.Generator) -> Iterator[tuple[str, Share, str]]:
    """What happens with so many seeds, how often, and what is promised."""
    values = errors.draw(rng, (n, studies, 1 + COMPARISONS))
    d = (values[..., 1:] - values[..., :1]) / errors.sd
    covers, errs = (f"= {CONFIDENCE}", f"≤ {ALPHA}") if errors.bound else ("", "")
    yield "the interval of a mean covers it", share(covered(values[..., 1:], errors.mean)), covers
    yield "the interval of Δ covers it", share(covered(d, 0)), covers
    found = np.isin(verdicts(d), ("better", "worse"))
    yield "false alarms: any of nine that are alike", share(found.any(axis=1)), errs
    if errors.counts:
        certain = (np.ptp(d, axis=0) <= NOISE) & (np.abs(d[0]) > NOISE)
        yield "the same, were an sd of 0 certainty", share((found | certain).any(axis=1)), ""
    wrong = [verdicts(d + sign * MARGIN, MARGIN) == "equivalent" for sign in (1, -1)]
    worst = max(wrong, key=np.count_nonzero)
    yield "`equivalent`, though Δ is the margin", share(worst), errs
    if not errors.bound:
        return
    yield "the same, any of nine", share(worst.any(axis=1)), ""
    least = paired.detectable_effect(n, ALPHA / COMPARISONS)
    for effect, words in (*((float(k), f"{k} sd") for k in (1, 2, 3)), (least, "`mde`")):
        one = d.copy()
        one[..., 0] += effect
        yield f"found: Δ = {words}, in one of nine", share(verdicts(one)[:, 0] == "better"), ""
    yield "a percentile bootstrap of Δ covers it", share(bootstrap_covers(d[..., 0], rng)), ""


def disagreements(errors: Errors, n: int, studies: int, rng: np.random.Generator) -> int:
    """In how many studies with all kinds of differences `summarize` says anything else than the functions above."""
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

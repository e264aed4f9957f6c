"""Tests and intervals for paired differences.

Differences `d` are an array with one row per seed, (n,) or (n, k), and NaN for a missing pair; each column is one
comparison. If all differences of a column are equal (sd 0), which happens with a coarse metric and few seeds, Student's
t is undefined: the interval is a point, and p is that of the sign-flip test, 2/2^n or one-sided 1/2^n, or 1.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]
CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.8
EXACT = 30  # maximum number of pairs for which all sign flips are enumerated
RESAMPLES = 9999  # random sign flips for more pairs


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided Student t interval of a mean; NaN with fewer than two values.

    Args:
        values: Independent values, one per seed.
        confidence: Nominal coverage.
    """
    low, high = t_interval(np.asarray(values, dtype=float), confidence)
    return float(low), float(high)


def moments(d: Array) -> tuple[Array, Array, Array]:
    """Number of values, mean (NaN without values) and sample sd (NaN with fewer than two values) of each column."""
    there = np.isfinite(d)
    n = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, d, 0).sum(axis=0) / n
        sd = np.sqrt((np.where(there, d - mean, 0) ** 2).sum(axis=0) / (n - 1))
    least, most = _ends(d)
    equal = least == most  # rounding must not give these a nonzero sd
    return n, np.where(equal, most, mean), np.where(n < 2, np.nan, np.where(equal, 0, sd))


def _ends(d: Array) -> tuple[Array, Array]:
    """Minimum and maximum of each column; inf and -inf for a column without values."""
    there = np.isfinite(d)
    least = np.where(there, d, np.inf).min(axis=0, initial=np.inf)
    return least, np.where(there, d, -np.inf).max(axis=0, initial=-np.inf)


def level(d: Array, noise: Array | float) -> Array:
    """Replace the values of a column by their mean if they differ only by rounding.

    Args:
        d: The differences.
        noise: Largest range that rounding can cause, for all columns or per column.
    """
    least, most = _ends(d)
    return np.where(np.isfinite(d) & (most - least <= noise), moments(d)[1], d)


def t_interval(d: Array, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
    """Two-sided Student t interval of the mean of each column; NaN with fewer than two values."""
    n, mean, sd = moments(d)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stats.t.isf((1 - confidence) / 2, n - 1) * sd / np.sqrt(n)
    return mean - half, mean + half


def t_test(d: Array) -> Array:
    """Two-sided p value of Student's paired t test for each column; NaN with fewer than two values."""
    n, mean, sd = moments(d)
    return np.where((sd == 0) & (mean == 0), 1.0, 2 * _upper(np.abs(mean), n, sd))[()]


def tost(d: Array, margin: float) -> Array:
    """The p value of two one-sided t tests (TOST) for each column; NaN with fewer than two values.

    The null hypothesis is that the mean difference lies outside ± margin (Schuirmann 1987).
    """
    n, mean, sd = moments(d)
    return np.maximum(_upper(margin + mean, n, sd), _upper(margin - mean, n, sd))


def _upper(effect: Array, n: Array, sd: Array) -> Array:
    """P(T > effect / standard error); if the sd is 0, the probability that n fair signs are all positive, or 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p = stats.t.sf(effect / (sd / np.sqrt(n)), n - 1)
    return np.where(sd == 0, np.where(effect > 0, 0.5**n, 1.0), p)


def sign_flip(d: Array) -> float:
    """Exact two-sided p value of the sign-flip test of one comparison; NaN without pairs.

    It is the fraction of the 2^n sign assignments whose absolute mean difference is at least the observed one. The test
    assumes exchangeable errors within a pair, not normal errors (Fisher 1935, The Design of Experiments, section 21).
    The smallest possible p is 2/2^n. With more than 30 pairs, 9,999 sign assignments are sampled with a fixed seed, and
    the observed one is counted as well.

    Args:
        d: The differences, (n,).
    """
    d = d[np.isfinite(d)]
    if not len(d):
        return math.nan
    least = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # sums in another order differ by rounding
    if least <= 0:
        return 1.0
    if len(d) > EXACT:
        signs = np.random.default_rng(0).integers(0, 2, (RESAMPLES, len(d)), dtype=np.int8) * 2 - 1
        return float((1 + (np.abs(signs @ d) >= least).sum()) / (RESAMPLES + 1))
    # Meet in the middle: every sum is a sum of the first half plus one of the second, so sorting the halves is enough.
    first, second = (_signed_sums(half) for half in (d[: len(d) // 2], d[len(d) // 2 :]))
    second.sort()
    above = len(second) - np.searchsorted(second, least - first, side="left")
    below = np.searchsorted(second, -least - first, side="right")
    return float((above.sum() + below.sum()) / 2.0 ** len(d))


def _signed_sums(d: Array) -> Array:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def power_of(effect: float, n: int, alpha: float) -> float:
    """Power of a two-sided paired t test.

    Args:
        effect: True mean difference, in sds of the differences.
        n: Number of pairs, at least two.
        alpha: Significance level.
    """
    critical = stats.t.isf(alpha / 2, n - 1)
    return float(stats.nct.sf(critical, n - 1, effect * math.sqrt(n)))


@lru_cache(maxsize=4096)
def detectable_effect(n: int, alpha: float) -> float:
    """Minimum detectable effect at 80 % power, in sds of the differences; NaN with fewer than two pairs.

    `statsmodels.stats.power` is wrong for few pairs: for n = 3 and alpha = .05/9 it returns 8.85 instead of 9.82, and
    its own power at 8.85 is not .8.
    """
    if n < 2:
        return math.nan
    high = 1.0
    while power_of(high, n, alpha) < POWER:
        high *= 2
    return float(optimize.brentq(lambda effect: power_of(effect, n, alpha) - POWER, 0, high))


@lru_cache(maxsize=4096)
def seeds_to_detect(effect: float, alpha: float, most: int = 10**6) -> int:
    """Number of pairs needed for 80 % power to detect a difference of `effect` sds; `most` if that is not enough."""
    return _least(lambda n: power_of(effect, n, alpha) >= POWER, most)


@lru_cache(maxsize=4096)
def seeds_for_equivalence(margin: float, most: int = 10**6) -> int:
    """Number of pairs needed for 80 % power of TOST if the true difference is zero.

    Args:
        margin: In sds of the differences.
        most: Returned if that many pairs are not enough.
    """
    # Without a true difference TOST rejects if |t| < margin·√n − t_crit; this uses the normal approximation of t.
    return _least(lambda n: 2 * stats.norm.cdf(margin * math.sqrt(n) - stats.t.isf(ALPHA, n - 1)) - 1 >= POWER, most)


def _least(good: Callable[[int], bool], most: int) -> int:
    """Smallest n >= 2 for which `good` is true, by bisection; `good` must be monotone in n."""
    low, high = 1, 2
    while high < most and not good(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high

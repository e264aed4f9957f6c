"""Tests and intervals of paired differences.

Differences `d` stand in an array with one seed a row, (n,) or (n, k), NaN where a pair is missing; each column is a
comparison of its own. Where all differences of a column are equal (sd 0), as a coarse metric and few seeds can make
them, Student's t says nothing: the interval is a point, and p is the sign-flip test's, 2/2^n or one-sided 1/2^n, or 1.
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
EXACT = 30  # pairs up to which all sign flips are counted
RESAMPLES = 9999  # beyond, as many at random


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided Student t interval of a mean; NaNs for fewer than two values.

    Args:
        values: Independent values, one a seed.
        confidence: The coverage aimed at.
    """
    low, high = t_interval(np.asarray(values, dtype=float), confidence)
    return float(low), float(high)


def moments(d: Array) -> tuple[Array, Array, Array]:
    """Each column's number of values, mean (NaN without a value) and sample sd (NaN with fewer than two)."""
    there = np.isfinite(d)
    n = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, d, 0).sum(axis=0) / n
        sd = np.sqrt((np.where(there, d - mean, 0) ** 2).sum(axis=0) / (n - 1))
    least, most = _ends(d)
    equal = least == most  # rounding must not make a spread of those
    return n, np.where(equal, most, mean), np.where(n < 2, np.nan, np.where(equal, 0, sd))


def _ends(d: Array) -> tuple[Array, Array]:
    """Each column's least and largest value; inf and -inf where it has none."""
    there = np.isfinite(d)
    least = np.where(there, d, np.inf).min(axis=0, initial=np.inf)
    return least, np.where(there, d, -np.inf).max(axis=0, initial=-np.inf)


def level(d: Array, noise: Array | float) -> Array:
    """The same, but columns whose values differ by no more than rounding does hold their mean throughout.

    Args:
        d: The differences.
        noise: How much rounding can make of a spread, for all columns or for each.
    """
    least, most = _ends(d)
    return np.where(np.isfinite(d) & (most - least <= noise), moments(d)[1], d)


def t_interval(d: Array, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
    """Each column's two-sided Student t interval of the mean; NaN with fewer than two values."""
    n, mean, sd = moments(d)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stats.t.isf((1 - confidence) / 2, n - 1) * sd / np.sqrt(n)
    return mean - half, mean + half


def t_test(d: Array) -> Array:
    """Each column's two-sided p of Student's paired t test that the mean difference is 0; NaN with fewer than two."""
    n, mean, sd = moments(d)
    return np.where((sd == 0) & (mean == 0), 1.0, 2 * _upper(np.abs(mean), n, sd))[()]


def tost(d: Array, margin: float) -> Array:
    """Each column's p of two one-sided t tests: small where the mean difference lies surely within ± the margin.

    Schuirmann (1987); NaN with fewer than two values.
    """
    n, mean, sd = moments(d)
    return np.maximum(_upper(margin + mean, n, sd), _upper(margin - mean, n, sd))


def _upper(effect: Array, n: Array, sd: Array) -> Array:
    """P(T > effect / standard error); where the sd is 0, the chance that n fair signs are all positive, or 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p = stats.t.sf(effect / (sd / np.sqrt(n)), n - 1)
    return np.where(sd == 0, np.where(effect > 0, 0.5**n, 1.0), p)


def sign_flip(d: Array) -> float:
    """The exact two-sided p of the sign-flip test of one comparison; NaN without a pair.

    The share of all 2^n ways to swap the two of each pair in which the mean difference is at least as large; needs no
    normal errors, only exchangeable ones (Fisher 1935, The Design of Experiments, section 21). Its least value is
    2/2^n. Beyond 30 pairs 9,999 swaps are drawn, always the same, and the one observed is counted among them.

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
    # Every sum is one of the first half's and one of the second's: sorting those takes the root of the time.
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
    """The chance that a paired t test finds a mean difference.

    Args:
        effect: The difference, in sds of the differences.
        n: Pairs, at least two.
        alpha: The level at which it tests, two-sided.
    """
    critical = stats.t.isf(alpha / 2, n - 1)
    return float(stats.nct.sf(critical, n - 1, effect * math.sqrt(n)))


@lru_cache(maxsize=4096)
def detectable_effect(n: int, alpha: float) -> float:
    """The least difference, in sds of the differences, that is found four times of five; NaN with fewer than two pairs.

    `statsmodels.stats.power` gives wrong answers where it is most needed: 8.85 for n = 3 and alpha = .05/9, at which
    its own power is not .8, in place of 9.82.
    """
    if n < 2:
        return math.nan
    high = 1.0
    while power_of(high, n, alpha) < POWER:
        high *= 2
    return float(optimize.brentq(lambda effect: power_of(effect, n, alpha) - POWER, 0, high))


@lru_cache(maxsize=4096)
def seeds_to_detect(effect: float, alpha: float, most: int = 10**6) -> int:
    """How many pairs find a difference of so many sds four times of five; `most` if that many do not."""
    return _least(lambda n: power_of(effect, n, alpha) >= POWER, most)


@lru_cache(maxsize=4096)
def seeds_for_equivalence(margin: float, most: int = 10**6) -> int:
    """How many pairs show four times of five that there is no difference beyond the margin, if there is none at all.

    Args:
        margin: In sds of the differences.
        most: Returned if that many do not.
    """
    # With no true difference TOST rejects when |t| stays below margin·√n − t_crit: by its normal approximation.
    return _least(lambda n: 2 * stats.norm.cdf(margin * math.sqrt(n) - stats.t.isf(ALPHA, n - 1)) - 1 >= POWER, most)


def _least(good: Callable[[int], bool], most: int) -> int:
    """The least n from 2 on that is good, by bisection: what n does, n + 1 does."""
    low, high = 1, 2
    while high < most and not good(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high

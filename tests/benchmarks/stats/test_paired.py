"""Tests and intervals of paired differences against other implementations, enumeration and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from benchmarks.stats import paired

HOLM_9 = 0.05 / 9  # the first step of Holm's test of nine comparisons


@pytest.mark.parametrize("n", [2, 3, 5, 10, 60])
def test_t_test_and_interval_are_those_of_scipy(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.9, 0.02, (2, n, 7))
    p, (low, high) = paired.t_test(a - b), paired.t_interval(a - b, 0.9)
    for k in range(7):
        expected = stats.ttest_rel(a[:, k], b[:, k])
        interval = expected.confidence_interval(0.9)
        assert p[k] == pytest.approx(expected.pvalue, rel=1e-9)
        assert (low[k], high[k]) == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize("shift", [-0.02, 0, 0.004, 0.03])
def test_tost_is_that_of_statsmodels(shift):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.9, 0.01, (2, 5))
    p = paired.tost(a + shift - b, 0.01)
    assert p == pytest.approx(DescrStatsW(a + shift - b).ttost_mean(-0.01, 0.01)[0], rel=1e-9)
    assert p == pytest.approx(ttost_paired(a + shift, b, -0.01, 0.01)[0], rel=1e-9)


def test_a_missing_pair_is_left_out_of_its_column_alone():
    d = np.random.default_rng(0).normal(size=(6, 2))
    gap = d.copy()
    gap[2, 0] = np.nan
    for function in (paired.t_test, lambda d: paired.tost(d, 0.5), lambda d: paired.t_interval(d)[0]):
        assert function(gap) == pytest.approx([function(np.delete(d[:, 0], 2)), function(d[:, 1])])
    assert paired.sign_flip(gap[:, 0]) == paired.sign_flip(np.delete(d[:, 0], 2))


def test_of_equal_differences_the_sign_flip_test_speaks():
    # Three times .1 has a mean that is not .1, and so by the formula an sd that is not 0.
    d = np.column_stack([np.zeros(3), np.full(3, 0.1), np.full(3, -0.3)])
    assert paired.moments(d)[2].tolist() == [0, 0, 0]
    assert paired.t_test(d).tolist() == [1, 2 / 8, 2 / 8]
    assert [paired.sign_flip(column) for column in d.T] == [1, 2 / 8, 2 / 8]
    low, high = paired.t_interval(d)
    assert low.tolist() == high.tolist() == [0, 0.1, -0.3]
    assert paired.tost(d, 0.2).tolist() == [1 / 8, 1 / 8, 1]
    assert paired.tost(d, 0.1).tolist() == [1 / 8, 1, 1], "a difference as large as the margin is not within it"


def test_level_takes_rounding_for_what_it_is():
    d = np.column_stack([[0.1, 0.1 + 1e-9, np.nan], [0.1, 0.2, 0.3], [np.nan] * 3])
    levelled = paired.level(d, 1e-8)
    assert levelled[0, 0] == levelled[1, 0] == pytest.approx(0.1)
    assert np.isnan(levelled[2, 0])
    assert levelled[:, 1:] == pytest.approx(d[:, 1:], nan_ok=True)


@pytest.mark.parametrize("there", [0, 1])
def test_fewer_than_two_pairs_say_nothing(there):
    d = np.full((4, 1), np.nan)
    d[:there] = 0.5
    n, mean, sd = paired.moments(d)
    assert n == there
    assert np.isnan([sd, paired.t_test(d), paired.tost(d, 1), *paired.t_interval(d)]).all()
    assert mean == 0.5 if there else np.isnan(mean)
    assert paired.sign_flip(d[:, 0]) == 1 if there else math.isnan(paired.sign_flip(d[:, 0]))


def scipy_sign_flip(d):
    return stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue


@pytest.mark.parametrize("n", [2, 3, 5, 8, 11])
def test_sign_flip_is_the_permutation_test_of_scipy(n):
    rng = np.random.default_rng(n)
    for d in (rng.normal(0.5, 1, n), rng.integers(-2, 4, n) / 359, np.round(rng.exponential(1, n), 1) * 0.1):
        assert paired.sign_flip(d) == pytest.approx(scipy_sign_flip(d), abs=1e-12)


def test_sign_flip_with_ties_and_zeros():
    d = np.array([0.1, 0.1, 0.0, 0.2, -0.1, 0.3])
    sums = [abs(np.dot(signs, [1, 1, 0, 2, -1, 3])) for signs in itertools.product((-1, 1), repeat=6)]
    assert paired.sign_flip(d) == np.mean(np.array(sums) >= 6)
    assert paired.sign_flip(np.zeros(5)) == 1
    assert paired.sign_flip(np.array([0.1, 0.2, -0.3])) == 1, "a sum of rounding errors is none"


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 16])
def test_sign_flip_ends_at_its_floor(n):
    assert paired.sign_flip(np.random.default_rng(0).exponential(1, n)) == 2 / 2**n


def test_sign_flip_of_many_pairs_is_about_as_if_all_flips_were_counted(monkeypatch):
    d = np.random.default_rng(3).normal(0.4, 1, 24)
    exact = paired.sign_flip(d)
    assert 0.01 < exact < 0.5
    monkeypatch.setattr(paired, "EXACT", 23)
    drawn = paired.sign_flip(d)
    assert drawn == paired.sign_flip(d)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / paired.RESAMPLES))
    # Nothing is surer than what was drawn: the flip observed is one of 10,000.
    assert paired.sign_flip(np.full(100, 0.1)) == 1 / (paired.RESAMPLES + 1)


@pytest.mark.parametrize(("n", "alpha"), [(3, HOLM_9), (3, 0.05), (5, HOLM_9)])
def test_the_detectable_effect_is_found_four_times_of_five(n, alpha):
    effect = paired.detectable_effect(n, alpha)
    d = np.random.default_rng(0).normal(effect, 1, (n, 20_000))
    found = (paired.t_test(d) < alpha).mean()
    assert found == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 20_000))


@pytest.mark.parametrize("alpha", [0.05, HOLM_9])
def test_the_detectable_effect_is_that_of_statsmodels_with_many_pairs(alpha):
    expected = TTestPower().solve_power(nobs=20, alpha=alpha, power=0.8)
    assert paired.detectable_effect(20, alpha) == pytest.approx(expected, rel=1e-4)


def test_power_falls_to_the_level_where_there_is_no_difference():
    assert paired.power_of(0, 5, 0.05) == pytest.approx(0.025)  # on one side
    assert math.isnan(paired.detectable_effect(1, 0.05))


@pytest.mark.parametrize("effect", [0.2, 0.5, 1, 3, 20])
@pytest.mark.parametrize("alpha", [0.05, HOLM_9])
def test_seeds_to_detect_are_the_fewest_that_do(effect, alpha):
    n = paired.seeds_to_detect(effect, alpha)
    assert paired.power_of(effect, n, alpha) >= paired.POWER
    assert n == 2 or paired.power_of(effect, n - 1, alpha) < paired.POWER
    assert n == 2 or paired.detectable_effect(n, alpha) <= effect < paired.detectable_effect(n - 1, alpha)


@pytest.mark.parametrize("margin", [0.4, 0.7, 1.5])
def test_seeds_for_equivalence_show_it_four_times_of_five(margin):
    n = paired.seeds_for_equivalence(margin)
    d = np.random.default_rng(0).normal(0, 1, (n, 10_000))
    assert (paired.tost(d, margin) < 0.05).mean() == pytest.approx(0.8, abs=0.06)


def test_what_nobody_can_run_ends_at_the_most():
    assert paired.seeds_to_detect(1e-9, 0.05, 1000) == 1000
    assert paired.seeds_for_equivalence(1e-9, 1000) == 1000

"""Comparisons across data sets against Demšar's and rliable's published numbers."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.stats.across import across_data_sets, iqm, iqm_interval, rank
from benchmarks.study.study import Study

# Demšar (2006), table 6: AUC of C4.5, with m, with cf, with both, on 14 data sets. In the last but one both .975 are no
# tie: only so do these values, which are rounded, have the average ranks that he publishes.
DEMSAR = np.array(
    """
    .763 .768 .771 .798
    .599 .591 .590 .569
    .954 .971 .968 .967
    .628 .661 .654 .657
    .882 .888 .886 .898
    .936 .931 .916 .931
    .661 .668 .609 .685
    .583 .583 .563 .625
    .775 .838 .866 .875
    1.000 1.000 1.000 1.000
    .940 .962 .965 .962
    .619 .666 .614 .669
    .972 .981 .9751 .975
    .957 .978 .946 .970
    """.split(),
    dtype=float,
).reshape(14, 4)


def friedman(ranks: np.ndarray, n: int) -> float:
    """The statistic without a correction for ties (Demšar 2006, section 3.2.2)."""
    k = len(ranks)
    return 12 * n / (k * (k + 1)) * ((ranks**2).sum() - k * (k + 1) ** 2 / 4)


def test_ranks_are_those_that_demsar_publishes():
    found = rank(DEMSAR)
    assert found.mean == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert friedman(found.mean, 14) == pytest.approx(9.28, abs=5e-3)
    # Corrected for ties, by Hollander & Wolfe's formula: what ties take from the sum of squares is made up for.
    ties = sum(
        (np.unique(row, return_counts=True)[1] ** 3 - np.unique(row, return_counts=True)[1]).sum() for row in DEMSAR
    )
    assert found.chi2 == pytest.approx(friedman(found.mean, 14) / (1 - ties / (14 * 4 * 15)))
    assert found.p == pytest.approx(stats.chi2.sf(found.chi2, 3))
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_by_the_published_quantiles(k, q):
    # Demšar (2006), table 5a.
    assert rank(np.random.default_rng(0).random((6, k))).critical_difference == pytest.approx(
        q * np.sqrt(k * (k + 1) / 36), rel=5e-4
    )


def test_nemenyi_is_below_the_level_where_ranks_lie_the_critical_difference_apart():
    # Demšar's C4.5 and C4.5 with both are 1.179 apart, which is not 1.25.
    found = rank(DEMSAR)
    apart = np.abs(found.mean[:, None] - found.mean)
    assert ((found.nemenyi < 0.05) == (apart > found.critical_difference)).all()
    assert not (found.nemenyi < 0.05).any()
    scores = np.tile(np.arange(4.0), (20, 1))  # neighbours are 1 apart, less than 1.05
    assert rank(scores).mean.tolist() == [4, 3, 2, 1]
    assert (rank(scores).nemenyi < 0.05).sum() == 6
    assert np.diag(rank(scores).nemenyi).tolist() == [1, 1, 1, 1]
    expected = 2 * stats.norm.sf(1 / np.sqrt(2 * 3 / 30))  # for two methods it is the z test of their ranks
    assert rank(np.tile([0.0, 1.0], (5, 1))).nemenyi[0, 1] == pytest.approx(expected, rel=1e-6)


def test_ranks_that_no_test_is_made_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scores in (np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0]] * 5), np.ones((5, 3))):
            found = rank(scores)
            assert np.isnan([found.chi2, found.p]).all()
            assert np.isfinite(found.nemenyi).all()
    assert rank(np.ones((5, 3))).mean.tolist() == [2, 2, 2]


def test_iqm_is_that_of_rliable():
    # tests/rliable/metrics_test.py of google-research/rliable.
    assert iqm(np.array([[1, 2], [2, 2], [1, 1], [2, 1]])) == 1.5
    assert iqm(np.array([[1, 1], [2, 2], [3, 3]])) == 2


@pytest.mark.parametrize("shape", [(3, 2), (5, 7), (10, 1)])
def test_iqm_is_the_trimmed_mean(shape):
    scores = np.random.default_rng(0).random(shape)
    kept = np.sort(scores, axis=None)[scores.size // 4 : scores.size - scores.size // 4]
    assert iqm(scores) == pytest.approx(kept.mean())
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores.ravel(), 0.25))


def test_iqm_interval_against_all_draws_of_a_tiny_case():
    scores = np.array([[0.1, 0.5], [0.3, 0.9], [0.6, 0.2]])
    draws = list(itertools.product(range(3), repeat=3))
    means = [iqm(np.stack([scores[list(a), 0], scores[list(b), 1]])) for a in draws for b in draws]
    expected = np.quantile(means, (0.025, 0.975))  # each data set's runs are drawn apart
    assert iqm_interval(scores, 20_000) == pytest.approx(expected, abs=0.01)
    assert iqm_interval(scores) == iqm_interval(scores)
    low, high = iqm_interval(scores)
    assert low < iqm(scores) < high


def test_iqm_interval_is_stratified_and_shrinks_with_runs():
    # Data sets of different levels, without any noise: only draws across data sets could differ.
    assert iqm_interval(np.tile([0.1, 0.5, 0.9, 0.7], (3, 1))) == pytest.approx((0.6, 0.6))
    rng = np.random.default_rng(0)
    few, many = (np.subtract(*iqm_interval(rng.normal(size=(runs, 6))))[()] for runs in (5, 100))
    assert abs(many) < abs(few) / 2


STUDY = Study(
    name="s",
    base={},
    vary={"model.norm": ["none", "batch", "layer"], "data.name": ["wine", "iris", "digits"]},
    baseline={"model.norm": "none", "data.name": "iris"},
    metric="test/accuracy",
    seeds=4,
)


def trials_of(study: Study, values: np.ndarray, failed=()) -> pd.DataFrame:
    """Trials with values (norm, data, seed)."""
    rows = []
    for variant in study.compared:
        norm, data = (axis.index(variant.cell[axis.name]) for axis in study.vary_axes)
        for seed in range(study.seeds):
            done = (norm, data, seed) not in failed
            value = values[norm, data, seed] if done else np.nan
            rows.append((variant.name, seed, "done" if done else "diverged", value))
    return pd.DataFrame(rows, columns=["variant", "seed", "status", "value"])


def values_of() -> np.ndarray:
    values = np.random.default_rng(0).normal(0, 0.01, (3, 3, 4))
    values += np.array([0.2, 0.9, 0.5])[None, :, None]  # data sets differ more than methods
    values[2] += 0.1
    values[1, :2] -= 0.1
    values[1, 2] += 0.05
    return values


@pytest.mark.parametrize("mode", ["max", "min"])
def test_methods_are_ranked_over_data_sets(mode):
    values = values_of()
    study = Study("s", {}, STUDY.vary, STUDY.baseline, "test/accuracy", mode, seeds=4)
    across = across_data_sets(study, trials_of(study, values))
    assert across is not None
    assert (across.sets, across.seeds, across.methods) == (3, 4, ["none", "batch", "layer"])
    ranks = {"none": 7 / 3, "batch": 8 / 3, "layer": 1}  # batch is last on two data sets and second on one
    ranks = ranks if mode == "max" else {name: 4 - place for name, place in ranks.items()}
    assert dict(zip(across.methods, across.ranks.mean, strict=True)) == pytest.approx(ranks)
    assert list(across.table["method"]) == sorted(ranks, key=lambda name: ranks[name])
    assert list(across.table["rank"]) == pytest.approx(sorted(ranks.values()))
    rows = across.table.set_index("method")
    for k, name in enumerate(across.methods):
        assert rows.loc[name, "iqm"] == pytest.approx(iqm(values[k].T)), "of the metric, whichever way is better"
        # Resampling draws for data sets in the order of their names.
        low, high = iqm_interval(values[k, [2, 1, 0]].T)
        assert rows.loc[name, ["iqm_ci_low", "iqm_ci_high"]].tolist() == pytest.approx([low, high])


def test_only_what_is_complete_counts():
    values = values_of()
    one_seed = across_data_sets(STUDY, trials_of(STUDY, values, {(1, 0, 2)}))
    assert (one_seed.sets, one_seed.seeds) == (3, 3)
    rows = one_seed.table.set_index("method")
    assert rows.loc["layer", "iqm"] == pytest.approx(iqm(np.delete(values[2], 2, axis=1)))
    one_set = across_data_sets(STUDY, trials_of(STUDY, values, {(1, 0, seed) for seed in range(4)}))
    assert (one_set.sets, one_set.seeds) == (2, 4)
    assert one_set.table.set_index("method").loc["layer", "iqm"] == pytest.approx(iqm(values[2, 1:]))


def test_a_data_set_without_a_seed_that_all_methods_finished_counts_for_nothing():
    # On the first data set all methods finished something, but never at the same seed.
    failed = {(norm, 0, seed) for norm in range(3) for seed in range(4) if seed != norm}
    across = across_data_sets(STUDY, trials_of(STUDY, values_of(), failed))
    assert (across.sets, across.seeds, across.lost) == (2, 4, 9)
    assert across.table.notna().all(axis=None)


def test_nobody_is_ranked_by_the_seeds_that_it_survived():
    values = values_of()
    values[0] = values[1:].max(axis=0) - 1  # worse than all others at every seed
    values[0, :, 0] -= 1
    failed = {(0, data, seed) for data in range(3) for seed in range(1, 4)}
    best_of_all = values.copy()
    best_of_all[1:, :, 1:] = -100  # where the first failed the others did badly
    across = across_data_sets(STUDY, trials_of(STUDY, best_of_all, failed))
    assert across.ranks.mean[0] == 3


def test_what_is_no_comparison_across_data_sets():
    trials = trials_of(STUDY, values_of())
    assert across_data_sets(Study("s", {}, {"a": [1, 2]}, {"a": 1}, "m"), trials) is None
    alone = Study("s", {}, STUDY.vary, STUDY.baseline, "m", one_at_a_time=True)
    assert across_data_sets(alone, trials) is None
    data = Study("s", {}, {"data.name": ["iris", "wine"]}, {"data.name": "iris"}, "m", seeds=1)
    rows = pd.DataFrame(
        [("iris", 0, "done", 1.0), ("wine", 0, "done", 2.0)], columns=["variant", "seed", "status", "value"]
    )
    assert across_data_sets(data, rows) is None
    nothing = {(norm, data, seed) for norm in range(3) for data in range(2) for seed in range(4)}
    assert across_data_sets(STUDY, trials_of(STUDY, values_of(), nothing)) is None

"""Grids of two axes against statsmodels, and the choice of tuned settings."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from benchmarks.stats import choose_tuned, summarize_tuned
from benchmarks.stats.factorial import effects, is_factorial, marginal_means
from benchmarks.stats.paired import mean_interval
from benchmarks.study.study import Study

SEEDS = 6


def grid(rows: int, columns: int) -> Study:
    return Study(
        name="s",
        base={},
        vary={"norm": list(range(rows)), "lr": list(range(columns))},
        baseline={"norm": 0, "lr": 1},
        metric="test/accuracy",
        seeds=SEEDS,
    )


def trials_of(study: Study, y: np.ndarray, tell=lambda x: x) -> pd.DataFrame:
    """The trials of a grid with values (seed, norm, lr), NaN being one that failed, in a shuffled order."""
    rows = []
    for variant in study.compared:
        for seed, value in enumerate(y[:, variant.cell["norm"], variant.cell["lr"]]):
            rows.append({"variant": variant.name, **variant.cell, "seed": seed, "value": value})
    trials = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return trials.assign(status=np.where(trials["value"].isna(), "diverged", "done"))


def noisy(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.arange(1, rows * columns + 1).reshape(rows, columns)  # unequal variances, so epsilon is below 1
    return rng.normal(0, 3, (SEEDS, 1, 1)) + scale * rng.normal(0.5, 1, (SEEDS, rows, columns))


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (2, 5)])
def test_effects_are_those_of_statsmodels(shape):
    study, y = grid(*shape), noisy(*shape)
    trials = trials_of(study, y)
    expected = AnovaRM(trials, "value", "seed", within=["norm", "lr"]).fit().anova_table
    found = effects(study, trials).set_index("effect")
    for ours, theirs in (("norm", "norm"), ("lr", "lr"), ("norm × lr", "norm:lr")):
        row, reference = found.loc[ours], expected.loc[theirs]
        assert row["n"] == SEEDS
        assert row["F"] == pytest.approx(reference["F Value"], rel=1e-9)
        assert (row["df1"], row["df2"]) == (reference["Num DF"], reference["Den DF"])
        ratio = row["F"] * row["df1"] / row["df2"]  # of the sums of squares
        assert row["partial_eta2"] == pytest.approx(ratio / (1 + ratio))
        if row["epsilon"] == pytest.approx(1):  # two levels
            assert row["p"] == pytest.approx(reference["Pr > F"])
        else:
            assert row["p"] == pytest.approx(
                stats.f.sf(row["F"], *(row[["df1", "df2"]].to_numpy(float) * row["epsilon"]))
            )


def test_epsilon_by_the_formula_of_the_double_centred_covariance():
    # Greenhouse & Geisser (1959) as textbooks write it, from the covariance of the values themselves.
    study, y = grid(2, 4), noisy(2, 4)
    means = y.mean(axis=1)  # (seeds, lr)
    s, k = np.cov(means, rowvar=False), 4
    top = k**2 * (np.trace(s) / k - s.mean()) ** 2
    bottom = (k - 1) * ((s**2).sum() - 2 * k * (s.mean(axis=1) ** 2).sum() + k**2 * s.mean() ** 2)
    found = effects(study, trials_of(study, y)).set_index("effect")
    assert found.loc["lr", "epsilon"] == pytest.approx(top / bottom)
    assert 1 / 3 < top / bottom < 0.95


def test_an_axis_with_two_levels_is_the_paired_t_test_of_its_means():
    study, y = grid(2, 3), noisy(2, 3)
    means = y.mean(axis=2)
    test = stats.ttest_rel(means[:, 0], means[:, 1])
    row = effects(study, trials_of(study, y)).set_index("effect").loc["norm"]
    assert row[["epsilon", "F", "p"]].tolist() == pytest.approx([1, test.statistic**2, test.pvalue])


def test_seeds_that_lack_a_cell_are_left_out():
    study, y = grid(2, 3), noisy(2, 3)
    gap = y.copy()
    gap[2, 1, 0] = np.nan
    whole = effects(study, trials_of(study, y))
    found = effects(study, trials_of(study, gap))
    assert found["n"].tolist() == [SEEDS - 1] * 3
    assert not np.allclose(found["F"], whole["F"])
    # Of a seed that is left out the other cells do not matter either.
    other = gap.copy()
    other[2] *= 100
    pd.testing.assert_frame_equal(effects(study, trials_of(study, other)), found)
    gap[1:] = np.nan
    few = effects(study, trials_of(study, gap))
    assert few["n"].tolist() == [1] * 3
    assert few.drop(columns=["effect", "n"]).isna().all(axis=None)


@pytest.mark.parametrize("value", [0.1, 0.97])
def test_axes_without_any_effect_have_none_by_rounding(value):
    study = grid(3, 3)
    y = np.full((SEEDS, 3, 3), value) + np.linspace(0, 0.01, SEEDS)[:, None, None] * (value > 0.5)
    found = effects(study, trials_of(study, y))
    assert found["F"].tolist() == [0, 0, 0]
    assert found["p"].tolist() == [1, 1, 1]
    assert found["partial_eta2"].tolist() == [0, 0, 0]


def test_marginal_means_are_those_of_pandas():
    study, y = grid(2, 3), noisy(2, 3)
    y[4, 1, 2] = np.nan
    trials = trials_of(study, y)
    found = marginal_means(study, trials).set_index(["axis", "value"])
    assert list(found.index) == [("norm", "0"), ("norm", "1"), ("lr", "0"), ("lr", "1"), ("lr", "2")]
    for axis in ("norm", "lr"):
        by_seed = trials.groupby([axis, "seed"])["value"].agg(lambda x: x.mean(skipna=False)).unstack(0)
        for level in by_seed:
            row, means = found.loc[(axis, str(level))], by_seed[level].dropna()
            d = (by_seed[level] - by_seed[study.baseline[axis]]).dropna()
            assert row["n"] == len(means) == (5 if (axis, level) in (("norm", 1), ("lr", 2)) else 6)
            assert row["mean"] == pytest.approx(means.mean())
            assert (row["ci_low"], row["ci_high"]) == pytest.approx(mean_interval(list(means)))
            assert row["delta"] == pytest.approx(d.mean())
            assert (row["delta_ci_low"], row["delta_ci_high"]) == pytest.approx(mean_interval(list(d)))


def test_what_is_a_grid_of_two_axes():
    assert is_factorial(grid(2, 3))
    assert not is_factorial(grid(1, 3))
    data = {"data.name": ["iris", "wine"], "lr": [1, 2]}
    assert not is_factorial(Study("s", {}, data, {"data.name": "iris", "lr": 1}, "m"))
    one = Study("s", {}, {"a": [1, 2], "b": [1, 2]}, {"a": 1, "b": 1}, "m", one_at_a_time=True)
    assert not is_factorial(one)


TUNED = Study(
    name="s",
    base={"model": {"lr": 1, "wd": 0}},
    vary={"model.norm": ["none", "batch"]},
    baseline={"model.norm": "none"},
    metric="test/accuracy",
    tune={"model.lr": [1, 2, 3], "model.wd": [0, 1]},
    seeds=3,
)


def tuned_trials(study: Study, validation: dict[tuple[str, int, int], float], failed=()) -> pd.DataFrame:
    """Trials by (norm, lr, wd) with their validation score, .5 if none is given; the test value is its contrary."""
    rows = []
    for variant in study.variants:
        cell = tuple(variant.cell.values())
        score = validation.get(cell, 0.5)
        for seed in range(study.seeds):
            done = (*cell, seed) not in failed
            value = 1 - score + 0.001 * seed if done else math.nan
            rows.append((variant.name, seed, "done" if done else "failed", value, score if done else math.nan))
    return pd.DataFrame(rows, columns=["variant", "seed", "status", "value", "val/accuracy"])


def chosen(study: Study, trials: pd.DataFrame) -> dict[str, tuple[int, int]]:
    choices = choose_tuned(study, trials)
    assert [choice.variant for choice in choices] == study.compared
    return {c.variant.name: (c.at.cell["model.lr"], c.at.cell["model.wd"]) for c in choices}


def test_settings_are_chosen_on_validation_and_the_test_split_has_no_say():
    trials = tuned_trials(TUNED, {("none", 2, 1): 0.9, ("batch", 3, 0): 0.8, ("batch", 2, 1): 0.7})
    assert chosen(TUNED, trials) == {"none": (2, 1), "batch": (3, 0)}
    shuffled = trials.assign(value=np.random.default_rng(0).normal(size=len(trials)))
    assert chosen(TUNED, shuffled) == {"none": (2, 1), "batch": (3, 0)}
    low = Study("s", TUNED.base, TUNED.vary, TUNED.baseline, "test/accuracy", "min", tune=TUNED.tune, seeds=3)
    trials = tuned_trials(low, {("none", 2, 1): 0.1, ("batch", 3, 0): 0.9, ("batch", 1, 1): 0.4})
    assert chosen(low, trials) == {"none": (2, 1), "batch": (1, 1)}


def test_fewest_failures_come_first_and_ties_go_to_the_first():
    best = {("none", 2, 0): 0.9}
    assert chosen(TUNED, tuned_trials(TUNED, best, {("none", 2, 0, 1)}))["none"] == (1, 0)
    some = {("none", lr, wd, 0) for lr in (1, 2, 3) for wd in (0, 1)}
    assert chosen(TUNED, tuned_trials(TUNED, best, some))["none"] == (2, 0)
    assert chosen(TUNED, tuned_trials(TUNED, {("none", 3, 1): 0.9, ("none", 2, 1): 0.9})) == {
        "none": (2, 1),
        "batch": (1, 0),
    }


def test_edges_of_the_grid_are_told():
    choices = choose_tuned(TUNED, tuned_trials(TUNED, {("none", 2, 1): 0.9, ("batch", 3, 1): 0.9}))
    # Of two values both are ends, so those of wd say nothing.
    assert {choice.variant.name: choice.edges for choice in choices} == {"none": [], "batch": ["model.lr"]}


def test_without_a_finished_trial_nothing_is_chosen():
    nothing = tuned_trials(TUNED, {}, {("none", lr, wd, s) for lr in (1, 2, 3) for wd in (0, 1) for s in range(3)})
    choice = choose_tuned(TUNED, nothing)[0]
    assert (choice.at, choice.edges) == (TUNED.compared[0], [])


def test_the_tuned_table_compares_the_settings_chosen():
    trials = tuned_trials(TUNED, {("none", 2, 1): 0.9, ("batch", 3, 0): 0.8}, {("batch", 1, 0, 0)})
    table = summarize_tuned(TUNED, trials, choose_tuned(TUNED, trials))
    assert list(table.columns[:4]) == ["variant", "model.lr", "model.wd", "n"]
    assert table[["variant", "model.lr", "model.wd"]].to_numpy().tolist() == [["none", 2, 1], ["batch", 3, 0]]
    assert table["mean"].tolist() == pytest.approx([0.101, 0.201])
    assert table.loc[1, ["baseline", "delta"]].tolist() == ["none", pytest.approx(0.1)]
    assert table["n_failed"].tolist() == [0, 0], "a failure at a setting that was not chosen is none here"

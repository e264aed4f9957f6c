"""The table of a study: counts, intervals, comparisons and what becomes of failures. Verdicts: test_stats_verdicts."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from benchmarks.report.analysis import Analysis
from benchmarks.report.findings import notes
from benchmarks.report.provenance import Provenance
from benchmarks.stats import mean_interval, summarize
from benchmarks.study.study import Study

STUDY = Study(
    name="s",
    base={"model": "mlp"},
    vary={"model.activation": ["relu", "tanh", "sigmoid"]},
    baseline={"model.activation": "relu"},
    metric="test/accuracy",
)


def trials(rows: list[tuple[str, int, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["variant", "seed", "status", "value"])


def test_interval_against_a_textbook_value():
    # Mean 3, sd sqrt(2.5), t(.975, 4) = 2.7764: 3 ± 2.7764·sqrt(2.5/5).
    low, high = mean_interval([1, 2, 3, 4, 5])
    assert (low, high) == pytest.approx((3 - 1.96324, 3 + 1.96324), abs=1e-4)


def test_interval_of_one_value_is_unknown():
    assert all(math.isnan(end) for end in mean_interval([0.5]))


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(size=5)) for _ in range(4000)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 4000))


def test_differences_are_paired_by_seed():
    # The seeds differ by far more than the variants: only pairing shows the constant difference.
    base = {0: 0.1, 1: 0.5, 2: 0.9}
    rows = [("relu", seed, "done", value) for seed, value in base.items()]
    rows += [("tanh", seed, "done", base[seed] + 0.01 + 0.001 * (seed - 1)) for seed in (2, 0, 1)]
    table = summarize(STUDY, trials(rows)).set_index("variant")
    assert table.loc["tanh", "delta"] == pytest.approx(0.01)
    assert table.loc["tanh", "delta_ci_low"] > 0
    assert table.loc["tanh", "ci_low"] < table.loc["relu", "mean"]
    assert math.isnan(table.loc["relu", "delta"])


def test_what_did_not_finish_is_counted_and_not_averaged():
    rows = [
        ("relu", 0, "done", 0.5),
        ("relu", 1, "done", 0.7),
        ("tanh", 0, "done", 0.9),
        ("tanh", 1, "diverged", math.nan),
    ]
    rows += [("sigmoid", seed, "failed", math.nan) for seed in (0, 1)]
    table = summarize(STUDY, trials(rows)).set_index("variant")
    assert table["n"].to_dict() == {"relu": 2, "tanh": 1, "sigmoid": 0}
    assert table["n_failed"].to_dict() == {"relu": 0, "tanh": 1, "sigmoid": 2}
    assert table.loc["tanh", "delta"] == pytest.approx(0.4)
    assert math.isnan(table.loc["tanh", "delta_ci_low"])
    assert math.isnan(table.loc["sigmoid", "mean"])


def test_one_seed_gives_neither_interval_nor_test_and_says_so():
    study = replace(STUDY, seeds=1, margin=0.5)
    rows = trials([(name, 0, "done", value) for name, value in (("relu", 0.5), ("tanh", 0.9), ("sigmoid", 0.5))])
    table = summarize(study, rows)
    assert list(table["verdict"]) == ["baseline", "inconclusive", "inconclusive"]
    assert table["n_pairs"].tolist()[1:] == [1, 1]
    assert table["delta"].tolist()[1:] == pytest.approx([0.4, 0])
    columns = ["std", "ci_low", "ci_high", "delta_ci_low", "delta_ci_high", "d_z", "p", "p_holm", "p_tost", "mde"]
    assert table[columns].isna().all(axis=None)
    said = " ".join(notes(Analysis(study, rows, Provenance(), table)))
    assert "One seed allows neither an interval nor a test" in said
    assert "Holm" not in said


def test_a_study_of_which_nothing_has_finished():
    rows = [(name, seed, "pending", math.nan) for name in ("relu", "tanh", "sigmoid") for seed in range(5)]
    table = summarize(replace(STUDY, margin=0.1), trials(rows))
    assert table["n"].tolist() == table["n_failed"].tolist() == [0, 0, 0]
    assert list(table["verdict"]) == ["baseline", "inconclusive", "inconclusive"]
    columns = ["diverged_rate", "diverged_ci_low", "mean", "std", "ci_low", "delta", "p", "p_holm", "p_exact", "mde"]
    assert table[columns].isna().all(axis=None)


def test_holm_is_over_the_tests_that_were_made():
    # 30 variants, of which 10 have one pair and so no test.
    study = replace(STUDY, vary={"a": list(range(31))}, baseline={"a": 0}, seeds=4)
    rng = np.random.default_rng(0)
    seeds = {variant: 4 if variant <= 20 else 1 for variant in range(31)}
    rows = [
        (str(a), s, "done" if s < seeds[a] else "crashed", rng.normal(3 * (a == 1), 1))
        for a in range(31)
        for s in range(4)
    ]
    table = summarize(study, trials(rows))
    tested = table[table["p"].notna()]
    assert list(tested["variant"]) == [str(a) for a in range(1, 21)]
    assert tested["p_holm"].to_numpy() == pytest.approx(multipletests(tested["p"], method="holm")[1])
    assert table.loc[~table.index.isin(tested.index), "p_holm"].isna().all()


def test_the_rate_of_divergence_has_wilsons_interval():
    # Of nine that ended by themselves two diverged; what crashed says nothing of it.
    states = ["done"] * 7 + ["diverged"] * 2 + ["crashed"]
    rows = [("tanh", seed, state, 0.5 if state == "done" else math.nan) for seed, state in enumerate(states)]
    rows += [("relu", seed, "done", 0.5) for seed in range(10)]
    table = summarize(replace(STUDY, seeds=10), trials(rows)).set_index("variant")
    p, n, z = 2 / 9, 9, 1.959964
    middle, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    expected = [(middle + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
    row = table.loc["tanh"]
    assert (row["n_failed"], row["n_diverged"], row["diverged_rate"]) == (3, 2, pytest.approx(p))
    assert row[["diverged_ci_low", "diverged_ci_high"]].tolist() == pytest.approx(expected, rel=1e-6)
    assert table.loc["relu", "diverged_ci_low"] == 0
    assert table.loc["relu", "diverged_ci_high"] == pytest.approx(z * z / (10 + z * z), rel=1e-6)


@pytest.mark.parametrize(("mode", "wins"), [("max", 3), ("min", 1)])
def test_wins_and_ties_are_counted_by_seed(mode, wins):
    base, own = [0.5, 0.5, 0.5, 0.5, 0.5], [0.6, 0.7, 0.8, 0.5, 0.1]
    rows = [("relu", seed, "done", value) for seed, value in enumerate(base)]
    rows += [("tanh", seed, "done", value) for seed, value in enumerate(own)]
    table = summarize(replace(STUDY, mode=mode), trials(rows)).set_index("variant")
    assert (table.loc["tanh", "wins"], table.loc["tanh", "ties"]) == (wins, 1)
    assert table.loc["tanh", "delta"] == pytest.approx(0.04), "Δ has the sign of the metric, whichever way is better"
    assert table.loc["relu", ["wins", "ties", "n_pairs"]].isna().all()


def test_further_metrics_have_their_mean_and_sd():
    rows = trials([(name, s, "done", 0.5) for name in ("relu", "tanh", "sigmoid") for s in range(3)])
    rows["test/loss"] = np.arange(9) ** 2.0
    rows.loc[8, ["status", "test/loss"]] = ["failed", math.nan]
    table = summarize(replace(STUDY, also=["test/loss"], seeds=3), rows)
    assert table["test/loss_mean"].tolist() == pytest.approx([5 / 3, 50 / 3, 42.5])
    assert table["test/loss_std"].tolist() == pytest.approx(
        [np.std(x, ddof=1) for x in ([0, 1, 4], [9, 16, 25], [36, 49])]
    )


def test_each_data_set_has_its_own_baseline():
    study = replace(
        STUDY,
        vary={"data.name": ["iris", "wine"], "model.lr": [0.1, 0.2]},
        baseline={"data.name": "iris", "model.lr": 0.1},
        seeds=3,
    )
    rng = np.random.default_rng(0)
    values = {v.name: rng.normal(0.5 if v.cell["data.name"] == "iris" else 0.9, 0.01, 3) for v in study.compared}
    rows = [(name, seed, "done", x) for name, xs in values.items() for seed, x in enumerate(xs)]
    table = summarize(study, trials(rows)).set_index("variant")
    assert table["baseline"].to_dict() == {
        "data=iris, lr=0.1": "",
        "data=iris, lr=0.2": "data=iris, lr=0.1",
        "data=wine, lr=0.1": "",
        "data=wine, lr=0.2": "data=wine, lr=0.1",
    }
    for data in ("iris", "wine"):
        own, base = values[f"data={data}, lr=0.2"], values[f"data={data}, lr=0.1"]
        assert table.loc[f"data={data}, lr=0.2", "delta"] == pytest.approx((own - base).mean())
    assert table["p"].notna().sum() == 2

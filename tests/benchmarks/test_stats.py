import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.stats import mean_interval, summarize
from benchmarks.study import Study

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

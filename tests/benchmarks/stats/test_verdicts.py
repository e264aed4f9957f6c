"""What a comparison comes to, and that failures never make it better than it is."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.report.analysis import Analysis
from benchmarks.report.findings import notes
from benchmarks.report.provenance import Provenance
from benchmarks.stats import summarize
from benchmarks.stats.summary import verdict
from benchmarks.study.study import Study

STUDY = Study(
    name="s",
    base={},
    vary={"model.norm": ["none", "batch"]},
    baseline={"model.norm": "none"},
    metric="test/accuracy",
)
BASE = [0.90, 0.92, 0.91, 0.93, 0.89]


def compare(differences, base=BASE, **study):
    """The row of a variant with these differences from the baseline; None in either fails, NaN has not run."""
    own = [math.nan if d is None else d + (b or 0.9) for d, b in zip(differences, base, strict=True)]
    rows = []
    for name, values in (("none", base), ("batch", own)):
        for seed, value in enumerate(values):
            failed = (differences if name == "batch" else base)[seed] is None
            status = "diverged" if failed else "pending" if math.isnan(value) else "done"
            rows.append((name, seed, status, value if status == "done" else math.nan))
    trials = pd.DataFrame(rows, columns=["variant", "seed", "status", "value"])
    study = replace(STUDY, **study)
    table = summarize(study, trials)
    said = " ".join(notes(Analysis(study, trials, Provenance(), table)))
    return table.set_index("variant").loc["batch"], said


CLEAR = [0.050, 0.051, 0.049, 0.050, 0.052]


@pytest.mark.parametrize(
    ("differences", "margin", "mode", "expected"),
    [
        (CLEAR, None, "max", "better"),
        (CLEAR, None, "min", "worse"),
        ([-d for d in CLEAR], None, "max", "worse"),
        ([-d for d in CLEAR], None, "min", "better"),
        ([0.05, -0.04, 0.01, -0.03, 0.02], None, "max", "inconclusive"),
        ([0.05, -0.04, 0.01, -0.03, 0.02], 0.01, "max", "inconclusive"),
        (CLEAR, 0.01, "max", "better"),
        (CLEAR, 0.1, "max", "equivalent"),  # surely there, and surely too small to matter
        ([-d for d in CLEAR], 0.1, "max", "equivalent"),
        ([0.001, -0.001, 0.0, 0.002, -0.002], 0.01, "max", "equivalent"),
        ([0.001, -0.001, 0.0, 0.002, -0.002], None, "max", "inconclusive"),
    ],
)
def test_verdicts(differences, margin, mode, expected):
    row, _ = compare(differences, margin=margin, mode=mode)
    assert row["verdict"] == expected
    assert row["delta"] == pytest.approx(np.mean(differences))


def test_no_difference_at_all():
    row, said = compare([0.0] * 5)
    assert (row["p"], row["p_holm"], row["p_exact"], row["d_z"]) == (1, 1, 1, 0)
    assert math.isnan(row["mde"]), "without a spread nobody knows what could be found"
    assert (row["delta_ci_low"], row["delta"], row["delta_ci_high"]) == (0, 0, 0)
    assert (row["ties"], row["verdict"]) == (5, "inconclusive")
    assert "p is that of the sign-flip test" not in said
    assert compare([0.0] * 5, margin=1e-6)[0]["verdict"] == "equivalent"
    assert compare([0.0] * 4, BASE[:4], margin=1e-6, seeds=4)[0]["verdict"] == "inconclusive", (
        "four equal seeds may be luck"
    )


@pytest.mark.parametrize(("margin", "mode", "expected"), [(None, "max", "better"), (None, "min", "worse")])
def test_a_constant_difference(margin, mode, expected):
    base = [0.5, 0.75, 0.25, 0.5, 1.0, 2.0]  # to which .125 is added without rounding
    values = [("none", base), ("batch", [b + 0.125 for b in base])]
    trials = pd.DataFrame(
        [(name, s, "done", x) for name, xs in values for s, x in enumerate(xs)],
        columns=["variant", "seed", "status", "value"],
    )
    study = replace(STUDY, margin=margin, mode=mode, seeds=len(base))
    table = summarize(study, trials)
    row = table.iloc[1]
    assert (row["p"], row["p_exact"], row["delta_ci_low"], row["delta_ci_high"]) == (2 / 64, 2 / 64, 0.125, 0.125)
    assert math.isnan(row["d_z"])
    assert row["verdict"] == expected
    assert "p is that of the sign-flip test" in " ".join(notes(Analysis(study, trials, Provenance(), table)))
    fewer = summarize(replace(study, seeds=5), trials[trials["seed"] < 5])
    assert fewer["verdict"].iloc[1] == "inconclusive", "five equal seeds may be luck"
    for wide, within in ((0.1, expected), (0.125, expected), (0.2, "equivalent")):
        assert summarize(replace(study, margin=wide), trials)["verdict"].iloc[1] == within


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_constant_difference_but_for_rounding_is_told_too(precision):
    right = np.array([52, 51, 50, 53, 49])
    base, own = ((right + more) / 54 for more in (0, 1))  # one test sample more of 54, at every seed
    difference = own.astype(precision).astype(float) - base.astype(precision).astype(float)
    assert np.ptp(difference) > 0
    row, said = compare(list(difference), list(base.astype(precision).astype(float)))
    assert (row["p"], row["verdict"]) == (2 / 32, "inconclusive")
    assert "p is that of the sign-flip test" in said


def test_a_variant_is_not_better_by_the_seeds_it_survived():
    survived = [None, *CLEAR[1:]]
    row, said = compare(survived)
    assert row["p_holm"] < 0.05, "by what is left it would be"
    assert row["delta"] > 0
    assert row["verdict"] == "inconclusive"
    assert "neither `better` nor `equivalent`" in said
    assert compare([math.nan, *CLEAR[1:]])[0]["verdict"] == "better", "one that has not run is no failure"
    assert compare([None, *(-d for d in CLEAR[1:])])[0]["verdict"] == "worse", (
        "failing as well does not make it less so"
    )


def test_a_variant_is_not_equivalent_by_the_seeds_it_survived():
    assert compare([None, 0.0, 0.001, -0.001, 0.0], margin=0.01)[0]["p_tost"] < 0.05
    assert compare([None, 0.0, 0.001, -0.001, 0.0], margin=0.01)[0]["verdict"] == "inconclusive"


def test_a_baseline_that_failed_makes_nothing_worse():
    base = [None, *BASE[1:]]
    worse, better = compare([-d for d in CLEAR], base)[0], compare(CLEAR, base)[0]
    assert worse["p_holm"] < 0.05
    assert (worse["n_pairs"], worse["verdict"]) == (4, "inconclusive")
    assert better["verdict"] == "better"
    assert compare([0.0, 0.0, 0.001, -0.001, 0.0], base, margin=0.01)[0]["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("differences", "margin", "expected"),
    [(CLEAR, None, "better"), ([-d for d in CLEAR], None, "worse"), ([0.0, 0.0, 1e-3, 0.0, 0.0], 0.01, "equivalent")],
)
def test_failures_of_both_at_a_seed_are_no_difference(differences, margin, expected):
    row, _ = compare([None, *differences[1:]], [None, *BASE[1:]], margin=margin)
    assert (row["n_pairs"], row["verdict"]) == (4, expected)


@pytest.mark.parametrize("status", ["diverged", "failed", "crashed"])
def test_every_kind_of_failure_counts(status):
    rows = [("none", s, "done", b) for s, b in enumerate(BASE)]
    rows += [("batch", s, "done", b + d) for s, (b, d) in enumerate(zip(BASE[:4], CLEAR[:4], strict=True))]
    rows += [("batch", 4, status, math.nan)]
    table = summarize(STUDY, pd.DataFrame(rows, columns=["variant", "seed", "status", "value"]))
    assert table["n_failed"].tolist() == [0, 1]
    assert table["verdict"].tolist() == ["baseline", "inconclusive"]


def test_verdict_without_any_p_is_inconclusive():
    assert verdict(1.0, math.nan, math.nan, 0, 0) == "inconclusive"
    assert verdict(math.nan, math.nan, math.nan, 0, 0) == "inconclusive"


def test_a_variant_of_another_size_bears_on_no_other_comparison():
    study = Study("s", {}, {"norm": ["none", "good", "bad"]}, {"norm": "none"}, "loss", "min", seeds=5)
    rows = [("none", s, "done", 1.0) for s in range(5)]
    rows += [("good", s, "done", 0.5 + d) for s, d in enumerate([0.1, -0.2, 0.05, 0.15, -0.1])]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "status", "value"])
    wild = pd.concat([frame, frame[frame["variant"] == "none"].assign(variant="bad", value=1e7)])
    alone, beside = (summarize(study, trials).set_index("variant").loc["good"] for trials in (frame, wild))
    assert beside["p"] == alone["p"] < 0.01
    assert beside["delta_ci_low"] == alone["delta_ci_low"]

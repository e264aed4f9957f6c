"""Claims in studies: what is refused before a run, and when one holds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.stats.claims import judge_claims
from benchmarks.study.claims import claim_problems, make_claims
from benchmarks.study.file import load_study
from benchmarks.study.study import Study

STUDY = Study(
    name="s",
    base={},
    vary={"depth": [1, 2, 3], "norm": ["none", "batch"]},
    baseline={"depth": 1, "norm": "none"},
    metric="test/accuracy",
    margin=0.01,
    seeds=8,
)
NOISE = np.random.default_rng(0).normal(0, 0.002, (8, 6))
MEANS = {1: 0.9, 2: 0.8, 3: 0.7}


def trials(failed: dict[str, list[int]] | None = None, status: str = "diverged", **columns) -> pd.DataFrame:
    """Accuracy falls with depth and does not depend on the norm; `grad` is 10^-depth."""
    rows = []
    for place, variant in enumerate(STUDY.variants):
        for seed in range(STUDY.seeds):
            lost = seed in (failed or {}).get(variant.name, [])
            value = MEANS[variant.cell["depth"]] + NOISE[seed, place]
            row = {"variant": variant.name, "seed": seed, "status": status if lost else "done", "value": value}
            rows.append(row | {"grad": 10.0 ** -variant.cell["depth"] * (1 + NOISE[seed, place])} | columns)
    return pd.DataFrame(rows)


def judge(claim: dict, frame: pd.DataFrame | None = None) -> pd.Series:
    study = replace(STUDY, claims=[{"claim": "words", **claim}])
    assert claim_problems(study) == []
    return judge_claims(study, trials() if frame is None else frame).iloc[0]


SHALLOW, DEEP, NORM = "depth=1, norm=none", "depth=3, norm=none", "depth=1, norm=batch"


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({"variant": SHALLOW, "is": "better", "against": DEEP}, "holds"),
        ({"variant": DEEP, "is": "better"}, "does not hold"),
        ({"variant": DEEP, "is": "worse"}, "holds"),
        ({"variant": SHALLOW, "is": "worse", "against": DEEP}, "does not hold"),
        ({"variant": NORM, "is": "better"}, "does not hold"),  # they are equivalent
        ({"variant": NORM, "is": "better", "margin": 1e-5}, "cannot tell"),
        ({"variant": NORM, "is": "equivalent"}, "holds"),
        ({"variant": NORM, "is": "equivalent", "margin": 1e-5}, "cannot tell"),
        ({"variant": DEEP, "is": "equivalent"}, "does not hold"),
        ({"variant": NORM, "is": "no worse"}, "holds"),
        ({"variant": NORM, "is": "no worse", "margin": 1e-5}, "cannot tell"),
        ({"variant": DEEP, "is": "no worse"}, "does not hold"),
        ({"variant": SHALLOW, "against": DEEP, "is": "no worse"}, "holds"),
        ({"variant": DEEP, "metric": "grad", "mode": "min", "is": "no worse", "margin": 1e-9}, "holds"),
        ({"variant": SHALLOW, "above": 0.85}, "holds"),
        ({"variant": SHALLOW, "below": 0.85}, "does not hold"),
        ({"variant": SHALLOW, "below": 0.9}, "cannot tell"),
        ({"variant": DEEP, "metric": "grad", "below": 0.002, "scale": "log"}, "holds"),
        ({"variant": DEEP, "metric": "grad", "above": 0.002, "scale": "log"}, "does not hold"),
        ({"falls": "depth"}, "holds"),
        ({"rises": "depth"}, "does not hold"),
        ({"falls": "depth", "in": {"norm": "batch"}, "metric": "grad", "scale": "log"}, "holds"),
        ({"falls": "norm"}, "cannot tell"),
        ({"variant": DEEP, "metric": "grad", "mode": "min", "is": "better"}, "holds"),
        ({"variant": SHALLOW, "metric": "diverged", "below": 0.6}, "holds"),
        ({"variant": SHALLOW, "metric": "diverged", "above": 0.6}, "does not hold"),
        ({"variant": SHALLOW, "metric": "diverged", "below": 0.05}, "cannot tell"),
    ],
)
def test_verdicts(claim, verdict):
    row = judge(claim)
    assert row["verdict"] == verdict
    assert row["ci_low"] <= row["effect"] <= row["ci_high"]
    assert row["n"] == 8


def test_effects_are_those_of_the_trials():
    frame = trials().pivot(index="seed", columns="variant", values="value")
    assert judge({"variant": DEEP, "is": "worse"})["effect"] == pytest.approx((frame[DEEP] - frame[SHALLOW]).mean())
    slopes = [np.polyfit(range(3), row, 1)[0] for row in frame[[SHALLOW, "depth=2, norm=none", DEEP]].to_numpy()]
    assert judge({"falls": "depth"})["effect"] == pytest.approx(np.mean(slopes))
    logs = judge({"variant": DEEP, "metric": "grad", "below": 0.002, "scale": "log"})
    assert logs["effect"] == pytest.approx(1e-3, rel=0.01)


def test_no_worse_is_tested_against_being_worse_by_the_margin():
    frame = trials().pivot_table("value", "seed", "variant")
    p = stats.ttest_1samp(frame[DEEP] - frame[SHALLOW], -0.1).pvalue
    row = judge({"variant": DEEP, "is": "no worse", "margin": 0.1})
    assert row["p"] == pytest.approx(p)
    assert row["about"] == f"{DEEP} no worse than {SHALLOW}"
    study = replace(STUDY, margin=None, claims=[{"claim": "a", "variant": DEEP, "is": "no worse"}])
    assert "the claim 'is: no worse' requires a margin" in claim_problems(study)[0][1]


DEEP_NORM = "depth=3, norm=batch"
FALL, FALL_NORM = {"variant": DEEP, "against": SHALLOW}, {"variant": DEEP_NORM, "against": NORM}
LITTLE = {"variant": DEEP, "against": "depth=2, norm=none"}


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({**FALL, "is": "worse", "gain_over": LITTLE}, "holds"),  # .2 is lost against .1
        ({**FALL, "is": "better", "gain_over": LITTLE}, "does not hold"),
        ({**LITTLE, "is": "better", "gain_over": FALL}, "holds"),
        ({**FALL, "is": "equivalent", "gain_over": LITTLE}, "does not hold"),
        ({**FALL, "is": "equivalent", "gain_over": FALL_NORM}, "holds"),
        ({**FALL, "is": "better", "gain_over": FALL_NORM}, "does not hold"),  # they are equivalent
        ({**FALL, "is": "better", "gain_over": FALL_NORM, "margin": 1e-5}, "cannot tell"),
        ({"variant": DEEP, "is": "worse", "gain_over": {"variant": "depth=2, norm=none"}}, "holds"),
        ({**FALL, "metric": "grad", "mode": "min", "is": "better", "gain_over": LITTLE, "scale": "log"}, "holds"),
    ],
)
def test_verdicts_on_differences_of_differences(claim, verdict):
    assert judge(claim)["verdict"] == verdict


def test_a_difference_of_differences_is_taken_by_seed():
    frame = trials().pivot(index="seed", columns="variant", values="value")
    first, second = (
        [frame[pair["variant"]][k] - frame[pair["against"]][k] for k in range(8)] for pair in (FALL, LITTLE)
    )
    d = [a - b for a, b in zip(first, second, strict=True)]
    row = judge({**FALL, "is": "worse", "gain_over": LITTLE})
    assert row["effect"] == pytest.approx(sum(d) / 8)
    assert row["effect"] == pytest.approx(-0.1, abs=0.01)
    half = stats.t.ppf(0.975, 7) * np.std(d, ddof=1) / np.sqrt(8)
    assert row["ci_low"] == pytest.approx(sum(d) / 8 - half)
    assert row["p"] == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert row["about"] == f"({DEEP} over {SHALLOW}) worse than ({DEEP} over depth=2, norm=none)"


@pytest.mark.parametrize("status", ["diverged", "failed", "crashed"])
@pytest.mark.parametrize("lost", [DEEP, SHALLOW, DEEP_NORM, NORM])
def test_nothing_is_told_of_four_variants_one_of_which_failed(status, lost):
    frame = trials({lost: [3]}, status)
    for relation in ("better", "worse", "equivalent"):
        row = judge({**FALL, "is": relation, "gain_over": FALL_NORM}, frame)
        assert (row["verdict"], row["n"]) == ("cannot tell", 7)
    apart = trials({lost: [3]}, status)
    apart.loc[apart["variant"] == DEEP, "value"] -= 0.3
    assert judge({**FALL, "is": "worse", "gain_over": FALL_NORM}, apart)["verdict"] == "cannot tell"
    assert judge({**FALL, "is": "equivalent", "gain_over": FALL_NORM}, apart)["verdict"] == "cannot tell"


def test_a_trend_with_a_step_back_does_not_hold():
    frame = trials()
    middle = frame["variant"] == "depth=2, norm=none"
    frame.loc[middle, "value"] = 0.95 + frame.loc[middle, "value"] - 0.8
    row = judge({"falls": "depth"}, frame)
    assert row["p"] < 0.05
    assert row["effect"] < 0, "the slope is as claimed"
    assert row["verdict"] == "does not hold"


@pytest.mark.parametrize("status", ["diverged", "failed", "crashed"])
def test_nothing_holds_by_what_failures_leave_out(status):
    lost = trials({DEEP: [0]}, status)
    assert judge({"variant": DEEP, "is": "better"}, lost)["verdict"] == "does not hold"
    assert judge({"variant": DEEP, "is": "worse"}, lost)["verdict"] == "holds"
    assert judge({"variant": SHALLOW, "is": "worse", "against": DEEP}, lost)["verdict"] == "does not hold"
    assert judge({"variant": DEEP, "below": 0.85}, lost)["verdict"] == "cannot tell"
    assert judge({"falls": "depth"}, lost)["verdict"] == "cannot tell"
    alike = trials({NORM: [0]}, status)
    assert judge({"variant": NORM, "is": "equivalent"}, alike)["verdict"] == "cannot tell"


def test_the_share_of_diverged_trials_is_judged_by_the_binomial_test():
    frame = trials({DEEP: list(range(8))})
    row = judge({"variant": DEEP, "metric": "diverged", "above": 0.5}, frame)
    assert (row["effect"], row["n"], row["verdict"]) == (1.0, 8, "holds")
    assert row["p"] == pytest.approx(2 / 2**8)


def test_a_claim_can_be_about_how_long_it_trained():
    frame = trials({DEEP: [0]})
    frame["epochs_run"] = (10 + frame["seed"] - 5 * (frame["variant"] == NORM)).astype("Int64")
    frame["best_epoch"] = frame["epochs_run"].sub(3).mask(frame["status"] != "done")
    fewer = {"variant": NORM, "metric": "epochs_run", "mode": "min"}
    row = judge({**fewer, "is": "better"}, frame)
    assert (row["verdict"], row["effect"], row["n"]) == ("holds", -5, 8)
    row = judge({"variant": DEEP, "metric": "best_epoch", "below": 20}, frame)
    assert (row["verdict"], row["effect"], row["n"]) == ("cannot tell", pytest.approx(11), 7)
    for name in ("epochs_run", "best_epoch"):
        claim = {"claim": "x", "variant": NORM, "metric": name, "is": "better"}
        assert [sentence for _, sentence in claim_problems(replace(STUDY, claims=[claim]))] == [
            f"whether {name!r} should be high or low is unknown; add mode: max, or min."
        ]


def test_how_long_it_trained_stands_in_tables_and_trials(reported):
    assert pd.read_csv(reported / "tuned/table.csv")["epochs_run_mean"].tolist() == [2, 2]
    claim = {"claim": "x", "variant": "relu", "metric": "best_epoch", "above": 0.5}
    study = replace(load_study(str(reported / "tuned/study.yaml")), claims=[claim])
    assert (claim_problems(study), study.further_metrics) == ([], ["test/loss", "val/accuracy"])
    row = judge_claims(study, pd.read_csv(reported / "tuned/trials.csv")).iloc[0]
    assert (row["effect"], row["n"]) == (1, 3)


def test_a_finished_trial_without_a_number_decides_nothing():
    frame = trials()
    some = (frame["variant"] == DEEP) & (frame["seed"] < 2)
    frame.loc[some, "grad"] = 0.0  # of which there is no logarithm
    above = {"variant": DEEP, "metric": "grad", "above": 1e-4}
    assert judge({**above, "scale": "log"}, frame)[["verdict", "n"]].tolist() == ["cannot tell", 6]
    assert judge(above, frame)["n"] == 8
    frame.loc[some, "grad"] = np.nan
    assert judge(above, frame)["verdict"] == "cannot tell"
    assert judge({"falls": "depth", "metric": "grad"}, frame)["verdict"] == "cannot tell"
    assert judge({"variant": DEEP, "metric": "grad", "mode": "max", "is": "worse"}, frame)["verdict"] == "cannot tell"
    assert judge({"variant": SHALLOW, "metric": "grad", "above": 1e-4}, frame)["verdict"] == "holds"


def test_equal_differences_are_no_certainty_in_a_trend_or_beside_a_threshold_either():
    frame = trials()
    frame["value"] = frame["variant"].map({v.name: -v.cell["depth"] / 10 for v in STUDY.variants}) + frame["seed"] / 7
    study = replace(STUDY, seeds=3)
    three = frame[frame["seed"] < 3]
    claims = [{"claim": "a", "falls": "depth"}, {"claim": "b", "variant": DEEP, "is": "worse"}]
    table = judge_claims(replace(study, claims=claims), three)
    assert table["p"].tolist() == [0.25, 0.25]
    flat = three.assign(value=0.7 + three["seed"] * 1e-8)
    claims = [{"claim": "a", "variant": DEEP, "above": 0.6}]
    assert judge_claims(replace(study, claims=claims), flat)["p"].tolist() == [0.25]


def test_the_margin_of_the_study_is_none_of_logarithms():
    close = {"variant": NORM, "is": "better"}
    assert judge(close)["verdict"] == "does not hold"
    assert judge({**close, "scale": "log"})["verdict"] == "cannot tell"
    assert judge({**close, "scale": "log", "margin": 0.01})["verdict"] == "does not hold"
    study = replace(STUDY, claims=[{"claim": "a", "variant": NORM, "is": "equivalent", "scale": "log"}])
    assert "requires a margin; add 'margin' in powers of ten to the claim" in claim_problems(study)[0][1]


def test_variants_that_are_numbers_need_no_quotes():
    study = replace(
        STUDY,
        vary={"depth": [1, 2, None, True]},
        baseline={"depth": 1},
        claims=[
            {"claim": "a", "variant": 2, "is": "better"},
            {"claim": "b", "variant": None, "is": "better", "against": 2},
            {"claim": "c", "variant": True, "above": 0.1},
            {"claim": "d", "rises": "depth"},
        ],
    )
    assert claim_problems(study) == []
    variants = [claim.variants for claim in make_claims(study)]
    assert variants == [["2", "1"], ["none", "2"], ["true"], ["1", "2", "none", "true"]]


def test_a_trend_goes_through_variants_that_there_are():
    def said(claim, **changes):
        study = replace(STUDY, claims=[{"claim": "words", **claim}], **changes)
        return [sentence for _, sentence in claim_problems(study)]

    assert said({"falls": "depth"}, one_at_a_time=True) == []
    (sentence,) = said({"falls": "depth", "in": {"norm": "batch"}}, one_at_a_time=True)
    assert "the study has no variant 'depth=2, norm=batch'" in sentence
    assert "'depth'; remove it from 'in'" in said({"falls": "depth", "in": {"depth": 2}})[0]
    assert "unknown value of depth '1.0'" in said({"falls": "norm", "in": {"depth": 1.0}})[0]
    assert "unknown value of depth 'true'" in said({"falls": "norm", "in": {"depth": True}})[0]
    one = {"vary": {"depth": [1], "norm": ["none", "batch"]}}
    assert said({"falls": "depth"}, **one) == ["a trend needs at least two values, but the axis 'depth' has one."]


def test_trials_that_crashed_are_in_no_share_of_diverged_ones():
    share = {"variant": SHALLOW, "metric": "diverged", "below": 0.6}
    assert judge(share)["verdict"] == "holds"
    assert judge(share, trials({SHALLOW: [0]}, "crashed"))["verdict"] == "cannot tell"


def test_claims_are_corrected_for_their_number():
    one = {"variant": NORM, "is": "better", "margin": 1e-5, "claim": "a"}
    study = replace(STUDY, claims=[one, {**one, "claim": "b"}, {"variant": DEEP, "is": "worse", "claim": "c"}])
    table = judge_claims(study, trials())
    assert table["p_holm"].iloc[2] == pytest.approx(3 * table["p"].iloc[2])
    assert table["p_holm"].iloc[0] == pytest.approx(min(1, 2 * table["p"].iloc[0]))

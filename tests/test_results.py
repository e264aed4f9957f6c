"""What is committed in results/ is what its records say."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from benchmarks.records.store import Store
from benchmarks.report import tables
from benchmarks.report.analysis import analyze
from benchmarks.report.claims import claims_page
from benchmarks.report.index import index
from benchmarks.study.file import list_studies, load_study

RESULTS = Path(__file__).parents[1] / "results"
STUDIES = sorted(path.parent for path in RESULTS.glob("*/study.yaml"))
NEEDS_HARDWARE = {"strategies"}  # some of whose variants ask for GPUs
TEXT = dict.fromkeys(("variant", "status", "reason", "baseline", "verdict"), str)


@pytest.fixture(params=STUDIES, ids=lambda folder: folder.name)
def folder(request):
    return request.param


def test_every_shipped_study_has_results():
    assert {folder.name for folder in STUDIES} == set(list_studies())


def test_committed_tables_are_what_bench_report_makes_of_the_records(folder):
    made = tables(analyze(load_study(str(folder / "study.yaml")), Store(folder)))
    assert {name: (folder / name).read_text(encoding="utf-8") for name in made} == made


def test_the_shipped_study_is_the_one_that_was_run(folder):
    shipped, ran = load_study(folder.name), load_study(str(folder / "study.yaml"))
    assert shipped.to_file() == ran.to_file()


def test_every_trial_is_there(folder):
    study, trials = load_study(folder.name), pd.read_csv(folder / "trials.csv", converters=TEXT)
    assert len(trials) == len(study.variants) * study.seeds
    # What the machine lacked has no numbers; all that it had must have some.
    assert set(trials["status"]) <= {"done", "diverged", "skipped"}
    skipped = trials[trials["status"] == "skipped"]
    assert skipped["reason"].ne("").all()
    assert skipped["value"].isna().all()
    assert not set(skipped["variant"]) & set(trials.loc[trials["status"] == "done", "variant"])
    assert len(skipped) == 0 or folder.name in NEEDS_HARDWARE


def test_the_committed_pages_over_all_studies_are_made_of_their_records():
    analyses = {folder.name: analyze(load_study(str(folder / "study.yaml")), Store(folder)) for folder in STUDIES}
    reports = [
        (name, found.study, len(found.trials), json.loads(tables(found)["summary.json"]))
        for name, found in analyses.items()
    ]
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == index(RESULTS, reports)
    claims = [(name, found.claims) for name, found in analyses.items() if found.claims is not None]
    assert (RESULTS / "claims.md").read_text(encoding="utf-8") == claims_page(claims)
    assert {"holds", "does not hold", "cannot tell"} == {verdict for _, table in claims for verdict in table["verdict"]}


def independently(study, values: dict[str, dict[int, float]], failed: dict[str, set[int]], names: dict[str, str]):
    """The columns of a table by other means: value by value, with other functions.

    `values` and `failed` are by variant and seed, `names` says whose trials stand for a compared variant.
    """
    rows = {}
    for variant in study.compared:
        own, row = values[names[variant.name]], {}
        if not own:  # skipped
            rows[variant.name] = {"n": 0, "verdict": "inconclusive"}
            continue
        x = np.array(list(own.values()))
        row |= {"n": len(x), "mean": math.fsum(x) / len(x), "std": float(pd.Series(x).std())}
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of one value there is no interval
            row["ci_low"], row["ci_high"] = DescrStatsW(x).tconfint_mean(0.05)
        base = study.baseline_of(variant)
        if base != variant.name and values[names[base]]:
            theirs = values[names[base]]
            seeds = sorted(own.keys() & theirs.keys())
            a, b = np.array([own[s] for s in seeds]), np.array([theirs[s] for s in seeds])
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
                test = stats.ttest_rel(a, b)
                row["p_tost"] = DescrStatsW(a - b).ttost_mean(-study.margin, study.margin)[0]
            interval = test.confidence_interval()
            row |= {"n_pairs": len(seeds), "delta": a.mean() - b.mean(), "p": test.pvalue}
            row |= {"delta_ci_low": interval.low, "delta_ci_high": interval.high}
            row["wins"] = sum(x > y if study.mode == "max" else x < y for x, y in zip(a, b, strict=True))
            if (a == b).all():  # a schedule that never acts: t is 0/0, and the table says what stands for it
                row |= {"p": 1.0, "p_tost": 0.5 ** len(seeds), "delta_ci_low": 0.0, "delta_ci_high": 0.0}
            own_failed, base_failed = failed[names[variant.name]], failed[names[base]]
            row["lost"] = bool(own_failed & theirs.keys())
            row["won"] = bool(base_failed & own.keys())
        rows[variant.name] = row
    for row in rows.values():
        if math.isnan(row.get("p", 0.0)):  # fewer than two pairs
            row |= {"p_holm": math.nan, "verdict": "inconclusive"}
    compared = [name for name, row in rows.items() if "p" in row and "verdict" not in row]
    for name, p in zip(compared, multipletests([rows[name]["p"] for name in compared], method="holm")[1], strict=True):
        row = rows[name]
        better = (row["delta"] > 0) == (study.mode == "max")
        row["p_holm"] = p
        if row["p_tost"] < 0.05 and not row["lost"] and not row["won"]:
            row["verdict"] = "equivalent"
        elif p < 0.05 and not row["lost" if better else "won"]:
            row["verdict"] = "better" if better else "worse"
        else:
            row["verdict"] = "inconclusive"
    return rows


@pytest.mark.parametrize("name", ["table.csv", "table_tuned.csv"])
def test_committed_tables_agree_with_another_computation_from_the_trials(folder, name):
    if not (folder / name).is_file():
        pytest.skip("the study tunes nothing")
    study = load_study(folder.name)
    table = pd.read_csv(folder / name, converters=TEXT)
    trials = pd.read_csv(folder / "trials.csv", converters=TEXT)
    assert list(table["variant"]) == [variant.name for variant in study.compared]
    values: dict[str, dict[int, float]] = {variant.name: {} for variant in study.variants}
    failed: dict[str, set[int]] = {variant.name: set() for variant in study.variants}
    scores: dict[str, list[float]] = {variant.name: [] for variant in study.variants}
    for trial in trials.to_dict("records"):
        if trial["status"] == "done":
            values[trial["variant"]][trial["seed"]] = trial["value"]
            scores[trial["variant"]].append(trial[study.tuning_metric] if study.tune else 0.0)
        elif trial["status"] != "skipped":
            failed[trial["variant"]].add(trial["seed"])
    names = {variant.name: variant.name for variant in study.compared}
    if name == "table_tuned.csv":
        for variant in study.compared:
            sign = 1 if study.mode == "max" else -1
            best = max(
                (v for v in study.tuned(variant) if scores[v.name]),
                key=lambda v: (-len(failed[v.name]), sign * math.fsum(scores[v.name]) / len(scores[v.name])),
            )
            names[variant.name] = best.name
    rows = independently(study, values, failed, names)
    for row in table.to_dict("records"):
        expected = rows[row["variant"]]
        for column in expected.keys() - {"lost", "won", "verdict"}:
            assert row[column] == pytest.approx(expected[column], rel=1e-6, abs=1e-12, nan_ok=True), (
                row["variant"],
                column,
            )
        assert row["verdict"] == expected.get("verdict", "baseline")
        assert row["n_failed"] == len(failed[names[row["variant"]]])
        if not row["n"] + row["n_diverged"]:
            continue
        low, high = proportion_confint(row["n_diverged"], row["n"] + row["n_diverged"], method="wilson")
        assert (row["diverged_ci_low"], row["diverged_ci_high"]) == pytest.approx((low, high), abs=1e-12)

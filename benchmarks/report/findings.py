"""What a study found, and what it cannot show, in words."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..stats.paired import ALPHA, detectable_effect, seeds_for_equivalence, seeds_to_detect
from ..study import Study, text
from .analysis import Analysis
from .words import listed, many, number, p_value, rounded, share

MANY = 10**6  # seeds that nobody runs


def finding(study: Study, table: pd.DataFrame) -> str:
    """The verdicts of a table in one sentence or two, the largest differences first."""
    others = table[table["verdict"] != "baseline"]
    sets = study.data_axis
    base = f"{study.baseline_name} on the same data" if sets else study.baseline_name
    opening = f"{many(len(others), 'variant')} against {base}, {many(study.seeds, 'seed')}"
    said = []
    for verdict, words in (
        ("better", "better"),
        ("worse", "worse"),
        ("equivalent", f"equivalent within {study.margin:g}" if study.margin else ""),
        ("inconclusive", "no verdict on"),
    ):
        rows = others[others["verdict"] == verdict]
        rows = rows.reindex(rows["delta"].abs().sort_values(ascending=False, kind="stable", na_position="last").index)
        names = list(rows["variant"])
        if verdict in ("better", "worse"):
            deltas = (number(delta, signed=True) for delta in rows["delta"])
            names = [f"{name} ({delta})" for name, delta in zip(names, deltas, strict=True)]
        if names:
            said.append(f"{words} {listed(names)}")
    return f"{opening}: {'; '.join(said)}." if said else f"{opening}."


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know to trust a study's table, and what it cannot show."""
    study, table = analysis.study, analysis.table
    return [
        sentence for part in (_method(study, table), _limits(study, table), _trouble(analysis)) for sentence in part
    ]


def _method(study: Study, table: pd.DataFrame) -> Iterator[str]:
    tests = int(table["p"].notna().sum())
    against = f"the margin of {study.margin:g}" if study.margin else "a margin"
    yield (
        "Intervals are 95 % Student t and speak for training randomness on this one test set. Δ is the mean "
        f"difference from the baseline{' on the same data set' if study.data_axis else ''}, paired by seed."
    )
    if tests:
        yield (
            f"Verdicts: `equivalent` if two one-sided t tests against {against} reject at .05; else `better` or "
            f"`worse` if the paired t test does so after Holm's correction for {many(tests, 'comparison')}; else "
            "`inconclusive`."
        )
    if not study.margin:
        yield "The study states no margin, so nothing can be called equivalent."


def _limits(study: Study, table: pd.DataFrame) -> Iterator[str]:
    """What so many seeds cannot show, and how many could."""
    if study.seeds == 1:
        yield (
            "One seed gives neither an interval nor a test: nothing here tells a difference from luck. Run --seeds 5 "
            "or more."
        )
        return
    rows = table[table["p"].notna()]
    if not len(rows):
        return
    tests = len(rows)
    alpha, n = ALPHA / tests, int(rows["n_pairs"].min())
    if n < 2 or not (rows["verdict"] == "inconclusive").any():
        return
    unclear = rows[rows["verdict"] == "inconclusive"]
    amount = number(unclear["mde"].min())
    if len(unclear) > 1:
        amount += f" to {number(unclear['mde'].max())}"
    sd = float((unclear["delta"] / unclear["d_z"]).abs().median())
    least = (
        f"With {many(n, 'seed')} and {many(tests, 'comparison')} a difference is found four times of five only if it "
        f"is {rounded(detectable_effect(n, alpha))} times the sd of the paired differences, which is {amount} for the "
        "inconclusive."
    )
    if study.margin and sd > 0:
        effect = study.margin / sd
        yield (
            f"{least} At their median sd of {number(sd)}, to find a difference as large as the margin would take "
            f"{_seeds(seeds_to_detect(effect, alpha))}, and to show equivalence, if there is no difference at all, "
            f"{_seeds(seeds_for_equivalence(effect))}."
        )
    else:
        yield f"{least} A difference as large as that sd would take {_seeds(seeds_to_detect(1.0, alpha))}."
    if 2 / 2**n > alpha:
        yield (
            f"The exact sign-flip p cannot fall below {p_value(2 / 2**n)} with {many(n, 'pair')}; to pass .05 after "
            f"Holm's correction takes {math.ceil(math.log2(2 / alpha))}."
        )


def _trouble(analysis: Analysis) -> Iterator[str]:
    """What is odd about single variants."""
    table, trials = analysis.table, analysis.trials
    # Differences of metrics in single precision that would be equal have an sd of a few 1e-8 in place of 0.
    equal = table[(table["p"] == 0) & table["d_z"].isna() | (table["d_z"].abs() > 1000)]
    if len(equal):
        yield (
            f"All paired differences of {listed(list(equal['variant']))} are equal, or so but for rounding: an sd of 0 "
            "the t test takes for certainty; p_exact does not."
        )
    tested = table[table["p"].notna() & (table["n_pairs"].fillna(0) >= 6)]
    at_odds = tested[(tested["p"] < ALPHA) != (tested["p_exact"] < ALPHA)]
    if len(at_odds):
        named = [f"{r['variant']} ({p_value(r['p'])} and {p_value(r['p_exact'])})" for r in at_odds.to_dict("records")]
        yield f"The t test and the exact sign-flip test, uncorrected, fall on two sides of .05 for {listed(named)}."
    for row in table[table["n_diverged"] > 0].to_dict("records"):
        ended = row["n"] + row["n_diverged"]
        yield (
            f"{row['variant']}: {row['n_diverged']} of {ended} trials diverged ({share(row['diverged_rate'])}; 95 % "
            f"Wilson interval {share(row['diverged_ci_low'])} to {share(row['diverged_ci_high'])})."
        )
    compared = trials[trials["variant"].isin(table["variant"])]
    if (table["n_failed"] > 0).any():
        yield (
            "Trials that diverged, failed or crashed are in no mean. A variant with such at seeds where the baseline "
            "has none is neither better nor equivalent, one without where the baseline has some not worse."
        )
    if waiting := int(compared["status"].isin(["pending", "skipped"]).sum()):
        yield f"{waiting} of {len(compared)} trials have not run."


def tuning_notes(analysis: Analysis) -> list[str]:
    """How the settings of the tuned table were chosen."""
    study = analysis.study
    grids = "; ".join(f"`{name}` in {', '.join(map(text, values))}" for name, values in study.tune.items())
    settings = len(study.tuned(study.compared[0]))
    lines = [
        f"Each variant at its own best setting: {grids}. Chosen by the mean of `{study.tuning_metric}` over the same "
        f"{many(study.seeds, 'seed')}, {settings} settings each, fewest failures first; the test split had no say. "
        "Holm's correction is over this table."
    ]
    at_edge = [choice.variant.name for choice in analysis.choices if choice.edges]
    if at_edge:
        lines.append(f"At an end of the grid, so that a better setting may lie beyond: {listed(at_edge, 12)}.")
    return lines


def effect_notes(analysis: Analysis) -> list[str]:
    """The main effects and the interaction of a two-axis grid in words."""
    assert analysis.effects is not None
    rows = analysis.effects.to_dict("records")
    if not rows or pd.isna(rows[0]["F"]):
        return [f"Main effects take two seeds at which all cells are done; here it is {rows[0]['n']}."]
    lines = [
        f"Repeated measures over {many(int(rows[0]['n']), 'complete seed')}, Greenhouse-Geisser corrected: "
        + "; ".join(
            f"{row['effect']}: F({row['df1'] * row['epsilon']:.1f}, {row['df2'] * row['epsilon']:.1f}) = "
            f"{row['F']:.3g}, p {_equals(row['p'])}, partial η² = {row['partial_eta2']:.2f}"
            for row in rows
        )
        + "."
    ]
    if rows[2]["p"] < ALPHA:
        lines.append(
            "The axes interact: what one does depends on the other, so read the cells rather than the averages."
        )
    return lines


def across_notes(analysis: Analysis) -> list[str]:
    """What the ranks over data sets say."""
    across = analysis.across
    assert across is not None
    ranks, lines = across.ranks, []
    if np.isfinite(ranks.p):
        lines.append(
            f"Friedman's test over {many(across.sets, 'data set')}: χ²({len(across.methods) - 1}) = {ranks.chi2:.2f}, "
            f"p {_equals(ranks.p)}. By Nemenyi's test, average ranks {ranks.critical_difference:.2f} or more apart "
            "differ at .05."
        )
        if across.sets < 10:
            lines.append("Below some ten data sets both tests see little, and their p values are rough.")
    lines.append(
        f"IQM is the mean of the middle half of all {many(across.seeds, 'seed')} × {many(across.sets, 'data set')}, "
        "with a 95 % percentile interval of the stratified bootstrap, which is too narrow with few seeds."
    )
    return lines


def _equals(p: float) -> str:
    words = p_value(p)
    return words if words.startswith("<") else f"= {words}"


def _seeds(n: int) -> str:
    return f"more than {MANY:,} seeds" if n >= MANY else f"about {many(n, 'seed')}"

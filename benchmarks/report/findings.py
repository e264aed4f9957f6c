"""What a study found, and what it cannot show, in words."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..stats.paired import ALPHA, detectable_effect, seeds_for_equivalence, seeds_to_detect
from ..study.study import Study, Variant, text
from .analysis import Analysis
from .words import listed, many, number, p_value, quoted, rounded, share

MANY = 10**6  # seeds that nobody runs


def finding(study: Study, table: pd.DataFrame) -> str:
    """The verdicts of a table in a few short sentences, the largest differences first."""
    others = table[table["verdict"] != "baseline"]
    short = {variant.name: _short(study, variant) for variant in study.compared}
    base = short[study.baseline_name]
    if study.block_axes:
        axes = [name for name in study.vary if name not in study.block_axes]
        base = f"{' / '.join(text(study.baseline[name]) for name in axes) or 'itself'} {_within(study, 'data')}"
    seeds = many(int(table["n"].max()), "seed")
    if not len(others):
        return f"{many(len(table), 'variant')}, {seeds}, with nothing to compare."
    said = [f"{many(len(others), 'variant')} against {base}, {seeds}."]
    for verdict, words in (
        ("better", "Better"),
        ("worse", "Worse"),
        ("equivalent", f"Equivalent within {study.margin:g}" if study.margin else ""),
        ("inconclusive", "No verdict"),
        ("not run", "Not run"),
    ):
        rows = others[others["verdict"].mask((others["n"] == 0) & (others["n_failed"] == 0), "not run") == verdict]
        rows = rows.reindex(rows["delta"].abs().sort_values(ascending=False, kind="stable", na_position="last").index)
        names = [short[name] for name in rows["variant"]]
        if verdict in ("better", "worse"):
            deltas = (number(delta, signed=True) for delta in rows["delta"])
            names = [f"{name} ({delta})" for name, delta in zip(names, deltas, strict=True)]
        if names:
            said.append(f"{words}: {listed(names, 4)}.")
    return " ".join(said)


def _within(study: Study, data: str = "data set") -> str:
    """Where a variant's own baseline is."""
    axis = study.data_axis
    words = [f"on the same {data}"] if axis else []
    return " ".join([*words, *(f"with the same {name}" for name in study.block_axes if not axis or name != axis.name)])


def _short(study: Study, variant: Variant) -> str:
    """A variant's name; in a grid its values alone."""
    if len(study.vary) == 1 or study.one_at_a_time:
        return quoted(variant.name)
    return " / ".join(text(variant.cell[name]) for name in study.vary)


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know to trust a study's table, and what it cannot show."""
    study, table, trials = analysis.study, analysis.table, analysis.trials
    lines = [*_method(study, table), *_limits(study, table), *_trouble(table)]
    compared = trials[trials["variant"].isin(table["variant"])]
    lines += _skipped(compared)
    if waiting := int((compared["status"] == "pending").sum()):
        lines.append(f"{waiting} of {len(compared)} trials have not run.")
    return lines


def _skipped(trials: pd.DataFrame) -> Iterator[str]:
    """Which variants a machine lacked something for, by what it was."""
    rows = trials[trials["status"] == "skipped"]
    if rows.empty:  # trials made by hand may have no reasons
        return
    for reason, own in rows.groupby("reason", sort=False):
        names = listed([quoted(name) for name in own["variant"].unique()], 12)
        yield f"{many(len(own), 'trial')} of {names} {'was' if len(own) == 1 else 'were'} skipped: {reason}."


def _method(study: Study, table: pd.DataFrame) -> Iterator[str]:
    tests = int(table["p"].notna().sum())
    against = f"the margin of {study.margin:g}" if study.margin else "a margin"
    of = "randomness from seed to seed"
    if study.task == "fit" and study.metric.startswith("test/"):
        of = f"training randomness on {'these test sets' if study.data_axis else 'this one test set'}"
    yield (
        f"Intervals are 95 % Student t and speak for {of}. Δ is the mean difference from the baseline"
        f"{f' {_within(study)}' if study.block_axes else ''}, paired by seed."
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
    others = table[table["verdict"] != "baseline"]
    idle = [name for name in dict.fromkeys(others["baseline"]) if not table.loc[table["variant"] == name, "n"].any()]
    if idle:
        yield f"Without a finished trial of {listed(idle)} nothing can be compared with it."
    rows = table[table["p"].notna()]
    if not len(rows):
        if study.seeds == 1 or (others["n_pairs"] == 1).any():
            yield (
                "One seed gives neither an interval nor a test: nothing here tells a difference from luck. Run "
                "--seeds 5 or more."
            )
        return
    unclear = rows[(rows["verdict"] == "inconclusive") & (rows["delta_std"] > 0)]
    if not len(unclear):
        return
    alpha, n = ALPHA / len(rows), int(unclear["n_pairs"].median())
    amount, sd = number(unclear["mde"].min()), float(unclear["delta_std"].median())
    if len(unclear) > 1:
        amount += f" to {number(unclear['mde'].max())}"
    fewest, most = int(unclear["n_pairs"].min()), int(unclear["n_pairs"].max())
    seeds = many(n, "seed") if fewest == most else f"{fewest} to {most} seeds"
    times = rounded(detectable_effect(most, alpha))
    times = times if fewest == most else f"{times} to {rounded(detectable_effect(fewest, alpha))}"
    least = (
        f"With {seeds} and {many(len(rows), 'comparison')} a difference is found four times of five only if it is "
        f"{times} times the sd of the paired differences, which is {amount} for the inconclusive."
    )
    if study.margin:
        effect = study.margin / sd
        yield (
            f"{least} At their median sd of {number(sd)}, to find a difference as large as the margin would take "
            f"{_seeds(seeds_to_detect(effect, alpha))}, and to show equivalence, if there is no difference at all, "
            f"{_seeds(seeds_for_equivalence(effect))}."
        )
    else:
        yield f"{least} A difference as large as that sd would take {_seeds(seeds_to_detect(1.0, alpha))}."
    if 2 / 2**fewest > alpha:
        yield (
            f"The exact sign-flip p cannot fall below {p_value(2 / 2**fewest)} with {many(fewest, 'pair')}; to pass "
            f".05 after Holm's correction takes {math.ceil(math.log2(2 / alpha))}."
        )


def _trouble(table: pd.DataFrame) -> Iterator[str]:
    """What is odd about single variants."""
    equal = table[table["p"].notna() & table["d_z"].isna()]
    if len(equal):
        names = listed([quoted(name) for name in equal["variant"]])
        yield (
            f"All paired differences of {names} are equal: their sd is 0, of which the t test can say nothing, so p is "
            "the sign-flip test's."
        )
    tested = table[table["p"].notna() & (table["n_pairs"].fillna(0) >= 6)]
    at_odds = tested[(tested["p"] < ALPHA) != (tested["p_exact"] < ALPHA)]
    if len(at_odds):
        named = [
            f"{quoted(r['variant'])} ({p_value(r['p'])} and {p_value(r['p_exact'])})"
            for r in at_odds.to_dict("records")
        ]
        yield f"The t test and the exact sign-flip test, uncorrected, fall on two sides of .05 for {listed(named)}."
    for row in table[table["n_diverged"] > 0].to_dict("records"):
        ended = row["n"] + row["n_diverged"]
        yield (
            f"{row['variant']}: {row['n_diverged']} of {ended} trials diverged ({share(row['diverged_rate'])}; 95 % "
            f"Wilson interval {share(row['diverged_ci_low'])} to {share(row['diverged_ci_high'])})."
        )
    if (table["n_failed"] > 0).any():
        yield (
            "Trials that diverged, failed or crashed are in no mean. A variant with such at seeds where the baseline "
            "has none is neither better nor equivalent, one without where the baseline has some neither worse nor "
            "equivalent."
        )


def tuning_notes(analysis: Analysis) -> list[str]:
    """How the settings of the tuned table were chosen, and what it cannot show."""
    assert analysis.tuned is not None
    study = analysis.study
    grids = "; ".join(f"`{name}` in {', '.join(map(text, values))}" for name, values in study.tune.items())
    settings = len(study.tuned(study.compared[0]))
    lines = [
        f"Each variant at its own best setting: {grids}. Chosen by the mean of `{study.tuning_metric}` over the same "
        f"{many(study.seeds, 'seed')}, {many(settings, 'setting')} each, most trials done first; the test split had no "
        "say. Holm's correction is over this table."
    ]
    at_edge = [quoted(choice.variant.name) for choice in analysis.choices if choice.edges]
    if at_edge:
        lines.append(f"At an end of the grid, so that a better setting may lie beyond: {listed(at_edge, 12)}.")
    return [*lines, *_limits(study, analysis.tuned), *_trouble(analysis.tuned)]


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
    if across.lost:
        lines.append("Ranks and IQM are over the seeds that every method finished; what failed says nothing here.")
    lines.append(
        f"IQM is the mean of the middle half of all {many(across.seeds, 'seed')} × {many(across.sets, 'data set')}, "
        "with a 95 % percentile interval of the stratified bootstrap, which is too narrow with few seeds."
    )
    return lines


def _equals(p: float) -> str:
    words = p_value(p) or "unknown: no spread"
    return words if words.startswith("<") else f"= {words}"


def _seeds(n: int) -> str:
    return f"more than {MANY:,} seeds" if n >= MANY else f"about {many(n, 'seed')}"

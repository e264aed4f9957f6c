"""The finding of a study and its limitations, in sentences."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..stats.paired import ALPHA, detectable_effect, seeds_for_equivalence, seeds_to_detect
from ..study.study import Study, Variant, text
from ..tasks import find_task
from .analysis import Analysis
from .words import listed, many, number, p_value, quoted, rounded, share

MANY = 10**6  # numbers of seeds from here on are shown as "more than"


def finding(study: Study, table: pd.DataFrame) -> str:
    """The verdicts of a table in a few short sentences, largest differences first."""
    others = table[table["verdict"] != "baseline"]
    short = {variant.name: _short(study, variant) for variant in study.compared}
    base = short[study.baseline_name]
    if study.block_axes:
        axes = [name for name in study.vary if name not in study.block_axes]
        base = f"{' / '.join(text(study.baseline[name]) for name in axes) or 'itself'} {_within(study, 'data')}"
    seeds = many(int(table["n"].max()), "seed")
    if not len(others):
        return f"{many(len(table), 'variant')}, {seeds}; there is nothing to compare with the baseline."
    said = [f"{many(len(others), 'variant')} compared with {base}, {seeds}."]
    for verdict, words in (
        ("better", "Better"),
        ("worse", "Worse"),
        ("equivalent", f"Equivalent within {study.margin:g}" if study.margin else ""),
        ("inconclusive", "Inconclusive"),
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
    """Which baseline a variant is compared with, if there are several."""
    axis = study.data_axis
    words = [f"on the same {data}"] if axis else []
    return " ".join([*words, *(f"with the same {name}" for name in study.block_axes if not axis or name != axis.name)])


def _short(study: Study, variant: Variant) -> str:
    """A variant's name; in a grid only its values."""
    if len(study.vary) == 1 or study.one_at_a_time:
        return quoted(variant.name)
    return " / ".join(text(variant.cell[name]) for name in study.vary)


def notes(analysis: Analysis) -> list[str]:
    """Notes on a study's table: methods, limitations and problems."""
    study, table, trials = analysis.study, analysis.table, analysis.trials
    lines = [*_method(study, table), *_limits(study, table), *_trouble(table)]
    compared = trials[trials["variant"].isin(table["variant"])]
    lines += _skipped(compared)
    if waiting := int((compared["status"] == "pending").sum()):
        lines.append(f"{waiting} of {len(compared)} trials have not run.")
    return lines


def _skipped(trials: pd.DataFrame) -> Iterator[str]:
    """Skipped trials, grouped by what the machine lacked."""
    rows = trials[trials["status"] == "skipped"]
    if rows.empty:  # a table without skipped trials may have no column of reasons
        return
    for reason, own in rows.groupby("reason", sort=False):
        names = listed([quoted(name) for name in own["variant"].unique()], 12)
        yield f"{many(len(own), 'trial')} of {names} {'was' if len(own) == 1 else 'were'} skipped: {reason}."


def _method(study: Study, table: pd.DataFrame) -> Iterator[str]:
    tests = int(table["p"].notna().sum())
    of = "variation between seeds"
    if find_task(study.task).trains and study.metric.startswith("test/"):
        of = f"training randomness on {'fixed test sets' if study.data_axis else 'one fixed test set'}"
    yield (
        f"Intervals are 95 % Student t intervals and reflect {of}. Δ is the mean difference from the baseline"
        f"{f' {_within(study)}' if study.block_axes else ''}, paired by seed."
    )
    if tests:
        margin = f"±{study.margin:g}" if study.margin else ""
        tost = f"`equivalent` if two one-sided t tests (TOST) reject differences beyond {margin} at .05; else "
        yield (
            f"Verdicts: {tost if margin else ''}`better` or `worse` if the paired t test "
            f"is significant at .05 after Holm's correction for {many(tests, 'comparison')}; else `inconclusive`."
        )
    if not study.margin:
        yield "The study defines no margin, so equivalence is not tested."


def _limits(study: Study, table: pd.DataFrame) -> Iterator[str]:
    """What this number of seeds cannot show, and how many seeds would be needed."""
    others = table[table["verdict"] != "baseline"]
    idle = [name for name in dict.fromkeys(others["baseline"]) if not table.loc[table["variant"] == name, "n"].any()]
    if idle:
        yield f"No trial of {listed(idle)} has finished, so there is no baseline to compare with."
    rows = table[table["p"].notna()]
    if not len(rows):
        if study.seeds == 1 or (others["n_pairs"] == 1).any():
            yield (
                "One seed allows neither an interval nor a test, so differences cannot be distinguished from noise. "
                "Run with --seeds 5 or more."
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
        f"With {seeds} and {many(len(rows), 'comparison')}, 80 % power requires a difference of {times} sd of the "
        f"paired differences: {amount} for the inconclusive variants."
    )
    if study.margin:
        effect = study.margin / sd
        yield (
            f"{least} At their median sd of {number(sd)}, 80 % power requires {_seeds(seeds_to_detect(effect, alpha))} "
            f"to detect a difference as large as the margin, and {_seeds(seeds_for_equivalence(effect))} to show "
            "equivalence if the true difference is zero."
        )
    else:
        yield f"{least} To detect a difference of one sd requires {_seeds(seeds_to_detect(1.0, alpha))}."
    if 2 / 2**fewest > alpha:
        yield (
            f"The smallest possible exact sign-flip p with {many(fewest, 'pair')} is {p_value(2 / 2**fewest)}; "
            f"significance at .05 after Holm's correction requires {math.ceil(math.log2(2 / alpha))} pairs."
        )


def _trouble(table: pd.DataFrame) -> Iterator[str]:
    """Problems of single variants."""
    equal = table[table["p"].notna() & table["d_z"].isna()]
    if len(equal):
        names = listed([quoted(name) for name in equal["variant"]])
        yield (
            f"All paired differences of {names} are equal. The t test is undefined for an sd of 0, so p is that of the "
            "sign-flip test."
        )
    tested = table[table["p"].notna() & (table["n_pairs"].fillna(0) >= 6)]
    at_odds = tested[(tested["p"] < ALPHA) != (tested["p_exact"] < ALPHA)]
    if len(at_odds):
        named = [
            f"{quoted(r['variant'])} ({p_value(r['p'])} and {p_value(r['p_exact'])})"
            for r in at_odds.to_dict("records")
        ]
        yield f"The t test and the exact sign-flip test disagree at .05 (uncorrected p) for {listed(named)}."
    for row in table[table["n_diverged"] > 0].to_dict("records"):
        ended = row["n"] + row["n_diverged"]
        yield (
            f"{row['variant']}: {row['n_diverged']} of {ended} trials diverged ({share(row['diverged_rate'])}; 95 % "
            f"Wilson interval {share(row['diverged_ci_low'])} to {share(row['diverged_ci_high'])})."
        )
    if (table["n_failed"] > 0).any():
        yield (
            "Means exclude trials that diverged, failed or crashed. Missing trials never favour a variant: one that "
            "failed at a seed where the baseline finished is neither `better` nor `equivalent`, and one that finished "
            "where the baseline failed is neither `worse` nor `equivalent`."
        )


def tuning_notes(analysis: Analysis) -> list[str]:
    """Notes on the tuned table: how the settings were chosen, limitations and problems."""
    assert analysis.tuned is not None
    study = analysis.study
    grids = "; ".join(f"`{name}` in {', '.join(map(text, values))}" for name, values in study.tune.items())
    settings = len(study.tuned(study.compared[0]))
    lines = [
        f"Each variant at its own best of {many(settings, 'setting')}: {grids}. Settings are ranked by the mean of "
        f"`{study.tuning_metric}` over the same {many(study.seeds, 'seed')}; settings with more completed trials rank "
        "first; test data were not used. Holm's correction covers this table."
    ]
    at_edge = [quoted(choice.variant.name) for choice in analysis.choices if choice.edges]
    if at_edge:
        lines.append(
            f"The best setting is at the edge of the grid, so a better one may lie outside it: {listed(at_edge, 12)}."
        )
    return [*lines, *_limits(study, analysis.tuned), *_trouble(analysis.tuned)]


def effect_notes(analysis: Analysis) -> list[str]:
    """Notes on the main effects and the interaction of a two-axis grid."""
    assert analysis.effects is not None
    rows = analysis.effects.to_dict("records")
    if not rows or pd.isna(rows[0]["F"]):
        return [f"Main effects require two seeds with all cells done; this study has {rows[0]['n']}."]
    lines = [
        f"Repeated-measures ANOVA over {many(int(rows[0]['n']), 'complete seed')}, Greenhouse-Geisser corrected: "
        + "; ".join(
            f"{row['effect']}: F({row['df1'] * row['epsilon']:.1f}, {row['df2'] * row['epsilon']:.1f}) = "
            f"{row['F']:.3g}, p {_equals(row['p'])}, partial η² = {row['partial_eta2']:.2f}"
            for row in rows
        )
        + "."
    ]
    if rows[2]["p"] < ALPHA:
        lines.append(
            "The axes interact: the effect of one depends on the other, so compare cells rather than averages."
        )
    return lines


def across_notes(analysis: Analysis) -> list[str]:
    """Notes on the ranks over data sets."""
    across = analysis.across
    assert across is not None
    ranks, lines = across.ranks, []
    if np.isfinite(ranks.p):
        lines.append(
            f"Friedman's test over {many(across.sets, 'data set')}: χ²({len(across.methods) - 1}) = {ranks.chi2:.2f}, "
            f"p {_equals(ranks.p)}. Nemenyi's critical difference at .05 is {ranks.critical_difference:.2f} average "
            "ranks."
        )
        if across.sets < 10:
            lines.append("With fewer than ten data sets both tests have low power and approximate p values.")
    if across.lost:
        lines.append("Ranks and IQM use only the seeds that every method finished; failed trials are left out.")
    lines.append(
        f"IQM is the interquartile mean over {many(across.seeds, 'seed')} × {many(across.sets, 'data set')}, with a "
        "95 % percentile interval from a stratified bootstrap, which is too narrow with few seeds."
    )
    return lines


def _equals(p: float) -> str:
    words = p_value(p) or "undefined (no variation between seeds)"
    return words if words.startswith("<") else f"= {words}"


def _seeds(n: int) -> str:
    return f"more than {MANY:,} seeds" if n >= MANY else f"about {many(n, 'seed')}"

"""The tables of a report as rows of text, independent of the output format."""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd

from ..stats.summary import SINGLE
from ..study.study import Study, text
from .analysis import Analysis
from .findings import across_notes, effect_notes, finding, notes, tuning_notes
from .speed import speed_grids
from .words import exact, exact_interval, interval, number, p_value

CLAIMS = (
    "Claims were written into the study before it was run. A claim `holds` or `does not hold` if a two-sided t test is "
    "significant at .05 after Holm's correction over the study's claims. Divergence rates are tested with an exact "
    "binomial test, equivalence with two one-sided t tests (TOST) against the margin. Otherwise the verdict is "
    "`cannot tell`. The effect is a paired difference, a mean, or a mean step along the axis; differences and trends "
    "on a log scale are in powers of ten."
)
SENTENCES = ("as measured", "source", "command")  # columns of text


class Grid(NamedTuple):
    """A table of text.

    Attributes:
        title: Title; empty for the study's main table.
        header: Column names. The first column, the verdict and `SENTENCES` are text; all others are numbers.
        rows: Cells.
        notes: Sentences printed below the table, in Markdown.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]


@lru_cache(maxsize=1)  # Markdown, LaTeX, the page and the terminal use them one after the other
def grids(analysis: Analysis) -> list[Grid]:
    """All tables of a report, the study's main table first."""
    study, found = analysis.study, [Grid("", *variants_grid(analysis.study, analysis.table), notes(analysis))]
    if analysis.tuned is not None:
        lines = [finding(study, analysis.tuned), *tuning_notes(analysis)]
        found.append(Grid("Each variant at its own best setting", *variants_grid(study, analysis.tuned), lines))
    base = f", with {' and '.join(study.tune)} as in the base config" if study.tune else ""
    if analysis.effects is not None and analysis.marginals is not None:
        rows = [
            [
                f"{r['axis']} = {r['value']}",
                str(r["n"]),
                number(r["mean"]),
                interval(r["ci_low"], r["ci_high"]),
                *(_delta(r) if r["value"] != text(study.baseline[r["axis"]]) else ("", "")),
            ]
            for r in analysis.marginals.to_dict("records")
        ]
        header = ["averaged over the other axis", "n", "mean", "95 % interval", "Δ", "95 % interval of Δ"]
        found.append(Grid(f"Main effects and interaction{base}", header, rows, effect_notes(analysis)))
    if analysis.across is not None:
        rows = [
            [r["method"], f"{r['rank']:.2f}", number(r["iqm"]), interval(r["iqm_ci_low"], r["iqm_ci_high"])]
            for r in analysis.across.table.to_dict("records")
        ]
        header = ["method", "average rank", "IQM", "95 % interval"]
        found.append(Grid(f"Across data sets{base}", header, rows, across_notes(analysis)))
    if analysis.parity is not None and len(analysis.parity):
        found.append(parity_grid(analysis.parity))
    if analysis.speed is not None:
        found += [Grid(*parts) for parts in speed_grids(analysis.speed)]
    if analysis.claims is not None:
        found.append(claims_grid(analysis.claims))
    return found


def claims_grid(claims: pd.DataFrame) -> Grid:
    """Claims with their verdicts."""
    rows = [
        [
            *(r["claim"], r["verdict"], f"{r['metric']}: {r['about']}", number(r["effect"])),
            *(interval(r["ci_low"], r["ci_high"]), str(r["n"]), p_value(r["p_holm"]), r["source"]),
        ]
        for r in claims.to_dict("records")
    ]
    header = ["claim", "verdict", "as measured", "effect", "95 % interval", "n", "p (Holm)", "source"]
    return Grid("Claims", header, rows, [CLAIMS])


def parity_grid(parity: pd.DataFrame) -> Grid:
    """Differences of variants from their baselines at the same seed."""
    rows = [
        [
            *(r["variant"], r["metric"], str(r["n_pairs"]), exact(r["delta"], signed=True)),
            *(exact_interval(r["delta_ci_low"], r["delta_ci_high"]), exact(r["largest"])),
        ]
        for r in parity.to_dict("records")
    ]
    header = ["variant", "metric", "pairs", "Δ", "95 % interval of Δ", "largest at a seed"]
    note = (
        "Δ is the mean difference from the variant's baseline at the same seed, with its 95 % t interval. This table "
        "contains no tests; see Claims for the tests of claimed differences."
    )
    return Grid("Parity", header, rows, [note])


def picked(grid: Grid, header: Sequence[str]) -> list[list[str]]:
    """The rows of a table with only the named columns, in this order."""
    places = [grid.header.index(name) for name in header]
    return [[row[place] for place in places] for row in grid.rows]


def variants_grid(study: Study, table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with one row per variant."""
    failures = bool((table["n_failed"] > 0).any())
    tuned = [name for name in study.tune if name in table]
    header = ["variant", *tuned, "n", *(["failed"] if failures else []), "mean", "sd", "95 % interval", "Δ"]
    header += ["95 % interval of Δ", "wins", "p (Holm)", "verdict", *study.also]
    rows = []
    for row in table.to_dict("records"):
        name, compared = row["variant"], row["verdict"] != "baseline"
        marked = f"{name} (baseline)" if not compared and name != "baseline" else name
        cells = [marked, *(text(row[key]) for key in tuned)]
        cells += [str(row["n"]), *([str(row["n_failed"])] if failures else [])]
        cells += [number(row["mean"]), number(row["std"]), interval(row["ci_low"], row["ci_high"]), *_delta(row)]
        ties = f", {row['ties']} tie{'s' * (row['ties'] > 1)}" if compared and row["ties"] else ""
        cells.append(f"{row['wins']}/{row['n_pairs']}{ties}" if compared and row["n_pairs"] else "")
        cells += [p_value(row["p_holm"]), "" if not compared else row["verdict"]]
        cells += [number(row[f"{metric}_mean"]) for metric in study.also]
        rows.append(cells)
    return header, rows


def _delta(row: dict[Hashable, Any]) -> list[str]:
    delta = row["delta"]
    if abs(delta) < SINGLE * abs(row["mean"]) and row["delta_ci_low"] <= 0 <= row["delta_ci_high"]:
        delta = 0.0  # rounding errors such as 3e-8
    return [
        number(delta, signed=True),
        interval(row["delta_ci_low"], row["delta_ci_high"], signed=True),
    ]

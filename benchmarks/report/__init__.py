"""Reports of studies: tables, figures and an HTML page, all derived from the records and rebuilt on demand."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoo.outputs.destination import spreadsheet_safe
from zoo.outputs.files import read_regular, write_atomically

from ..records.record_file import checksum, parse
from ..records.store import Store
from ..records.stored import trials_of
from ..study.study import Study

if TYPE_CHECKING:
    from .analysis import Analysis

# Files of every report.
DERIVED = (
    "trials.csv",
    "table.csv",
    "table.md",
    "table.tex",
    "figure.png",
    "figure.svg",
    "report.html",
    "summary.json",
)
# Files that only the reports of some studies have.
SOMETIMES = (
    *("table_tuned.csv", "effects.csv", "main_effects.csv", "across.csv", "claims.csv", "speed.csv", "parity.csv"),
    *(f"{name}.{kind}" for name in ("figure_tuned", "curves", "heatmap", "layers") for kind in ("png", "svg")),
)


# Checksums of the records that the report in a run's folder was made from, and of its files.
MADE_FROM = ".report"


def read_report(study: Study, store: Store) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The trials and the summary (see `tables`) of a report that is up to date with the records, else None.

    The contents decide, not the times of the files: copied records may be older than the report.

    Args:
        study: The study.
        store: Its store, which must have read all its records.
    """
    try:
        made_from = parse(read_regular(store.folder / MADE_FROM))
        if made_from != _state(study, store, made_from["files"]):
            return None
    except (OSError, ValueError, TypeError, LookupError):  # there is none, or it is damaged
        return None
    text = dict.fromkeys(("variant", "status", "reason"), str)  # a variant may be named none, or 1
    trials = pd.read_csv(store.folder / "trials.csv", converters=text)
    return trials, json.loads((store.folder / "summary.json").read_text(encoding="utf-8"))


def _state(study: Study, store: Store, files: Iterable[str]) -> dict[str, Any]:
    """Checksums of the records that a store has read, and of some files in its folder."""
    keys = [key for _, _, key in trials_of(study, store)]
    names = dict.fromkeys((*DERIVED, *files))
    return {
        "records": store.digest(keys),
        "files": {name: checksum(read_regular(store.folder / name)) for name in names},
    }


def write_report(study: Study, store: Store) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Write the derived files, and delete files of an earlier report that are no longer needed.

    Returns:
        As `read_report`.

    Raises:
        InputError: The store does not hold this study, or has records of another schema.
    """
    # Imported here because scipy, statsmodels and matplotlib take seconds, and reading a report does not need them.
    from .analysis import analyze
    from .curves import curves_figure
    from .diagnosis import layers_figure
    from .figures import heatmap_figure, intervals_figure
    from .page import page

    analysis, folder = analyze(study, store), store.folder
    files = tables(analysis)
    intervals_figure(study, analysis.trials, analysis.table, folder, "figure")
    figures = ["figure"]
    if analysis.tuned is not None:
        at = {choice.at.name: choice.variant.name for choice in analysis.choices}
        own = analysis.trials[analysis.trials["variant"].isin(list(at))]
        intervals_figure(study, own.assign(variant=own["variant"].map(at)), analysis.tuned, folder, "figure_tuned")
        figures.append("figure_tuned")
    if analysis.effects is not None:
        heatmap_figure(study, analysis.table, folder, "heatmap")
        figures.append("heatmap")
    if curves_figure(study, analysis.trials, store.curves, folder, "curves"):
        figures.append("curves")
    if layers_figure(study, analysis.trials, store.curves, folder, "layers"):
        figures.append("layers")
    images = {name: (folder / f"{name}.svg").read_text(encoding="utf-8") for name in figures}
    for name, text in (files | {"report.html": page(analysis, images)}).items():
        write_atomically(folder / name, text)
    for name in SOMETIMES:
        if name not in files and name.partition(".")[0] not in figures:
            (folder / name).unlink(missing_ok=True)
    if (folder / "plan.json").is_file():  # not in an archive
        there = [name for name in SOMETIMES if (folder / name).is_file()]
        write_atomically(folder / MADE_FROM, json.dumps(_state(study, store, there)))
    return analysis.trials, json.loads(files["summary.json"])


def tables(analysis: "Analysis") -> dict[str, str]:
    """The contents of the derived text files, by file name, without figures and the HTML page.

    `summary.json` holds what a terminal shows: the `finding`, `finding_tuned` if the study tunes something, and the
    `tables`, each with `title`, `header`, `rows` and `notes`.
    """
    from .findings import finding
    from .grids import grids
    from .markup import latex, markdown

    def csv(table: pd.DataFrame) -> str:
        safe = {
            spreadsheet_safe(name): column
            if pd.api.types.is_numeric_dtype(column)
            else pd.Series([*map(spreadsheet_safe, column)], column.index, dtype=object)
            for name, column in table.items()
        }
        return pd.DataFrame(safe).to_csv(index=False, lineterminator="\n")

    shown: dict[str, Any] = {"finding": finding(analysis.study, analysis.table)}
    if analysis.tuned is not None:
        shown["finding_tuned"] = finding(analysis.study, analysis.tuned)
    shown["tables"] = [grid._asdict() for grid in grids(analysis)]
    files = {
        "trials.csv": csv(analysis.trials),
        "table.csv": csv(analysis.table),
        "table.md": markdown(analysis),
        "table.tex": latex(analysis),
        "summary.json": json.dumps(shown, indent=1, ensure_ascii=False) + "\n",
    }
    for name, table in (
        ("table_tuned.csv", analysis.tuned),
        ("effects.csv", analysis.effects),
        ("main_effects.csv", analysis.marginals),
        ("claims.csv", analysis.claims),
        ("speed.csv", analysis.speed),
        ("parity.csv", analysis.parity),
        ("across.csv", analysis.across.table if analysis.across else None),
    ):
        if table is not None:
            files[name] = csv(table)
    return files

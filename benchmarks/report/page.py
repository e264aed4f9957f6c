"""A report as one HTML page that needs nothing else: no network, no other file."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup, escape

from datamodules.errors import InputError

from ..study.study import Study, Variant, text
from ..study.yaml_lines import parse_value
from .analysis import Analysis
from .curves import PANELS
from .findings import finding
from .grids import SENTENCES, Grid, grids
from .words import many

CAPTIONS = {
    "figure": "Left: means with 95 % t intervals, and the single seeds below. Right: paired differences from the "
    "baseline; the band is the margin, where there is one. Numbers at an edge belong to what lies beyond it.",
    "figure_tuned": "The same, each variant at its own best setting.",
    "heatmap": "Means of the grid.",
    "curves": "Learning curves on validation: mean over seeds with its 95 % t interval; dashed: the baseline's mean. "
    "Wide intervals, and curves far off, leave their panels.",
    "layers": "What a diagnosis callback measured, by layer and epoch: mean over seeds.",
}
MOST_FAILURES = 500  # listed on the page; all are in trials.csv


def page(analysis: Analysis, images: Mapping[str, str]) -> str:
    """The page.

    Args:
        analysis: What it says.
        images: Figures as SVG, by name (see `CAPTIONS`).
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": _code, "breaks": _breaks}
    study, trials = analysis.study, analysis.trials
    bad = trials[trials["status"].isin(["diverged", "failed", "crashed", "skipped"])]
    captions = dict(CAPTIONS)
    if len(study.compared) > PANELS:
        captions["curves"] += f" The first {PANELS} of {len(study.compared)} variants."
    figures = [(captions[name], _inline(image, name)) for name, image in images.items()]
    return environment.get_template("page.html.j2").render(
        study=study,
        finding=finding(study, analysis.table),
        counts=", ".join(f"{n:,} {status}" for status, n in trials["status"].value_counts().items()),
        grids=[_table(grid) for grid in grids(analysis)],
        figures=figures,
        failures=bad.head(MOST_FAILURES).to_dict("records"),
        n_failures=len(bad),
        commands=[(variant.name, command(study, variant)) for variant in study.compared],
        provenance=[*analysis.provenance.rows(), *_times(analysis)],
        definition=study.to_file(),
    )


def command(study: Study, variant: Variant) -> str:
    """What runs a row of the table again, given in the study's folder: what is tuned included."""
    filters = [f"--filter {shlex.quote(f'{name}={_as_value(text(variant.cell[name]))}')}" for name in study.vary]
    return " ".join(["bench run study.yaml --out again", *filters])


def _as_value(shown: str) -> str:
    """What `--filter` takes for a value that tables show so: in quotes where YAML would read something else."""
    try:
        same = text(parse_value(shown)) == shown
    except InputError:
        same = False
    return shown if same else json.dumps(shown, ensure_ascii=False)


def _table(grid: Grid) -> dict[str, Any]:
    """A table with what its cells sort by, and whether its names take several lines on a phone."""
    long = max(len(row[0]) for row in grid.rows) > 16
    cells = [[(cell, _sort_key(cell)) for cell in row] for row in grid.rows]
    sentences = [name for name in grid.header if name in SENTENCES]
    return {**grid._asdict(), "long": long, "sentences": sentences, "cells": cells}


def _sort_key(cell: str) -> str:
    """The number that a cell starts with, where it does; a bound such as <.0001 comes below all others."""
    found = re.match(r"(<?)([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d{1,2})?)", cell)
    return str(float(found[2]) / (2 if found[1] else 1)) if found else ""


def _times(analysis: Analysis) -> list[tuple[str, str]]:
    seconds = analysis.provenance.train_seconds
    spent = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    ran = int((~analysis.trials["status"].isin(["pending", "skipped"])).sum())
    return [("started, UTC", analysis.provenance.period or "never"), ("trained", f"{spent} in {many(ran, 'trial')}")]


def _inline(image: str, name: str) -> Markup:
    """An SVG file as part of the page; ids are made its own."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", image[image.index("<svg") :], flags=re.DOTALL)

    def own(tag: re.Match[str]) -> str:
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag[0])

    svg = re.sub(r"<[^<>]+>", own, svg)  # and not in the text between them, which may hold any name
    return Markup(svg)


def _breaks(name: str) -> Markup:
    """A name that a narrow column may break after a sign that joins."""
    return Markup(re.sub(r"([=_/])", r"\1<wbr>", str(escape(name))))


def _code(sentence: str) -> Markup:
    """Text with `code` in it."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))

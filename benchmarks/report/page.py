"""A report as one self-contained HTML page, which needs no network and no other file."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup, escape

from datamodules.errors import InputError
from zoo.yaml_lines import parse_value

from ..study.study import Study, Variant, text
from ..tasks import find_task
from .analysis import Analysis
from .curves import PANELS
from .findings import finding
from .grids import SENTENCES, Grid, grids
from .words import many

CAPTIONS = {
    "figure": "Left: means with 95 % t intervals; single seeds are shown below each mean. Right: paired differences "
    "from the baseline; the shaded band is the margin, if there is one. Values outside the axis are written at its "
    "edge.",
    "figure_tuned": "As above, with each variant at its own best setting.",
    "heatmap": "Mean of each cell of the grid.",
    "curves": "Validation curves: mean over seeds with its 95 % t interval; the dashed line is the baseline's mean. "
    "Wide intervals and outlying curves are clipped.",
    "layers": "A quantity measured by a diagnosis callback, by layer and epoch: mean over seeds.",
}
MOST_FAILURES = 500  # rows listed on the page; all are in trials.csv


def page(analysis: Analysis, images: Mapping[str, str]) -> str:
    """Render the HTML page.

    Args:
        analysis: The analysis of the study.
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
        captions["curves"] += f" Only the first {PANELS} of {len(study.compared)} variants are shown."
    figures = [(captions[name], _inline(image, name)) for name, image in images.items()]
    return environment.get_template("page.html.j2").render(
        study=study,
        task=find_task(study.task),
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
    """The command that reruns a row of the table, tuning included, from within the study's folder."""
    filters = [f"--filter {shlex.quote(f'{name}={_as_value(text(variant.cell[name]))}')}" for name in study.vary]
    return " ".join(["bench run study.yaml --out again", *filters])


def _as_value(shown: str) -> str:
    """A value from a table as `--filter` accepts it: quoted if YAML would parse it as something else."""
    try:
        same = text(parse_value(shown)) == shown
    except InputError:
        same = False
    return shown if same else json.dumps(shown, ensure_ascii=False)


def _table(grid: Grid) -> dict[str, Any]:
    """A table with sort keys for its cells; `long` says whether its names need several lines on a phone."""
    long = max(len(row[0]) for row in grid.rows) > 16
    cells = [[(cell, _sort_key(cell)) for cell in row] for row in grid.rows]
    sentences = [name for name in grid.header if name in SENTENCES]
    return {**grid._asdict(), "long": long, "sentences": sentences, "cells": cells}


def _sort_key(cell: str) -> str:
    """The number at the start of a cell, if there is one; a bound such as <.0001 sorts below all numbers."""
    found = re.match(r"(<?)([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d{1,2})?)", cell)
    return str(float(found[2]) / (2 if found[1] else 1)) if found else ""


def _times(analysis: Analysis) -> list[tuple[str, str]]:
    seconds = analysis.provenance.train_seconds
    spent = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    ran = int((~analysis.trials["status"].isin(["pending", "skipped"])).sum())
    return [("started (UTC)", analysis.provenance.period or "never"), ("trained", f"{spent} in {many(ran, 'trial')}")]


def _inline(image: str, name: str) -> Markup:
    """An SVG file for embedding in the page, with its ids prefixed to make them unique."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", image[image.index("<svg") :], flags=re.DOTALL)

    def own(tag: re.Match[str]) -> str:
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag[0])

    svg = re.sub(r"<[^<>]+>", own, svg)  # not in the text between tags, which may contain any name
    return Markup(svg)


def _breaks(name: str) -> Markup:
    """A name with possible line breaks after `=`, `_` and `/`, for narrow columns."""
    return Markup(re.sub(r"([=_/])", r"\1<wbr>", str(escape(name))))


def _code(sentence: str) -> Markup:
    """Text as HTML, with text in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))

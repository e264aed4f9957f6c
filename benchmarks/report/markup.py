"""A report's tables as Markdown and LaTeX."""

import re

from .analysis import Analysis
from .findings import finding
from .grids import SENTENCES, Grid, grids
from .speed import SPARE
from .tex import latex_tables
from .words import many

# Characters with which text of others would become a tag, an entity, a link or an image.
LIVE = r"<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[:])|:(?=//)"
# Also those that would become code or emphasis.
MARKS = re.compile(rf"[\\|`*~]|{LIVE}|(?<!\w)_|_(?!\w)")


def markdown(analysis: Analysis) -> str:
    """`table.md`: question, finding, and tables with their notes."""
    study = analysis.study
    lines = [f"# {study.name}", "", sentence(study.question), ""]
    metric = study.metric.replace("`", "")
    lines += [f"`{metric}` over {many(study.seeds, 'seed')}. {sentence(finding(study, analysis.table))}", ""]
    for grid in grids(analysis):
        lines += [f"## {grid.title}", ""] if grid.title else []
        lines += [*markdown_table(grid), "", *(f"- {sentence(note)}" for note in grid.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(grid: Grid) -> list[str]:
    """The lines of a table."""
    lines = ["---", *("---" if name in SENTENCES else "--:" for name in grid.header[1:])]
    table = [[*map(escaped, grid.header)], lines, *([*map(escaped, row)] for row in grid.rows)]
    return [f"| {' | '.join(cells)} |" for cells in table]


def escaped(text: str) -> str:
    """Text for a table cell, with Markdown characters escaped."""
    return MARKS.sub(r"\\\g<0>", " ".join(text.split()))


def sentence(text: str) -> str:
    """A sentence that may contain code and emphasis; tags, entities, links and headers are escaped."""
    return re.sub(rf"{LIVE}|^(?=[#>=+-])", r"\\\g<0>", re.sub(r"\s*\n\s*", " ", text))


def latex(analysis: Analysis) -> str:
    r"""`table.tex`: the tables as `table` environments, without the columns that do not fit on a page.

    It requires `\usepackage{booktabs}` and UTF-8 input. Negative numbers are typeset with a minus sign.
    """
    study = analysis.study
    parts = [f"% {study.name}: made by `bench report`. Needs \\usepackage{{booktabs}}."]
    for place, grid in enumerate(grids(analysis)):
        title = f"{study.name}: {study.metric}" + (f", {grid.title[0].lower()}{grid.title[1:]}" if grid.title else "")
        notes = " ".join(grid.notes[:2] if not place else grid.notes[:1])
        label = f"tab:{study.name}" + (f"-{place}" if place else "")
        parts += latex_tables(grid, title, notes.replace("`", ""), label, [*study.also, *SPARE])
    return "\n".join(parts)

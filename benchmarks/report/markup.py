"""A report's tables as Markdown and LaTeX."""

import re

from .analysis import Analysis
from .findings import finding
from .grids import SENTENCES, Grid, grids
from .speed import SPARE
from .tex import latex_tables
from .words import many

# What Markdown would take for a tag, for code or for emphasis.
MARKS = re.compile(r"[\\|`*~]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)")


def markdown(analysis: Analysis) -> str:
    """`table.md`: question, finding, tables, and what is needed to trust them."""
    study = analysis.study
    lines = [f"# {study.name}", "", sentence(study.question), ""]
    lines += [f"`{study.metric}` over {many(study.seeds, 'seed')}. {sentence(finding(study, analysis.table))}", ""]
    for grid in grids(analysis):
        lines += [f"## {grid.title}", ""] if grid.title else []
        lines += [*markdown_table(grid), "", *(f"- {sentence(note)}" for note in grid.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(grid: Grid) -> list[str]:
    """The lines of a table."""
    lines = ["---", *("---" if name in SENTENCES else "--:" for name in grid.header[1:])]
    table = [grid.header, lines, *([*map(escaped, row)] for row in grid.rows)]
    return [f"| {' | '.join(cells)} |" for cells in table]


def escaped(text: str) -> str:
    """Text for a cell that Markdown shows as it is."""
    return MARKS.sub(r"\\\g<0>", " ".join(text.split()))


def sentence(text: str) -> str:
    """A sentence, which may hold Markdown, but no tags."""
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text)


def latex(analysis: Analysis) -> str:
    r"""`table.tex`: the same as `table` environments for booktabs, without the columns that a page has no room for.

    Negative numbers get a minus sign. To be pasted after `\usepackage{booktabs}`, with UTF-8 input.
    """
    study = analysis.study
    parts = [f"% {study.name}: made by `bench report`. Needs \\usepackage{{booktabs}}."]
    for place, grid in enumerate(grids(analysis)):
        title = f"{study.name}: {study.metric}" + (f", {grid.title[0].lower()}{grid.title[1:]}" if grid.title else "")
        notes = " ".join(grid.notes[:2] if not place else grid.notes[:1])
        label = f"tab:{study.name}" + (f"-{place}" if place else "")
        parts += latex_tables(grid, title, notes.replace("`", ""), label, [*study.also, *SPARE])
    return "\n".join(parts)

"""A report's tables as Markdown and LaTeX."""

import re

from .analysis import Analysis
from .findings import finding
from .grids import Grid, grids
from .words import many

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
LATEX |= {c: f"\\{c}" for c in "&%$#_{}"} | {"<": "$<$", ">": "$>$", "Δ": r"$\Delta$", "η": r"$\eta$", "χ": r"$\chi$"}
LATEX |= {"²": "$^2$", "×": r"$\times$", "±": r"$\pm$"}


def markdown(analysis: Analysis) -> str:
    """`table.md`: question, finding, tables, and what is needed to trust them."""
    study = analysis.study
    lines = [f"# {study.name}", "", study.question, ""]
    lines += [f"`{study.metric}` over {many(study.seeds, 'seed')}. {finding(study, analysis.table)}", ""]
    for grid in grids(analysis):
        lines += [f"## {grid.title}", ""] if grid.title else []
        lines += [*markdown_table(grid), "", *(f"- {sentence}" for sentence in grid.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(grid: Grid) -> list[str]:
    """The lines of a table."""
    table = [grid.header, ["---", *["--:"] * (len(grid.header) - 1)], *grid.rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in table]


def latex(analysis: Analysis) -> str:
    r"""`table.tex`: the same as `table` environments for booktabs.

    Negative numbers get a minus sign. To be pasted after `\usepackage{booktabs}`, with UTF-8 input.
    """
    study = analysis.study
    parts = [f"% {study.name}: made by `bench report`. Needs \\usepackage{{booktabs}}."]
    for place, grid in enumerate(grids(analysis)):
        title = f"{study.name}: {study.metric}" + (f", {grid.title[0].lower()}{grid.title[1:]}" if grid.title else "")
        notes = " ".join(grid.notes[:2] if not place else grid.notes[:1])
        label = f"tab:{study.name}" + (f"-{place}" if place else "")
        left = {"variant", "verdict", "method", grid.header[0]}
        parts += [
            r"\begin{table}",
            r"  \centering",
            r"  \small",
            f"  \\caption{{{_latex(f'{title}. {notes}'.replace('`', ''))}}}",
            f"  \\label{{{label}}}",
            f"  \\begin{{tabular}}{{{''.join('l' if name in left else 'r' for name in grid.header)}}}",
            r"    \toprule",
            f"    {' & '.join(map(_latex, grid.header))} \\\\",
            r"    \midrule",
            *(f"    {' & '.join(map(_cell, row))} \\\\" for row in grid.rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    return "\n".join(parts)


def _cell(text: str) -> str:
    """A cell, with numbers' hyphens as minus signs."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", _latex(text))


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)

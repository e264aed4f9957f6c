"""Tables as LaTeX, with any text escaped and columns chosen to fit the page."""

import math
import re
import unicodedata
from collections.abc import Sequence

from .grids import SENTENCES, Grid

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
LATEX |= {c: f"\\{c}" for c in "&%$#{}"} | {"<": "$<$", ">": r"$>$\allowbreak{}", "`": r"\textasciigrave{}"}
LATEX |= {"[": "{[}", "*": "{*}"}  # after `\\` they would be parsed as its argument
LATEX |= {"_": r"\_\allowbreak{}", "=": r"=\allowbreak{}", "/": r"/\allowbreak{}"}  # long names have no spaces
LATEX |= {"²": "$^2$", "×": r"$\times$", "±": r"$\pm$", "°": r"$^\circ$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$"}
LATEX |= {"→": r"$\to$", "∞": r"$\infty$", "≠": r"$\neq$"}
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi pi rho sigma tau phi chi psi omega"
CAPITALS = ("gamma", "delta", "theta", "lamda", "xi", "pi", "sigma", "phi", "psi", "omega")
LATEX |= {unicodedata.lookup(f"greek small letter {name}"): f"$\\{name}$" for name in GREEK.split()}
LATEX |= {unicodedata.lookup(f"greek capital letter {name}"): f"$\\{name.capitalize()}$" for name in CAPITALS}
LATEX |= {"λ": r"$\lambda$", "Λ": r"$\Lambda$"}  # Unicode spells it without a b
KNOWN = "ßæøœÆØŒłŁ“”‘’–—…"  # supported by pdflatex without further packages
ACCENTS = ("0300", "0301", "0302", "0303", "0304", "0307", "0308", "030A", "030B", "030C", "0327")

SIZES = {"footnote": 78, "script": 89}  # characters per line of an article
GAP = 1.5  # characters between columns
LEAST = 22  # minimum characters for the column of names, which is wrapped
TALL = 48  # lines of a table per page


def latex_tables(grid: Grid, title: str, notes: str, label: str, also: Sequence[str] = ()) -> list[str]:
    """The lines of a `table` environment, or of several if the rows do not fit on one page.

    Args:
        grid: The table.
        title: Start of the caption, as plain text.
        notes: Rest of the caption.
        label: LaTeX label.
        also: Columns that are dropped if the line is too narrow, the last one first.
    """
    left_out = {"95 % interval", "wins"} if "Δ" in grid.header and "verdict" in grid.header else {*SENTENCES}
    longest = max(len(row[0]) for row in [grid.header, *grid.rows])
    for name in ("", "sd", *reversed(also)):
        left_out.add(name)
        kept = [place for place, head in enumerate(grid.header) if head not in left_out]
        others = sum(max(len(row[place]) for row in [grid.header, *grid.rows]) for place in kept[1:])
        room = {size: width - others - GAP * len(kept) for size, width in SIZES.items()}
        if room["script"] >= min(longest, LEAST):
            break
    size = next((size for size in SIZES if room[size] >= longest), "script")
    broken, names = room[size] < longest, max(room[size], LEAST / 2)
    columns = [
        f"p{{{names / SIZES[size]:.2f}\\linewidth}}" if broken else "l",
        *("l" if grid.header[place] == "verdict" else "r" for place in kept[1:]),
    ]
    rows = [[row[place] for place in kept] for row in grid.rows]
    lines: list[str] = []
    for number, part in enumerate(_parts(rows, names)):
        lines += [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{_latex(f'{title} (continued).' if number else f'{title}. {notes}')}}}",
            *([] if number else [f"  \\label{{{label}}}"]),
            f"  \\{size}size",
            r"  \setlength{\tabcolsep}{3pt}",
            f"  \\begin{{tabular}}{{{''.join(columns)}}}",
            r"    \toprule",
            f"    {_row([grid.header[place] for place in kept], False)}",
            r"    \midrule",
            *(f"    {_row(row, broken)}" for row in part),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    return lines


def _parts(rows: list[list[str]], names: float) -> list[list[list[str]]]:
    """Rows split into pages; a name takes one line per `names` characters."""
    parts: list[list[list[str]]] = [[]]
    height = 0
    for row in rows:
        lines = math.ceil(1.15 * len(row[0]) / names)  # line breaks waste some space
        if height + lines > TALL:
            parts.append([])
            height = 0
        parts[-1].append(row)
        height += lines
    return parts


def _row(cells: list[str], broken: bool) -> str:
    first, *others = (re.sub(r"(?<![\w.}])-(?=\d)", "$-$", _latex(cell)) for cell in cells)
    return " & ".join([r"\raggedright " * broken + first, *others]) + r" \\"


def _latex(text: str) -> str:
    text = "".join(map(_character, " ".join(text.split())))
    return text.replace("--", "-{}-")  # prevents the ligature to a dash


def _character(c: str) -> str:
    """LaTeX for one character; its code point if pdflatex has no glyph for it."""
    if c in LATEX:
        return LATEX[c]
    if c.isascii() or c in KNOWN or (ord(c) < 0x180 and unicodedata.decomposition(c)[-4:] in ACCENTS):
        return c
    plain = unicodedata.normalize("NFKD", c)[0]
    return _character(plain) if plain != c else f"U+{ord(c):04X}"

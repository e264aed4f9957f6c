"""Print tables in a terminal."""

import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from zoo.cli.console import Console
from zoo.cli.process import printable

from ..study.study import Study

LONGEST = 200  # maximum number of rows printed
WIDE = 140  # minimum width if the output is not a terminal; it grows so that no cell is truncated or wrapped


def print_tables(study: Study, summary: dict[str, Any]) -> None:
    """Print a study's tables with their notes, then its finding.

    Args:
        study: The study.
        summary: As in `benchmarks.report.tables`.
    """
    for table in summary["tables"]:
        print_rows(table["title"] or f"{study.name}: {study.metric}", table["header"], table["rows"])
        for note in table["notes"]:
            _console().print(_text(note.replace("`", "")), soft_wrap=not sys.stdout.isatty())
    _console().print(_text(summary["finding"]), soft_wrap=not sys.stdout.isatty())


def print_rows(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with names aligned left and numbers aligned right."""
    caption = f"{len(rows) - LONGEST} more rows in table.md" if len(rows) > LONGEST else None
    shown = Table(title=_text(title), caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        shown.add_column(_text(name), justify="right" if place and name != "verdict" else "left")
    for row in rows[:LONGEST]:
        shown.add_row(*map(_text, row))
    cells = zip(header, *rows[:LONGEST], strict=True)
    _console(sum(max(map(cell_len, column)) + 3 for column in cells)).print(shown)


def _text(words: str) -> Text:
    """Names may contain characters that rich or the terminal would interpret."""
    return Text(printable(words))


def _console(width: int = 0) -> Console:
    return Console(width=None if sys.stdout.isatty() else max(WIDE, width))

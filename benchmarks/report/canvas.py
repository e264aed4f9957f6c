"""Shared by all figures of a study: output files, a colour-blind-safe palette, wrapped names."""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.outputs.files import replacing

TALLEST = 40.0  # inches
# Okabe & Ito's palette.
BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#999999", "#000000"
FORMATS = ("png", "svg")


@contextmanager
def drawn(
    folder: Path, name: str, shape: int | tuple[int, int], size: tuple[float, float], **options: Any
) -> Iterator[tuple[Any, Any]]:
    """Create a figure with its axes, and save it in all formats on exit."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows, columns = shape if isinstance(shape, tuple) else (1, shape)
    # The same records must give the same file.
    style: Any = {"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans"}
    with plt.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a browser may have the font
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
        yield figure, axes
        for kind in FORMATS:
            stamp = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
            with replacing(folder / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=150, metadata=stamp)
        plt.close(figure)


def wrapped(name: str, width: int, most: int = 2) -> str:
    """A name wrapped into lines of `width` characters, truncated after `most` lines."""
    lines = textwrap.wrap(name, width, max_lines=most, placeholder=" …", break_on_hyphens=False) or [name]
    return plain("\n".join(lines))


def extent(names: Sequence[str]) -> tuple[int, int]:
    """The length of the longest line, and the largest number of lines in a name."""
    lines = [name.split("\n") for name in names]
    return max(len(line) for name in lines for line in name), max(map(len, lines))


def plain(name: str) -> str:
    """A name escaped so that matplotlib does not parse it as math."""
    return name.replace("$", r"\$")


def short_ticks(axis: Any) -> None:
    """Write each tick label in full, because a common factor would overlap other text."""
    axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))

"""Figures of a study's tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..study.study import Study, text
from .canvas import BLACK, BLUE, GREEN, GREY, ORANGE, TALLEST, drawn, extent, plain, short_ticks, wrapped

# Colour and marker of each verdict.
VERDICTS = {
    "baseline": (ORANGE, "D"),
    "better": (GREEN, "^"),
    "worse": (BLUE, "v"),
    "equivalent": (BLACK, "s"),
    "inconclusive": (GREY, "o"),
}


def intervals_figure(study: Study, trials: pd.DataFrame, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Draw each variant's mean with its single seeds, and its paired difference from the baseline.

    Args:
        study: The study.
        trials: As in `read_trials`.
        table: As in `benchmarks.stats.summarize`.
        folder: Folder of the figure, saved as PNG and SVG.
        name: File name without extension.
    """
    n = len(table)
    step = -(-n // 200)  # more names would be unreadable
    names = [wrapped(variant, 44, 3 if n <= 40 else 1) for variant in table["variant"].iloc[::step]]
    wide, lines = extent(names)
    size = (8 + 0.075 * wide, min(1.3 + n * (0.2 + 0.14 * lines), TALLEST))
    with drawn(folder, name, 2, size, sharey=True) as (figure, (left, right)):
        places = {variant: place for place, variant in enumerate(table["variant"])}
        seeds = trials[trials["variant"].isin(list(places))][["variant", "value"]].dropna()
        heights = seeds["variant"].map(places) + 0.22
        left.plot(
            seeds["value"], heights, "o", color=GREY, markersize=3, alpha=0.5, markeredgewidth=0, rasterized=n > 100
        )
        left.set_xlabel(wrapped(f"{study.metric}: mean, 95 % t interval, single seeds", 56), fontsize=9)
        right.set_xlabel("Δ from the baseline, paired by seed, 95 % t interval", fontsize=9)
        right.axvline(0, color=BLACK, linewidth=0.8)
        if study.margin:
            right.axvspan(-study.margin, study.margin, color=GREY, alpha=0.2, linewidth=0)
        for verdict, (color, marker) in VERDICTS.items():
            rows = table[table["verdict"] == verdict]
            if not len(rows):
                continue
            at = rows["variant"].map(places)
            for axes, middle, low, high in (
                (left, "mean", "ci_low", "ci_high"),
                (right, "delta", "delta_ci_low", "delta_ci_high"),
            ):
                axes.hlines(at, rows[low], rows[high], colors=color, linewidth=2)
                axes.plot(rows[middle], at, marker, color=color, markersize=6, linestyle="", label=verdict)
        left.set_yticks(range(0, n, step), names, fontsize=9)
        left.set_ylim(n - 0.5, -0.5)
        for axes in (left, right):
            axes.grid(axis="x", alpha=0.3)
            axes.tick_params(axis="x", labelsize=8)
            axes.locator_params(axis="x", nbins=6)
            short_ticks(axes.xaxis)
        _crop(left, table, ("mean", "ci_low", "ci_high"), float(table["mean"].median()))
        _crop(right, table, ("delta", "delta_ci_low", "delta_ci_high"), 0.0, 1.3 * (study.margin or 0))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8, frameon=False)


def _crop(axes: Any, table: pd.DataFrame, columns: tuple[str, str, str], centre: float, least: float = 0) -> None:
    """Crop the axis if a few outlying intervals would squeeze all others, and write the outliers' values at its edge.

    Args:
        axes: Axes with one interval per row.
        table: As in `benchmarks.stats.summarize`.
        columns: Columns of the centres, lower ends and upper ends.
        centre: Centre of the axis.
        least: Minimum extent of the axis on both sides of `centre`.
    """
    middle, low, high = (table[column] for column in columns)
    reach = pd.concat([low.fillna(middle) - centre, high.fillna(middle) - centre], axis=1).abs().max(axis=1)
    bound = max(least, 2.5 * float(reach.quantile(0.6)))
    if not reach.max() > 2 * bound > 0:
        return
    start, end = axes.get_xlim()
    start, end = max(start, centre - bound), min(end, centre + bound)  # a side without outliers keeps its limit
    axes.set_xlim(start, end)
    for place in np.flatnonzero((middle - centre).abs() > bound):
        left = middle.iloc[place] < centre
        edge, side = (0.99 * start + 0.01 * end, "left") if left else (0.01 * start + 0.99 * end, "right")
        words, color = f"{middle.iloc[place]:.3g}", VERDICTS[table["verdict"].iloc[place]][0]
        words = f"◂ {words}" if left else f"{words} ▸"
        # Above its row, because its interval may reach into the axis.
        axes.text(edge, place - 0.1, words, ha=side, va="bottom", fontsize=8, color=color)


def heatmap_figure(study: Study, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Draw the means of a two-axis grid."""
    rows, columns = study.vary_axes
    means = table["mean"].to_numpy(float).reshape(len(rows.values), len(columns.values))
    if len(columns.values) > len(rows.values):  # portrait format, for narrow pages
        rows, columns, means = columns, rows, means.T
    n, m = means.shape
    longest = max(len(text(value)) for value in columns.values)
    over = [wrapped(text(value), min(max(12, longest // 4 + 4), 24), 5) for value in columns.values]
    beside = [wrapped(text(value), 40, 2) for value in rows.values]
    size = (2 + 0.07 * extent(beside)[0] + m * (0.3 + 0.065 * max(6, extent(over)[0])), 1 + 0.14 * extent(over)[1])
    with drawn(folder, name, 1, (size[0], min(size[1] + 0.36 * n, TALLEST))) as (figure, axes):
        image = axes.imshow(means, cmap="cividis", aspect="auto")
        axes.set_xticks(range(m), over, fontsize=8)
        axes.set_yticks(range(n), beside, fontsize=8)
        axes.set_xlabel(plain(columns.name), fontsize=9)
        axes.set_ylabel(plain(rows.name), fontsize=9)
        middle = (np.nanmin(means) + np.nanmax(means)) / 2 if np.isfinite(means).any() else 0
        for i, j in np.ndindex(n, m) if n * m <= 400 else ():
            if np.isfinite(means[i, j]):
                color = "black" if means[i, j] > middle else "white"
                words = f"{means[i, j]:#.3g}".rstrip(".")
                axes.text(j, i, words, ha="center", va="center", color=color, fontsize=7)
        if np.isfinite(means).any():
            bar = figure.colorbar(image, ax=axes)
            bar.ax.tick_params(labelsize=8)
            bar.set_label(plain(study.metric), fontsize=9)

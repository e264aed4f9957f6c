"""Figures of a study, in palettes that colour-blind readers can tell apart."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from ..stats.paired import Array, moments, t_interval
from ..store import Curves
from ..study import Study, Variant, text

TALLEST = 40.0  # inches
PANELS = 30  # learning curves shown at most
# Okabe & Ito's palette; each verdict has a marker of its own, too.
BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#999999", "#000000"
VERDICTS = {
    "baseline": (ORANGE, "D"),
    "better": (GREEN, "^"),
    "worse": (BLUE, "v"),
    "equivalent": (BLACK, "s"),
    "inconclusive": (GREY, "o"),
}
FORMATS = ("png", "svg")
Column: TypeAlias = "pd.Series[float]"


def intervals_figure(study: Study, trials: pd.DataFrame, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Each variant's mean over the single seeds, and its paired difference from the baseline, with 95 % intervals.

    Args:
        study: The study.
        trials: As in `read_trials`.
        table: As in `benchmarks.stats.summarize`.
        folder: Where the figure goes, as PNG and SVG.
        name: What its files are called, without an ending.
    """
    n = len(table)
    with _figure(folder, name, 2, (9.5, min(1.3 + 0.33 * n, TALLEST)), sharey=True) as (figure, (left, right)):
        places = {variant: place for place, variant in enumerate(table["variant"])}
        seeds = trials[trials["variant"].isin(list(places))][["variant", "value"]].dropna()
        heights = seeds["variant"].map(places) + 0.22
        left.plot(
            seeds["value"], heights, "o", color=GREY, markersize=3, alpha=0.5, markeredgewidth=0, rasterized=n > 100
        )
        left.set_xlabel(f"{_plain(study.metric)}: mean, 95 % t interval, single seeds", fontsize=9)
        right.set_xlabel("Δ from the baseline, paired by seed, 95 % t interval", fontsize=9)
        right.axvline(0, color=BLACK, linewidth=0.8)
        if study.margin:
            right.axvspan(-study.margin, study.margin, color=GREY, alpha=0.2, linewidth=0)
        for verdict, rows in table.groupby("verdict", sort=False):
            color, marker = VERDICTS[str(verdict)]
            at = rows["variant"].map(places)
            for axes, middle, low, high in (
                (left, "mean", "ci_low", "ci_high"),
                (right, "delta", "delta_ci_low", "delta_ci_high"),
            ):
                axes.hlines(at, rows[low], rows[high], colors=color, linewidth=2)
                axes.plot(rows[middle], at, marker, color=color, markersize=6, linestyle="", label=str(verdict))
        step = -(-n // 200)  # more names than this cannot be read
        left.set_yticks(range(0, n, step), table["variant"].iloc[::step].map(_plain), fontsize=9)
        left.set_ylim(n - 0.5, -0.5)
        for axes in (left, right):
            axes.grid(axis="x", alpha=0.3)
            axes.tick_params(axis="x", labelsize=8)
            axes.locator_params(axis="x", nbins=6)
        _crop(left, table["mean"], table["ci_low"], table["ci_high"], float(table["mean"].median()))
        _crop(right, table["delta"], table["delta_ci_low"], table["delta_ci_high"], 0.0, 1.3 * (study.margin or 0))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8, frameon=False)


def _crop(axes: Any, middle: Column, low: Column, high: Column, centre: float, least: float = 0) -> None:
    """Keep a few intervals far off from squeezing all others: the axis ends before them, their middles in words.

    Args:
        axes: Where they are drawn, one a row.
        middle: Their middles.
        low: Their lower ends.
        high: Their upper ends.
        centre: The middle of the axis.
        least: What the axis reaches on both sides at least.
    """
    reach = pd.concat([low.fillna(middle) - centre, high.fillna(middle) - centre], axis=1).abs().max(axis=1)
    bound = max(least, 2.5 * float(reach.quantile(0.6)))
    if not reach.max() > 2 * bound > 0:
        return
    axes.set_xlim(centre - bound, centre + bound)
    for place in np.flatnonzero((middle - centre).abs() > bound):
        left = middle.iloc[place] < centre
        edge, side = (centre - 0.97 * bound, "left") if left else (centre + 0.97 * bound, "right")
        words = f"{middle.iloc[place]:.3g}"
        axes.text(edge, place, f"◂ {words}" if left else f"{words} ▸", ha=side, va="center", fontsize=8)


def curves_figure(
    study: Study, trials: pd.DataFrame, read: Callable[[list[str]], dict[str, Curves]], folder: Path, name: str
) -> bool:
    """Learning curves, a panel a variant, the baseline's mean in each: mean over the seeds with its 95 % t interval.

    A curve ends where fewer than half of the seeds are still training.

    Args:
        study: The study.
        trials: As in `read_trials`.
        read: Gives the curves of trials by their keys.
        folder: Where the figure goes.
        name: What its files are called, without an ending.

    Returns:
        Whether there are curves to show; else there is no file.
    """
    shown = study.compared[:PANELS]
    metric = study.tuning_metric
    bases = {study.baseline_of(variant) for variant in shown}
    rows = trials[trials["variant"].isin({variant.name for variant in shown} | bases) & (trials["status"] == "done")]
    curves = read(list(rows["key"]))
    bands: dict[str, tuple[Array, ...]] = {}
    for name_of_variant, group in rows.groupby("variant", sort=False):
        own = [found[metric] for key in group["key"] if metric in (found := curves.get(key, {}))]
        if own:
            bands[str(name_of_variant)] = _band(own)
    if not bands:
        return False
    columns = min(5, len(shown))
    size = (2.3 * columns + 0.5, 1.9 * math.ceil(len(shown) / columns) + 0.7)
    with _figure(folder, name, (math.ceil(len(shown) / columns), columns), size, sharex=True, sharey=True) as (
        figure,
        panels,
    ):
        panels = np.atleast_1d(panels).ravel()
        for axes, variant in zip(panels, shown, strict=False):
            _draw_curve(axes, study, variant, bands)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel(_plain(metric), fontsize=9)
    return True


def _band(curves: list[list[Any]]) -> tuple[Array, ...]:
    """The mean and its interval, by epoch, over curves of several lengths."""
    longest = max(map(len, curves))
    y = np.full((len(curves), longest), np.nan)
    for row, curve in zip(y, curves, strict=True):
        row[: len(curve)] = [np.nan if value is None else float(value) for value in curve]
    y = y[:, np.isfinite(y).sum(axis=0) * 2 >= len(curves)]
    return moments(y)[1], *t_interval(y)


def _draw_curve(axes: Any, study: Study, variant: Variant, bands: dict[str, tuple[Array, ...]]) -> None:
    base = study.baseline_of(variant)
    if base in bands:
        axes.plot(bands[base][0], color=ORANGE, linestyle="--", linewidth=1)
    if variant.name in bands:
        mean, low, high = bands[variant.name]
        color = ORANGE if variant.name == base else BLUE
        axes.plot(mean, color=color, linewidth=1.5)
        axes.fill_between(range(len(mean)), low, high, color=color, alpha=0.25, linewidth=0)
    name = _plain(variant.name)
    axes.set_title(name if len(name) < 34 else name.replace(", ", ",\n"), fontsize=8)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)


def heatmap_figure(study: Study, table: pd.DataFrame, folder: Path, name: str) -> None:
    """The means of a two-axis grid."""
    rows, columns = study.vary_axes
    means = table["mean"].to_numpy(float).reshape(len(rows.values), len(columns.values))
    if len(columns.values) > len(rows.values):  # higher than wide, so that it is read on a narrow page
        rows, columns, means = columns, rows, means.T
    n, m = means.shape
    with _figure(folder, name, 1, (2.6 + 0.85 * m, min(1.2 + 0.36 * n, TALLEST))) as (figure, axes):
        image = axes.imshow(means, cmap="cividis", aspect="auto")
        axes.set_xticks(range(m), [_plain(text(value)) for value in columns.values], fontsize=8)
        axes.set_yticks(range(n), [_plain(text(value)) for value in rows.values], fontsize=8)
        axes.set_xlabel(_plain(columns.name), fontsize=9)
        axes.set_ylabel(_plain(rows.name), fontsize=9)
        middle = (np.nanmin(means) + np.nanmax(means)) / 2 if np.isfinite(means).any() else 0
        for i, j in np.ndindex(n, m) if n * m <= 400 else ():
            if np.isfinite(means[i, j]):
                color = "black" if means[i, j] > middle else "white"
                axes.text(j, i, f"{means[i, j]:.3f}", ha="center", va="center", color=color, fontsize=7)
        figure.colorbar(image, ax=axes, label=_plain(study.metric))


@contextmanager
def _figure(
    folder: Path, name: str, shape: int | tuple[int, int], size: tuple[float, float], **options: Any
) -> Iterator[tuple[Any, Any]]:
    """A figure with its axes, saved in all formats at the end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows, columns = shape if isinstance(shape, tuple) else (1, shape)
    # The same records make the same file.
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
        yield figure, axes
        for kind in FORMATS:
            temporary = folder / f".{name}.{kind}"
            stamp = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
            figure.savefig(temporary, format=kind, dpi=150, metadata=stamp)
            temporary.replace(folder / f"{name}.{kind}")
        plt.close(figure)


def _plain(name: str) -> str:
    """A name that matplotlib does not take for a formula."""
    return name.replace("$", r"\$")

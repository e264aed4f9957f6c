"""Learning curves of a study."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..records.columns import Column, Curves
from ..stats.paired import Array, moments, t_interval
from ..study.study import Study, Variant
from .canvas import BLUE, ORANGE, drawn, extent, short_ticks, wrapped

PANELS = 30  # maximum number of panels


def curves_figure(
    study: Study, trials: pd.DataFrame, read: Callable[[list[str]], dict[str, Curves]], folder: Path, name: str
) -> bool:
    """Draw learning curves, one panel per variant: mean over seeds with its 95 % t interval, and the baseline's mean.

    A curve ends when fewer than half of the seeds are still training.

    Args:
        study: The study.
        trials: As in `read_trials`.
        read: Returns the curves of trials by their keys.
        folder: Folder of the figure.
        name: File name without extension.

    Returns:
        Whether there were curves to show; if not, no file is written.
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
    titles = [wrapped(variant.name, 36, 3) for variant in shown]
    columns = min(4 if extent(titles)[0] > 24 else 5, len(shown))
    rows_of_panels = math.ceil(len(shown) / columns)
    size = (12 / 5 * columns + 0.5, (1.75 + 0.14 * extent(titles)[1]) * rows_of_panels + 0.7)
    with drawn(folder, name, (rows_of_panels, columns), size, sharex=True, sharey=True) as (figure, panels):
        panels = np.atleast_1d(panels).ravel()
        for place, (axes, variant, title) in enumerate(zip(panels, shown, titles, strict=False)):
            _draw_curve(axes, study, variant, bands)
            axes.set_title(title, fontsize=8)
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=7, labelbottom=place + columns >= len(shown))
        panels[0].xaxis.get_major_locator().set_params(integer=True)
        short_ticks(panels[0].yaxis)
        low, high = _range([mean for mean, *_ in bands.values()], panels[0].get_ylim())
        panels[0].set_ylim(low, high)
        for axes, variant in zip(panels, shown, strict=False):
            mean = bands[variant.name][0] if variant.name in bands else np.empty(0)
            if len(mean) and not low <= mean[-1] <= high:
                axes.text(0.5, 0.06, f"ends at {mean[-1]:.3g}", transform=axes.transAxes, ha="center", fontsize=8)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel(wrapped(metric, 30), fontsize=9)
    return True


def _range(means: Sequence[Array], natural: tuple[float, float]) -> tuple[float, float]:
    """The limits of the y axis around the mean curves, so that wide intervals or outlying curves do not squash them.

    Args:
        means: The mean curves.
        natural: Limits that contain everything drawn.
    """
    finite = [mean[np.isfinite(mean)] for mean in means if np.isfinite(mean).any()]
    if not finite:
        return natural
    ends = np.array([np.quantile(mean, (0.02, 0.98)) for mean in finite])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    core = np.quantile(ends[:, 0], 0.2), np.quantile(ends[:, 1], 0.8)
    if high - low > 20 * (core[1] - core[0]) > 0:
        low, high = core
    reach = 0.25 * (high - low) or np.inf
    return max(natural[0], float(low - reach)), min(natural[1], float(high + reach))


def _band(curves: Sequence[Sequence[Any]]) -> tuple[Array, ...]:
    """The mean and its interval by epoch, over curves of different lengths."""
    longest = max(map(len, curves))
    y = np.full((len(curves), longest), np.nan)
    for row, curve in zip(y, curves, strict=True):
        row[: len(curve)] = Column.of(curve).floats()  # as precise as an archive, which must give the same figure
    y = y[:, np.isfinite(y).sum(axis=0) * 2 >= len(curves)]
    return moments(y)[1], *t_interval(y)


def _draw_curve(axes: Any, study: Study, variant: Variant, bands: dict[str, tuple[Array, ...]]) -> None:
    base = study.baseline_of(variant)
    if base in bands:
        axes.plot(bands[base][0], color=ORANGE, linestyle="--", linewidth=1)
    if variant.name in bands:
        mean, low, high = bands[variant.name]
        color = ORANGE if variant.name == base else BLUE
        axes.plot(mean, color=color, linewidth=1.5, marker="o" if len(mean) == 1 else None)
        axes.fill_between(range(len(mean)), low, high, color=color, alpha=0.25, linewidth=0)

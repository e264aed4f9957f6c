"""Heatmaps of the quantities that diagnosis callbacks measure by layer."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..records.columns import Column, Curves
from ..stats.paired import Array
from ..study.study import Study
from .canvas import drawn, wrapped

PANELS = 12
# Quantities in order of preference (the first one measured is shown), and whether the scale is logarithmic.
QUANTITIES = {
    "gradient_norm": True,
    "dead_units": False,
    "saturated_units": False,
    "activation_std": True,
    "update_ratio": True,
}
SPAN = 14  # maximum number of decades on a logarithmic scale


def layers_figure(
    study: Study, trials: pd.DataFrame, read: Callable[[list[str]], dict[str, Curves]], folder: Path, name: str
) -> bool:
    """Draw a quantity by layer and epoch, one panel per variant on a common scale: means over the available seeds.

    The quantity is the first of `QUANTITIES` that some trial recorded. Cells without a value are white; on a
    logarithmic scale, so are cells without a positive value.

    Args:
        study: The study.
        trials: As in `read_trials`.
        read: Returns the curves of trials by their keys.
        folder: Folder of the figure, saved as PNG and SVG.
        name: File name without extension.

    Returns:
        Whether there was anything to show; if not, no file is written.
    """
    shown = [variant.name for variant in study.compared[:PANELS]]
    rows = trials[trials["variant"].isin(shown) & (trials["status"] == "done")]
    curves = read(list(rows["key"]))
    own = {
        str(variant): [curves[key] for key in group["key"] if key in curves]
        for variant, group in rows.groupby("variant", sort=False)
    }
    names = {column for group in own.values() for curve in group for column in curve}
    there = [quantity for quantity in QUANTITIES if any(column.startswith(f"{quantity}/layer_") for column in names)]
    if not there:
        return False
    quantity = there[0]
    grids = {variant: layer_means(own.get(variant, []), quantity) for variant in shown}
    grids = {variant: grid for variant, grid in grids.items() if grid.size}
    columns = min(3, len(grids))
    lines = math.ceil(len(grids) / columns)
    tallest = max(len(grid) for grid in grids.values())
    size = (2.9 * columns + 1.2, (0.9 + min(0.16 * tallest, 4) + 0.4) * lines + 0.5)
    with drawn(folder, name, (lines, columns), size, sharex=True, squeeze=False) as (figure, panels):
        scale = _scale(list(grids.values()), QUANTITIES[quantity])
        for axes, (variant, grid) in zip(panels.flat, grids.items(), strict=False):
            image = axes.imshow(grid, cmap="cividis", norm=scale, aspect="auto", interpolation="nearest")
            step = -(-len(grid) // 12)
            axes.set_yticks(range(0, len(grid), step), range(1, len(grid) + 1, step))
            axes.locator_params(axis="x", integer=True, nbins=5)
            axes.set_title(wrapped(variant, 36), fontsize=8)
            axes.tick_params(labelsize=7)
        for axes in panels.flat[max(0, len(grids) - columns) : len(grids)]:  # panels with no panel below
            axes.tick_params(labelbottom=True)
        for axes in panels.flat[len(grids) :]:
            axes.set_visible(False)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel("layer, from the input down", fontsize=9)
        figure.colorbar(image, ax=panels.ravel().tolist(), label=quantity.replace("_", " "))
    return True


def layer_means(curves: Iterable[Curves], quantity: str) -> Array:
    """The mean of a quantity over trials, (layers, epochs); NaN if no trial has a value.

    Args:
        curves: The columns of each trial.
        quantity: Name of the quantity, such as `gradient_norm`.
    """
    grids: list[dict[int, Sequence[object]]] = []
    for curve in curves:
        matches = [match for name in curve if (match := re.fullmatch(rf"{quantity}/layer_(\d+)", name))]
        grids.append({int(match[1]): curve[match[0]] for match in matches})
    layers = max((number for grid in grids for number in grid), default=0)
    epochs = max((len(values) for grid in grids for values in grid.values()), default=0)
    stacked = np.full((len(grids), layers, epochs), np.nan)
    for trial, grid in enumerate(grids):
        for number, values in grid.items():
            stacked[trial, number - 1, : len(values)] = Column.of(values).floats()
    known = np.isfinite(stacked)
    counts = known.sum(axis=0)
    sums = np.where(known, stacked, 0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _scale(grids: list[Array], logarithmic: bool) -> Any:
    """One scale for all panels."""
    from matplotlib.colors import LogNorm, Normalize

    values = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
    if not logarithmic:
        return Normalize(0, float(values.max(initial=0)) or 1.0)
    values = values[values > 0]
    if not len(values):
        return Normalize(0, 1)
    high = float(values.max())
    low = max(float(values.min()), high * 10.0**-SPAN)
    return LogNorm(low, high if high > low else low * 10)

"""Figures of a study."""

from pathlib import Path

import pandas as pd

from ..study import Study

TALLEST = 40.0  # inches
# Okabe & Ito's palette, safe for colour-blind readers.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"


def intervals_figure(study: Study, trials: pd.DataFrame, summary: pd.DataFrame, path: Path) -> None:
    """Each variant's mean with its 95 % interval, over the single seeds; the baseline in orange.

    Args:
        study: The study.
        trials: As in `trials_table`.
        summary: As in `benchmarks.stats.summarize`.
        path: Where the figure goes; its ending says the format.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n = len(summary)
    places = {name: place for place, name in enumerate(summary["variant"])}
    figure, axes = plt.subplots(figsize=(7, min(1.2 + 0.35 * n, TALLEST)), layout="constrained")
    seeds = trials[["variant", "value"]].dropna()
    heights = seeds["variant"].map(places) + 0.25
    axes.plot(seeds["value"], heights, "o", color=GREY, markersize=4, alpha=0.6, markeredgewidth=0, rasterized=n > 100)
    colors = [ORANGE if name == study.baseline_name else BLUE for name in summary["variant"]]
    axes.hlines(range(n), summary["ci_low"], summary["ci_high"], colors=colors, linewidth=2)
    axes.scatter(summary["mean"], range(n), c=colors, marker="D", s=36, zorder=3)
    step = -(-n // 200)  # more names than this cannot be read
    axes.set_yticks(range(0, n, step), summary["variant"].iloc[::step].map(_plain))
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_xlabel(f"{_plain(study.metric)}: mean, 95 % t interval, single seeds in grey")
    axes.set_title(f"{study.name} (baseline {_plain(study.baseline_name)} in orange)", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata={"Software": None})
    temporary.replace(path)
    plt.close(figure)


def _plain(name: str) -> str:
    """A name that matplotlib does not take for a formula."""
    return name.replace("$", r"\$")

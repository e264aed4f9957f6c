"""Figures of a study."""

from pathlib import Path

import pandas as pd

from ..study import Study

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

    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.35 * len(summary)), layout="constrained")
    for place, row in enumerate(summary.to_dict("records")):
        color = ORANGE if row["variant"] == study.baseline_name else BLUE
        seeds = trials.loc[trials["variant"] == row["variant"], "value"]
        axes.plot(seeds, [place + 0.25] * len(seeds), "o", color=GREY, markersize=4, alpha=0.6, markeredgewidth=0)
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], "-", color=color, linewidth=2)
        axes.plot(row["mean"], place, "D", color=color, markersize=6)
    axes.set_yticks(range(len(summary)), summary["variant"])
    axes.invert_yaxis()
    axes.set_xlabel(f"{study.metric}: mean, 95 % t interval, single seeds in grey")
    axes.set_title(f"{study.name} (baseline {study.baseline_name} in orange)", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=150, metadata={"Software": None} if path.suffix == ".png" else None)
    plt.close(figure)

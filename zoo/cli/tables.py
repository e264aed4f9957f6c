"""A run's metrics as tables in the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from ..parts.metric_names import THROUGHPUT, is_diagnosis
from .console import Console
from .process import printable


def print_metrics(metrics: dict[str, float | None], title: str) -> None:
    """Print tables of metrics by split, of throughput, and of diagnosis metrics by layer."""
    known = ("test", "val", "train", "train_eval", "gap")
    splits = [split for split in known if any(name.startswith(f"{split}/") for name in metrics)]
    table = Table("metric", *splits, title=Text(printable(title)), box=box.SIMPLE_HEAD)
    for name in dict.fromkeys(name.partition("/")[2] for name in metrics if name.partition("/")[0] in splits):
        row = (metrics.get(f"{split}/{name}") for split in splits)
        table.add_row(name, *("" if value is None else f"{value:.4f}" for value in row))
    Console().print(table)
    if timed := {name: value for name in THROUGHPUT if (value := metrics.get(name)) is not None}:
        table = Table("throughput", "", box=box.SIMPLE_HEAD)
        for name, value in timed.items():
            table.add_row(name, f"{value:,.0f}" if value >= 100 else f"{value:.4g}")
        Console().print(table)
    diagnosed: dict[str, list[str]] = {}
    for name in filter(is_diagnosis, metrics):
        value = metrics[name]
        if not name.startswith("init/"):
            diagnosed.setdefault(name.partition("/layer_")[0], []).append("–" if value is None else f"{value:.3g}")
    if not diagnosed:
        return
    table = Table("diagnosis", "by layer", box=box.SIMPLE_HEAD)
    for name, values in sorted(diagnosed.items()):
        table.add_row(name, "  ".join(values))
    Console().print(table)

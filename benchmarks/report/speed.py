"""Time and memory of a study's trials, by hardware, as measured by the callback `throughput`."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import pandas as pd

from zoo.plain import canonical

from ..records.outcome import judge
from ..records.record_file import Record
from ..records.stored import StoredTrial
from ..stats.speed import MEASURED, RATE, speed_table
from ..study.study import Study

DEVICES = ("devices", "num_nodes", "strategy", "sync_batchnorm")  # trainer flags that set the number of devices
# Columns that a LaTeX table may drop, the last one first.
SPARE = ("memory, MiB", "step, ms", "data, ms", "validation, ms", "least to most", "least to most ×")
HEADER: tuple[str, ...] = (
    "variant",
    "n",
    "devices",
    "samples/s",
    "least to most",
    "× baseline",
    "least to most ×",
    "efficiency",
)
HEADER += ("step, ms", "data, ms", "validation, ms", "start-up, s", "memory, MiB", "GPU memory, MiB")
SCALES = {"step_seconds": 1e3, "data_seconds": 1e3, "validation_seconds": 1e3, "startup_seconds": 1.0}
SCALES |= {"peak_memory_bytes": 2.0**-20, "peak_gpu_memory_bytes": 2.0**-20}


def read_speed(study: Study, stored: Iterable[StoredTrial]) -> pd.DataFrame | None:
    """See `speed_table`; None if the study does not compare samples per second, or no trial measured them.

    Args:
        study: The study.
        stored: Its trials with their records.
    """
    if RATE not in (study.metric, *study.further_metrics):
        return None
    names, rows = {variant.name for variant in study.compared}, []
    for trial in stored:
        record = trial.record
        if record is None or trial.variant.name not in names or judge(record, study.metric)[0] != "done":
            continue
        if record["metrics"].get(RATE) is not None:
            rows.append({"variant": trial.variant.name, "seed": trial.seed, **_measured(record)})
    types: dict[Hashable, Any] = dict.fromkeys(MEASURED, float)
    return speed_table(study, pd.DataFrame(rows).astype(types)) if rows else None


def _measured(record: Record) -> dict[str, Any]:
    metrics, config = record["metrics"], dict(record["config"])
    config.pop("seed_everything", None)
    config["trainer"] = {k: v for k, v in config.get("trainer", {}).items() if k not in DEVICES}
    return {
        "hardware": hardware(record),
        "devices": (record.get("environment") or {}).get("world_size") or 1,
        "family": canonical(config),
        **{name: metrics.get(name) for name in MEASURED},
    }


def hardware(record: Record) -> str:
    """The hardware of a record that affects speed, in words."""
    where = record.get("environment") or {}
    gpus = [f"{n} × {name}" if n > 1 else name for name, n in Counter(where.get("gpus") or []).items()]
    threads = where.get("threads") or 0
    own = f"{threads} thread{'s' * (threads != 1)} a process"
    return ", ".join([where.get("cpu") or "unknown CPU", f"{where.get('cores')} cores", own, *(gpus or ["no GPU"])])


def speed_grids(table: pd.DataFrame) -> Iterator[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, header, rows and notes of one table per hardware; speeds on different hardware are never mixed."""
    header = list(HEADER if table["peak_gpu_memory_bytes"].notna().any() else HEADER[:-1])
    for place, (name, block) in enumerate(table.groupby("hardware", sort=False)):
        rows = [_row(row)[: len(header)] for row in block.to_dict("records")]
        yield f"Speed on {name}", header, rows, _notes(table) if not place else []


def _row(row: dict[Hashable, Any]) -> list[str]:
    return [
        *(row["variant"], str(row["n"]), str(row["devices"])),
        *(_short(row[RATE]), _range(row[f"{RATE}_min"], row[f"{RATE}_max"])),
        *(_short(row["relative"]), _range(row["relative_min"], row["relative_max"]), _short(row["efficiency"])),
        *(_short(row[name] * scale) for name, scale in SCALES.items()),
    ]


def _notes(table: pd.DataFrame) -> list[str]:
    lines = [
        "Medians over the seeds, with minimum and maximum. × baseline is the ratio to the speed of the variant's "
        "baseline at the same seed on the same hardware; efficiency is the ratio of the samples per second on N "
        "devices to N times those on one device.",
        "The first epoch is excluded unless the study sets it otherwise. A step includes everything for one batch "
        "except waiting for its data. Start-up is the time from the call of training to the end of the first step, "
        "including starting other processes and compiling. Memory is the peak of the process that uses most.",
        "Speeds are comparable only if trials ran one at a time, which is the default of `bench run` for studies that "
        "measure time.",
    ]
    if (kinds := table["hardware"].nunique()) > 1:
        lines.append(f"The records come from {kinds} kinds of hardware; each has its own table.")
    return lines


def _short(value: float) -> str:
    """A number with three significant digits, or as an integer from 100 on; empty if missing."""
    return "" if pd.isna(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _range(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"{_short(low)} to {_short(high)}"

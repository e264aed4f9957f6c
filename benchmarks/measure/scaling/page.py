"""The results of `python -m benchmarks.measure.scaling` as a page."""

from typing import Any

from .measure import KINDS

Found = dict[str, Any]


def page(found: Found) -> str:
    """The whole page as Markdown."""
    here = found["environment"]
    parts = [
        "# Scaling",
        f"{here['cpu']}, {here['cores']} cores, {here['platform']}, Python {here['python']}. Medians of "
        f"{found['rounds']['phases']} rounds ({found['rounds']['curve']} for one and two workers), minimum to maximum "
        "in brackets. CPU seconds hardly depend on the load of the machine; wall times do, so they are given together "
        "with the load.",
        *_phases(found),
        *_journals(found),
        *_operations(found),
        *_rates(found),
        *_curve(found),
        *_simulations(found),
        _made_by(found),
    ]
    return "\n\n".join(parts) + "\n"


def _made_by(found: Found) -> str:
    """The commands that made the parts."""
    parts: dict[str, list[str]] = {}
    for part, arguments in found["arguments"].items():
        parts.setdefault(arguments, []).append(part)
    simulated = f"--workers {found['workers']} --trials {found['trials']}"
    whole = [
        f"`python -m benchmarks.measure.scaling {given} {simulated}` ({', '.join(names)})"
        for given, names in parts.items()
    ]
    return f"Made by {'; '.join(whole)}."


def _phases(found: Found) -> list[str]:
    names = list(found["phases"][0]["cpu"])
    rows = [
        [f"{one['trials']:,}", *(_micro(one, name) for name in names), f"{one['mib']:.0f}"] for one in found["phases"]
    ]
    words = (
        "CPU microseconds per `noop` trial with one worker. *run* is the driver's work while workers "
        "compute, *workers* the workers' overhead; *look up* is the first lookup in the store, *look up "
        "again* the lookup in a finished one."
    )
    header = ["trials", *names, "driver's MiB"]
    return ["## CPU cost of a trial to the driver and a worker", words, table(header, rows)]


def _journals(found: Found) -> list[str]:
    rows = [
        [f"{one['trials']:,}", f"{one['tasks']:,}", _micro(one, "driver"), _micro(one, "submit")]
        for one in found["journals"]
    ]
    words = (
        "The same with `--engine slurm`, with tasks that end immediately: *driver* is dividing the "
        "trials, reading the journals and passing outcomes on; *submit* is pickling the tasks, without sbatch."
    )
    return [words, table(["trials", "tasks", "driver", "submit"], rows)]


def _operations(found: Found) -> list[str]:
    names = {"worker": "a worker, while it runs", "driver": "the driver, while they run", "report": "a report"}
    kinds = [*KINDS, "change of trials/"]
    rows = [[names[who], *(f"{counts[kind]:.2f}" for kind in kinds)] for who, counts in found["operations"].items()]
    words = (
        "System calls per trial on paths in the study's folder, counted with strace: the difference between studies of "
        "120 and of 20 `noop` trials. *change of trials/* (a part of *change*) counts entries added to or removed from "
        "the folder of all trials."
    )
    return ["## Operations on the file system", words, table(["by", *kinds], rows)]


def _rates(found: Found) -> list[str]:
    rates = found["rates"]
    rows = [
        [f"{entries:,}", *(f"{rates[kind][n]:,.0f}" for kind in KINDS), f"{1000 * rates['list_seconds'][n]:.1f}"]
        for n, entries in enumerate(rates["entries"])
    ]
    words = (
        "Synchronous operations per second of one process, by number of entries in the folder, on this disk; a sync "
        "follows a write of the size of a record"
    )
    return [
        words + _load(found, "rates"),
        table(["entries", *KINDS, "ms to list it"], rows),
    ]


def _curve(found: Found) -> list[str]:
    rows = [
        [
            one["what"],
            *(_spread([pair[n] for pair in one["rates"]], "{:.3g}") for n in (0, 1)),
            _spread(one["ratios"], "{:.2f}"),
            *(_spread([1000 * pair[n] for pair in one["cpu"]], "{:.3g}") for n in (0, 1)),
        ]
        for one in found["curve"]
    ]
    words = (
        "Trials per second (wall time) with warm workers, alternating in one run, with the ratio per round; and CPU "
        "milliseconds per trial of driver and workers together"
    )
    header = ["study", "1 worker", "2 workers", "ratio", "CPU ms, 1 worker", "CPU ms, 2 workers"]
    return [
        "## One and two workers",
        words + _load(found, "curve"),
        table(header, rows),
    ]


def _simulations(found: Found) -> list[str]:
    ways = {False: "driver assigns each trial", True: "fixed share per worker"}
    rows = [
        [
            one["system"],
            ways[one["batched"]],
            f"{one['duration']:g}",
            f"{one['seconds']:,.0f}",
            *(f"{one[name]:.0%}" for name in ("workers", "driver", "server", "folder")),
            one["bottleneck"],
        ]
        for one in found["simulations"]
    ]
    words = (
        "Simulated, not run, with first-come, first-served queues and the costs above for the largest study. The first "
        "way uses the driver's cost with one local worker, which is a lower bound: `--engine local` checks all of its "
        "workers at each event, and the cost of Ray's driver was not measured. The second is that of `--engine slurm`, "
        "where a journal is one more file to open. Columns are the fractions of time in which workers ran trials, and "
        "the driver, the server and the folder `trials/` were busy. This disk uses the rates above; assumed servers "
        "perform 20,000 and 2,000 operations per second, and 5,000 and 500 changes per second in one folder."
    )
    header = [
        "file system",
        "way",
        "seconds per trial",
        "total seconds",
        "workers",
        "driver",
        "server",
        "folder",
        "bottleneck",
    ]
    title = f"## {found['workers']:,} workers and {found['trials']:,} trials"
    return [title, words, table(header, rows)]


def _load(found: Found, part: str) -> str:
    """The load of the machine as the end of a sentence; it includes the measured processes."""
    before, after = found["load"][part]
    return f"; load average {before:.1f} before and {after:.1f} after."


def _micro(one: Found, name: str) -> str:
    """CPU microseconds per trial."""
    low, high = (1e6 * seconds / one["trials"] for seconds in one["ranges"][name])
    return f"{1e6 * one['cpu'][name] / one['trials']:,.0f} ({low:,.0f} to {high:,.0f})"


def _spread(values: list[float], form: str) -> str:
    middle = sorted(values)[len(values) // 2]
    return f"{form.format(middle)} ({form.format(min(values))} to {form.format(max(values))})"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with numbers aligned right."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))

"""The page of what `python -m benchmarks.measure.scaling` has found."""

from typing import Any

from .measure import KINDS

Found = dict[str, Any]


def page(found: Found) -> str:
    """All of it, as Markdown."""
    here = found["environment"]
    parts = [
        "# Scaling",
        f"{here['cpu']}, {here['cores']} cores, {here['platform']}, Python {here['python']}. Medians of "
        f"{found['rounds']['phases']} rounds ({found['rounds']['curve']} for one worker and two), lowest to highest in "
        "brackets. CPU seconds hardly depend on what else the machine does, "
        "seconds on a clock do; where they are told, so is the machine's load.",
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
    """The command, or those that made each part."""
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
        "CPU microseconds a trial, of `noop` trials on one worker. *run* is what the driver does while workers "
        "compute, *workers* is theirs, beside the trial itself; *look up* is the first look into the store, *look up "
        "again* that into a finished one."
    )
    header = ["trials", *names, "driver's MiB"]
    return ["## What a trial costs the driver and a worker", words, table(header, rows)]


def _journals(found: Found) -> list[str]:
    rows = [
        [f"{one['trials']:,}", f"{one['tasks']:,}", _micro(one, "driver"), _micro(one, "submit")]
        for one in found["journals"]
    ]
    words = (
        "The same with `--engine slurm`, whose tasks are here taken to have ended at once: *driver* divides the "
        "trials, reads the tasks' journals and passes outcomes on, *submit* pickles the tasks; sbatch is not in it."
    )
    return [words, table(["trials", "tasks", "driver", "submit"], rows)]


def _operations(found: Found) -> list[str]:
    names = {"worker": "a worker, while it runs", "driver": "the driver, while they run", "report": "a report"}
    kinds = [*KINDS, "change of trials/"]
    rows = [[names[who], *(f"{counts[kind]:.2f}" for kind in kinds)] for who, counts in found["operations"].items()]
    words = (
        "System calls on paths below the study's folder a trial, counted by strace: the difference between studies of "
        "120 and of 20 `noop` trials. *change of trials/*, part of *change*, are entries that come or go in the one "
        "folder of all trials."
    )
    return ["## Operations on the file system", words, table(["by", *kinds], rows)]


def _rates(found: Found) -> list[str]:
    rates = found["rates"]
    rows = [
        [f"{entries:,}", *(f"{rates[kind][n]:,.0f}" for kind in KINDS), f"{1000 * rates['list_seconds'][n]:.1f}"]
        for n, entries in enumerate(rates["entries"])
    ]
    words = (
        "Operations a second of one process that waits for each, in a folder of so many entries on this disk; a sync "
        "has written a record's size before"
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
        "Trials a second on the clock, workers warm, both by turns in one run, the ratio round by round; and CPU "
        "milliseconds a trial, of driver and workers together"
    )
    header = ["study", "1 worker", "2 workers", "ratio", "CPU ms, 1 worker", "CPU ms, 2 workers"]
    return [
        "## One worker and two",
        words + _load(found, "curve"),
        table(header, rows),
    ]


def _simulations(found: Found) -> list[str]:
    ways = {False: "the driver hands out each", True: "each worker has its share"}
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
        "Simulated, not run: everybody serves in turn, at the costs above for the largest study. The first way takes "
        "the driver's cost with one local worker, which is a lower bound: `--engine local` looks at all of its workers "
        "at each event, and what Ray's driver costs was not measured. The second is that of `--engine slurm`, where a "
        "journal is one file more to open. Columns say which share of the time the workers ran trials, and the driver, "
        "the server and the folder `trials/` were busy. This disk does each kind of operation at its rate above; the "
        "assumed servers do 20,000 and 2,000 of any kind a second, and 5,000 and 500 changes in one folder."
    )
    header = [
        "file system",
        "way",
        "seconds a trial",
        "seconds in all",
        "workers",
        "driver",
        "server",
        "folder",
        "at its limit",
    ]
    title = f"## {found['workers']:,} workers and {found['trials']:,} trials"
    return [title, words, table(header, rows)]


def _load(found: Found, part: str) -> str:
    """The load of the machine, as the end of a sentence; what is measured is in it, too."""
    before, after = found["load"][part]
    return f"; load of the machine {before:.1f} before and {after:.1f} after."


def _micro(one: Found, name: str) -> str:
    """CPU microseconds a trial."""
    low, high = (1e6 * seconds / one["trials"] for seconds in one["ranges"][name])
    return f"{1e6 * one['cpu'][name] / one['trials']:,.0f} ({low:,.0f} to {high:,.0f})"


def _spread(values: list[float], form: str) -> str:
    middle = sorted(values)[len(values) // 2]
    return f"{form.format(middle)} ({form.format(min(values))} to {form.format(max(values))})"


def table(header: list[str], rows: list[list[str]]) -> str:
    """As Markdown, numbers to the right."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))

"""The report as a readable page."""

from collections import Counter
from typing import Any

from .rows import BAD, STATUSES, Row

# Words for the page, by check.
TITLES = {
    "models": "Models by Lightning",
    "flags": "Flags and callbacks",
    "compiled": "Compiled nets",
    "commands": "Commands and checkpoints",
    "packs": "Packs",
    "strategies": "The study strategies",
    "table": "Cost of a trial in a pack",
}


def page(report: dict[str, Any]) -> str:
    """The report as Markdown.

    Args:
        report: The contents of gpu.json; see `__main__`.
    """
    rows = [(check["name"], Row(**row)) for check in report["checks"] for row in check["rows"]]
    counts = Counter(row.status for _, row in rows)
    counted = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    parts = ["# Checks on a GPU", _where(report), f"{counted or 'no rows'}, in {report['seconds']:.0f} s."]
    bad = [f"- {check}: {row.name}: {row.status}. {row.note}".rstrip() for check, row in rows if row.status in BAD]
    parts.append("## What differs or failed\n\n" + ("\n".join(bad) or "Nothing."))
    for check in report["checks"]:
        own = [row for name, row in rows if name == check["name"]]
        parts += [f"## {TITLES[check['name']]}", f"{check['seconds']:.0f} s.", _table(own) if own else "No rows yet."]
    parts.append(
        "*passed* and *differs*: the value is within its limit, or not; the limits are constants in "
        "`benchmarks/measure/gpu/`, with their reasons. *reported*: a value without a limit. "
        "Losses: the largest relative difference of any epoch's training or validation loss.\n\n"
        "Made by `python -m benchmarks.measure.gpu`; [docs/gpu.md](../../docs/gpu.md) describes it."
    )
    return "\n\n".join(parts) + "\n"


def _where(report: dict[str, Any]) -> str:
    where = report["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    card = report["card"]
    device = (
        f"{card['name']}, {card['memory_gib']:.0f} GiB, compute capability {card['capability']}, CUDA {card['cuda']}, "
        f"driver {card['driver']}"
        if card
        else "No GPU: the CPU takes its place, so that only the checks themselves were tested"
    )
    commit = f"commit {where['git']['commit'] or 'unknown'}"
    small = " In miniature (`--small`)." if report["small"] else ""
    return (
        f"{device}. {where['cpu']}, {where['cores']} cores, {where['platform']}, Python {where['python']}, {packages}; "
        f"{commit}, code version {where['code_version']}.{small}"
    )


def _table(rows: list[Row]) -> str:
    lines = ["| what | status | value | limit | |", "|---|---|--:|--:|---|"]
    for row in rows:
        cells = [row.name, row.status, _number(row.value), _number(row.limit), row.note]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _number(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.3g}"

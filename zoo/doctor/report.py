"""Output of findings, as a table or as JSON."""

import json
from collections import Counter
from collections.abc import Sequence

from .findings import Finding, Level

STYLES: dict[Level, str] = {"ok": "green", "remark": "yellow", "broken": "bold red"}


def print_findings(findings: Sequence[Finding], title: str) -> None:
    """Print one row per check, followed by the suggested change if it is not ok."""
    from rich.table import Table
    from rich.text import Text

    from ..cli.console import Console
    from ..cli.process import printable

    counts = Counter(finding.level for finding in findings)
    console = Console(highlight=False)
    console.print(Text(f"{title}: {', '.join(f'{counts[level]} {level}' for level in STYLES if counts[level])}"))
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        text = Text(printable(finding.measured))
        if finding.level != "ok":
            text.append(f"\n{printable(finding.why)}").append(f"\n→ {printable(finding.change)}", style="bold")
        table.add_row(Text(finding.level, style=STYLES[finding.level]), Text(finding.check), text)
    console.print(table)


def as_json(findings: Sequence[Finding]) -> str:
    """Format the findings as a JSON list."""
    return json.dumps([finding.as_dict() for finding in findings], indent=2)

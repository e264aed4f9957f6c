"""What stands in a folder of studies, in one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..study.study import Study
from .markup import sentence

OPENING = "# Results\n\nMade by `bench report "  # by which its own README.md is known


def index(folder: Path, reports: Sequence[tuple[str, Study, int, dict[str, Any]]]) -> str:
    """`README.md` of a folder of studies: a line a study, with what it found in words.

    Args:
        folder: The folder; what else lies there with a Markdown file is named, too.
        reports: Of each study its folder's name, itself, the number of its trials and its summary (see `tables`).
    """
    lines = [
        f"{OPENING}{folder.resolve().name}/` from the records that lie beside each table. It also writes each "
        "study's `report.html`, with figures, provenance and the command that runs each row again; "
        "`bench verify` runs some trials again.",
        "",
        "| study | question | what came out | trials |",
        "| --- | --- | --- | --: |",
    ]
    for name, study, trials, summary in reports:
        found = f"`{study.metric}`: {summary['finding']}"
        if "finding_tuned" in summary:
            found += f" Each at its own best {' and '.join(map(_short, study.tune))}: {summary['finding_tuned']}"
        cells = (f"[{name}]({name}/table.md)", study.question, found, f"{trials:,}")
        lines.append(f"| {' | '.join(sentence(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    others = sorted({path.parent.name for path in folder.glob("*/*.md")} - {name for name, *_ in reports})
    if others:
        lines += ["", "Also here: " + ", ".join(f"[{name}]({name}/)" for name in others) + "."]
    return "\n".join(lines) + "\n"


def _short(name: str) -> str:
    return name.rpartition(".")[2]

"""The index of a folder of studies, as one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..study.study import Study
from .markup import sentence

OPENING = "# Results\n\nMade by `bench report "  # identifies a README.md that was written by `bench report`


def index(folder: Path, reports: Sequence[tuple[str, Study, int, dict[str, Any]]]) -> str:
    """`README.md` of a folder of studies: one row per study, with its finding.

    Args:
        folder: The folder. Other folders in it that contain a Markdown file are linked below the table.
        reports: For each study: the name of its folder, the study, its number of trials, its summary (see `tables`).
    """
    lines = [
        f"{OPENING}{folder.resolve().name}/` from the records next to each table. It also writes each study's "
        "`report.html`, with figures, provenance and the command that reruns each row; `bench verify` reruns a sample "
        "of trials and compares them with their records.",
        "",
        "| study | question | finding | trials |",
        "| --- | --- | --- | --: |",
    ]
    for name, study, trials, summary in reports:
        found = f"`{study.metric}`: {summary['finding']}"
        if "finding_tuned" in summary:
            found += f" With the best {' and '.join(map(_short, study.tune))} of each: {summary['finding_tuned']}"
        cells = (f"[{name}]({name}/table.md)", study.question, found, f"{trials:,}")
        lines.append(f"| {' | '.join(sentence(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    others = sorted({path.parent.name for path in folder.glob("*/*.md")} - {name for name, *_ in reports})
    if others:
        lines += ["", "Also here: " + ", ".join(f"[{name}]({name}/)" for name in others) + "."]
    return "\n".join(lines) + "\n"


def _short(name: str) -> str:
    return name.rpartition(".")[2]

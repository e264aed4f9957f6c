"""The index of a folder of studies, as one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..study.study import Study
from .markup import escaped, sentence

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
        texts = (sentence(text).replace("|", r"\|") for text in (study.question, found))
        lines.append(f"| {' | '.join((_link(name, 'table.md'), *texts, f'{trials:,}'))} |")
    others = sorted({path.parent.name for path in folder.glob("*/*.md")} - {name for name, *_ in reports})
    if others:
        lines += ["", "Also here: " + ", ".join(_link(name) for name in others) + "."]
    return "\n".join(lines) + "\n"


def _link(folder: str, file: str = "") -> str:
    return f"[{escaped(folder)}]({quote(folder)}/{file})"


def _short(name: str) -> str:
    return name.rpartition(".")[2]

"""What a study's records look like to people: tables and figures, all derived, all rebuilt at will."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from zoo.files import write_atomically

from ..stats import summarize
from ..store import Record
from ..study import Study
from .figures import intervals_figure
from .tables import markdown_table, trials_table


def write_report(study: Study, records: Sequence[Record], folder: Path) -> pd.DataFrame:
    """Write trials.csv, table.csv, table.md and figure.png; return the table, one row a variant."""
    trials = trials_table(study, records)
    summary = summarize(study, trials)
    write_atomically(folder / "trials.csv", trials.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / "table.csv", summary.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / "table.md", markdown_table(study, summary, trials["seed"].nunique()))
    intervals_figure(study, trials, summary, folder / "figure.png")
    return summary

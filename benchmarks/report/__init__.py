"""What a study's records look like to people: tables and figures, all derived, all rebuilt at will."""

import pandas as pd

from zoo.files import write_atomically

from ..store import RECORDS, Store
from ..study import Study
from .figures import intervals_figure
from .tables import markdown_table, trials_table

DERIVED = ("trials.csv", "table.csv", "table.md", "figure.png")


def read_report(store: Store) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The trials and the table of a report that is newer than all records; None if there is none."""
    sources = [store.folder / name for name in ("study.yaml", "plan.json", "trials", RECORDS)]
    try:
        oldest = min((store.folder / name).stat().st_mtime_ns for name in DERIVED)
    except FileNotFoundError:
        return None
    if any(source.stat().st_mtime_ns >= oldest for source in sources if source.exists()):
        return None
    text = dict.fromkeys(("variant", "status", "reason"), str)  # a variant may be called none, or 1
    trials, table = (pd.read_csv(store.folder / name, converters=text) for name in DERIVED[:2])
    return trials, table


def write_report(study: Study, store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the derived files; return the trials and the table, one row a variant.

    Raises:
        InputError: The store does not hold this study.
    """
    from ..stats import summarize  # scipy takes a second or two, which reading a report need not wait for

    trials, folder = trials_table(study, store), store.folder
    summary = summarize(study, trials)
    write_atomically(folder / "trials.csv", trials.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / "table.csv", summary.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / "table.md", markdown_table(study, summary))
    intervals_figure(study, trials, summary, folder / "figure.png")
    return trials, summary

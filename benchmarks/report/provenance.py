"""Provenance of a study: code, packages and hardware of all its trials."""

from collections import Counter

from ..records.agreement import background, facts
from ..records.record_file import Record
from ..study.study import text


class Provenance:
    """Collects code, packages and hardware from the records of trials.

    Attributes:
        facts: Maps each recorded fact to the number of trials with each value.
        train_seconds: Total training time of all trials.
    """

    def __init__(self) -> None:
        self.facts: dict[str, Counter[str]] = {}
        self.train_seconds = 0.0
        self._started: list[str] = []

    def add(self, record: Record) -> None:
        """Add a trial's record; a trial that has not run is ignored."""
        if not record.get("environment"):
            return
        for name, value in (facts(record) | background(record)).items():
            self.facts.setdefault(name, Counter())[text(value)] += 1
        self.train_seconds += record.get("train_seconds") or 0.0
        if "started" in record:
            self._started.append(record["started"])

    @property
    def period(self) -> str:
        """Start of the first and the last trial in UTC, to the minute; empty without trials."""
        days = (
            [moment[:16].replace("T", " ") for moment in (min(self._started), max(self._started))]
            if self._started
            else []
        )
        return " to ".join(dict.fromkeys(days))

    def rows(self) -> list[tuple[str, str]]:
        """Each fact with its values, and the number of trials with each value if there are several."""
        rows = []
        for name, counts in self.facts.items():
            if set(counts) == {"None"}:  # a task that does not train
                continue
            values = [value if len(counts) == 1 else f"{value} ({n} trials)" for value, n in counts.most_common()]
            rows.append((name, "; ".join(values)))
        return rows

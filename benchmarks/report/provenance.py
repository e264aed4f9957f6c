"""What ran where, over all trials of a study."""

from collections import Counter

from ..records.agreement import background, facts
from ..records.reading import Record
from ..study.study import text


class Provenance:
    """Counts what the records of trials say of code, packages and hardware.

    Attributes:
        facts: What was recorded, to how many trials say which value.
        train_seconds: Of all trials together.
    """

    def __init__(self) -> None:
        self.facts: dict[str, Counter[str]] = {}
        self.train_seconds = 0.0
        self._started: list[str] = []

    def add(self, record: Record) -> None:
        """Take in a trial's record; one that has not run says nothing."""
        if "environment" not in record:
            return
        for name, value in (facts(record) | background(record)).items():
            self.facts.setdefault(name, Counter())[text(value)] += 1
        self.train_seconds += record.get("train_seconds") or 0.0
        self._started.append(record["started"])

    @property
    def period(self) -> str:
        """When the first and the last trial started, in UTC, to the minute; empty without trials."""
        days = (
            [moment[:16].replace("T", " ") for moment in (min(self._started), max(self._started))]
            if self._started
            else []
        )
        return " to ".join(dict.fromkeys(days))

    def rows(self) -> list[tuple[str, str]]:
        """Each fact with its values, and how many trials say which where they do not agree."""
        rows = []
        for name, counts in self.facts.items():
            if set(counts) == {"None"}:  # of a task that trains nothing
                continue
            values = [value if len(counts) == 1 else f"{value} ({n} trials)" for value, n in counts.most_common()]
            rows.append((name, "; ".join(values)))
        return rows

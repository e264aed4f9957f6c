"""The rows of a report: what was compared, the measured value, its limit, and whether it is within."""

import json
import math
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

STATUSES = ("passed", "differs", "failed", "skipped", "reported")
BAD = ("differs", "failed")


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes:
        name: What was compared or measured.
        status: `passed` or `differs` for a value with a limit, `reported` for one without, `failed` for an exception,
            `skipped` if it was not run.
        value: The measured value; None if there is none. Infinity and NaN are text, because JSON has neither.
        limit: The largest value that passes; None if there is none.
        note: The reason, or other numbers.
        values: Other numbers by name, for programs.
    """

    name: str
    status: str
    value: float | str | None = None
    limit: float | None = None
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


class Findings:
    """Collects rows, also from several threads; each is written to a file at once, so a kill loses nothing.

    Args:
        file: A file of JSON lines.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()

    def add(self, row: Row) -> None:
        """Write a row."""
        with self._lock, self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row), allow_nan=False) + "\n")

    def compare(self, name: str, value: float, limit: float, note: str = "", **values: float) -> None:
        """Write whether a difference is at most its limit; NaN is not."""
        status = "passed" if value <= limit else "differs"
        self.add(Row(name, status, value if math.isfinite(value) else str(value), limit, note, values))

    def require(self, name: str, fact: bool, note: str = "") -> None:
        """Write whether something that must be so is so."""
        self.add(Row(name, "passed" if fact else "differs", note=note))

    def report(self, name: str, value: float | str, note: str = "", **values: float) -> None:
        """Write a value that has no limit."""
        finite = isinstance(value, str) or math.isfinite(value)
        self.add(Row(name, "reported", value if finite else str(value), note=note, values=values))

    def skip(self, name: str, reason: str) -> None:
        """Write why something was not run."""
        self.add(Row(name, "skipped", note=reason))

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """An exception in this context becomes a row, and the check goes on."""
        try:
            yield
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            traceback.print_exc()  # to the log
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self.add(Row(name, "failed", note=f"{text[:600]} ({Path(place.filename).name}, line {place.lineno})"))


def read_rows(file: Path) -> list[Row]:
    """The rows of a file that another process may still be writing."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []  # the last may be incomplete
    return [Row(**json.loads(line)) for line in lines]

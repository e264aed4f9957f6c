"""Progress of a running study: a live table in a terminal, one line per trial otherwise."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from zoo.cli.process import printable

from ..records.record_file import Record
from .plan import Plan, Trial

if TYPE_CHECKING:
    from rich.table import Table


class View:
    """Counts and means of each variant while its trials finish.

    Args:
        plan: The study's trials.
        records: Trials with a final record from earlier runs.
        pending: Number of trials to run now.
    """

    def __init__(self, plan: Plan, records: Iterable[tuple[Trial, Record]], pending: int) -> None:
        self.plan = plan
        self.pending = pending
        self.start = time.monotonic()
        self.came = 0
        self.statuses: dict[str, Counter[str]] = {variant.name: Counter() for variant in plan.study.variants}
        self.sums = dict.fromkeys(self.statuses, 0.0)
        for trial, record in records:
            self._count(trial, record, 1)
        self.last: dict[str, Record] = {}  # crashed trials, which may be retried

    def __enter__(self) -> "View":
        self._live = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            # The table is built only when it is drawn, four times a second.
            self._live = Live(get_renderable=self.table, console=Console(stderr=True), refresh_per_second=4)
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, tb)

    def show(self, trial: Trial, record: Record) -> None:
        """Show a new record."""
        again = self.last.pop(trial.key, None)
        if again is not None:
            self._count(trial, again, -1)
        else:
            self.came += 1
        if record["status"] == "crashed":
            self.last[trial.key] = record
        self._count(trial, record, 1)
        if self._live is None:
            more = "; retrying once" if record["status"] == "crashed" and again is None else ""
            words = printable(f"{self.settled()}/{len(self.plan)} {describe(trial, record)}{more}")
            print(words, file=sys.stderr, flush=True)

    def settled(self) -> int:
        """Number of trials with a record."""
        return sum(counter.total() for counter in self.statuses.values())

    def seconds_left(self) -> float | None:
        """Estimated time left at the current pace; None before the first trial ends."""
        elapsed = time.monotonic() - self.start
        return elapsed / self.came * (self.pending - self.came) if self.came else None

    def table(self) -> "Table":
        """The table of variants: done trials, failed trials, mean of the metric so far."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text  # names may contain markup characters

        study, left = self.plan.study, self.seconds_left()
        title = f"{self.settled()}/{len(self.plan)} trials, time left: {duration(left)}"
        table = Table("variant", title=title, box=box.SIMPLE_HEAD, title_justify="left")
        for name in ("done", "failed", f"{study.metric} so far"):
            table.add_column(name, justify="right")
        room = max(3, Console(stderr=True).height - 7)
        names = list(self.statuses)
        if len(names) > room:  # variants in progress are the most informative
            names = [n for n in names if 0 < self.statuses[n].total() < study.seeds] + [
                n for n in names if self.statuses[n].total() == 0
            ]
            table.caption = f"{max(0, len(names) - room)} more variants, {len(self.statuses) - len(names)} complete"
        for name in names[:room]:
            counter = self.statuses[name]
            done = counter["done"]
            bad = counter.total() - done - counter["skipped"]
            mean = f"{self.sums[name] / done:.4f}" if done else ""
            table.add_row(Text(printable(name)), f"{done}/{study.seeds}", str(bad) if bad else "", mean)
        return table

    def _count(self, trial: Trial, record: Record, sign: int) -> None:
        self.statuses[trial.variant.name][record["status"]] += sign
        if record["status"] == "done":
            self.sums[trial.variant.name] += sign * record["metrics"][self.plan.study.metric]


def describe(trial: Trial, record: Record) -> str:
    """A trial and its outcome, in one line."""
    reason = f" ({record['reason']})" if record["reason"] else ""
    return f"{trial.variant.name}, seed {trial.seed}: {record['status']}{reason}"


def duration(seconds: float | None) -> str:
    """A duration in seconds, minutes or hours."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

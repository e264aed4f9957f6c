"""How a running study looks: in a terminal a table of variants filling up, in a pipe a line a trial."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from ..records.reading import Record
from .plan import Plan, Trial

if TYPE_CHECKING:
    from rich.table import Table


class View:
    """Counts and means of each variant while its trials come in.

    Args:
        plan: The study's trials.
        records: The trials that were settled before.
        pending: How many trials this run has to run.
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
        self.last: dict[str, Record] = {}  # crashed trials, which may come again

    def __enter__(self) -> "View":
        self._live = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            # The table is made when it is drawn, four times a second, however many trials come in.
            self._live = Live(get_renderable=self.table, console=Console(stderr=True), refresh_per_second=4)
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, tb)

    def show(self, trial: Trial, record: Record) -> None:
        """Take in a record."""
        again = self.last.pop(trial.key, None)
        if again is not None:
            self._count(trial, again, -1)
        else:
            self.came += 1
        if record["status"] == "crashed":
            self.last[trial.key] = record
        self._count(trial, record, 1)
        if self._live is None:
            more = "; it is tried once more" if record["status"] == "crashed" and again is None else ""
            print(f"{self.settled()}/{len(self.plan)} {describe(trial, record)}{more}", file=sys.stderr, flush=True)

    def settled(self) -> int:
        """How many trials have a record."""
        return sum(counter.total() for counter in self.statuses.values())

    def seconds_left(self) -> float | None:
        """At the pace so far; None before the first trial."""
        elapsed = time.monotonic() - self.start
        return elapsed / self.came * (self.pending - self.came) if self.came else None

    def table(self) -> "Table":
        """The variants: trials done of all, those that failed, the mean of the metric so far."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text  # names may look like markup

        study, left = self.plan.study, self.seconds_left()
        title = f"{self.settled()}/{len(self.plan)} trials, time left: {duration(left)}"
        table = Table("variant", title=title, box=box.SIMPLE_HEAD, title_justify="left")
        for name in ("done", "failed", f"{study.metric} so far"):
            table.add_column(name, justify="right")
        room = max(3, Console(stderr=True).height - 7)
        names = list(self.statuses)
        if len(names) > room:  # what is under way says most
            names = [n for n in names if 0 < self.statuses[n].total() < study.seeds] + [
                n for n in names if self.statuses[n].total() == 0
            ]
            table.caption = f"{max(0, len(names) - room)} more to come, {len(self.statuses) - len(names)} complete"
        for name in names[:room]:
            counter = self.statuses[name]
            done = counter["done"]
            bad = counter.total() - done - counter["skipped"]
            mean = f"{self.sums[name] / done:.4f}" if done else ""
            table.add_row(Text(name), f"{done}/{study.seeds}", str(bad) if bad else "", mean)
        return table

    def _count(self, trial: Trial, record: Record, sign: int) -> None:
        self.statuses[trial.variant.name][record["status"]] += sign
        if record["status"] == "done":
            self.sums[trial.variant.name] += sign * record["metrics"][self.plan.study.metric]


def describe(trial: Trial, record: Record) -> str:
    """A trial and how it ended, as one line."""
    reason = f" ({record['reason']})" if record["reason"] else ""
    return f"{trial.variant.name}, seed {trial.seed}: {record['status']}{reason}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

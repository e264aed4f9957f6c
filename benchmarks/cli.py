"""The command `bench`: each verb is a function below. Imports are lazy, so that help and lists answer at once."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import InputError, require

from .study import Study, list_studies, load_study

if TYPE_CHECKING:
    import pandas as pd

    from .store import Record


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 2 for bad input, 1 where a trial failed or crashed, else 0."""
    parser = argparse.ArgumentParser("bench", description="Ablation studies over the zoo.", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="the shipped studies", description="The shipped studies and their questions.")
    runner = verbs.add_parser("run", help="run a study and print its table", allow_abbrev=False)
    runner.add_argument("study", help="a shipped study's name, or a YAML file")
    runner.add_argument("--out", default="runs", metavar="DIR", help="records go to DIR/STUDY (default: runs)")
    runner.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1, in place of the study's own number")
    runner.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one a core)")
    args = parser.parse_args(argv)
    try:
        return VERBS[args.verb](args)
    except InputError as error:
        print(f"bench {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"bench {args.verb}: interrupted; what is done is kept, the same command goes on.", file=sys.stderr)
        return 130


def list_verb(args: argparse.Namespace) -> int:
    """`bench list`: print the shipped studies and their questions."""
    for name, question in list_studies().items():
        print(f"{name:14} {question}")
    return 0


def run_verb(args: argparse.Namespace) -> int:
    """`bench run`: run what is not done yet, write the report, print the table."""
    from .engines.local import LocalEngine
    from .runner import expand, made_by_other_code, run_trials
    from .store import Store, is_final

    study = load_study(args.study, args.seeds)
    workers = args.workers if args.workers is not None else len(os.sched_getaffinity(0))
    require(workers >= 1, f"--workers must be at least 1, got {workers}.")
    store = Store(Path(args.out) / study.name)
    start = time.perf_counter()
    with LocalEngine(workers) as engine:
        print(f"{study.name}: {study.question}\nStarting {workers} workers ...", file=sys.stderr, flush=True)
        trials = expand(study, engine)
        store.create({k: v for k, v in asdict(study).items() if k != "variants"})
        records = {t.identity["key"]: store.record(t.identity["key"]) for t in trials}
        pending = [t for t in trials if not is_final(records[t.identity["key"]])]
        if len(pending) < len(trials):
            print(f"{len(trials) - len(pending)} of {len(trials)} trials are done already.", file=sys.stderr)
        if other := made_by_other_code(record for record in records.values() if record is not None):
            print(
                f"{len(other)} of them were made by another version of the code; to have all made by this one, choose "
                "another --out.",
                file=sys.stderr,
            )
        with _progress(len(trials), len(trials) - len(pending)) as show:
            for record in run_trials(study, pending, store, engine):
                records[record["key"]] = record
                show(record)

    from .report import write_report

    # Names are the study's of today: a trial's key, and so its record, outlives them.
    finished = [{**r, **t.identity} for t in trials if (r := records[t.identity["key"]]) is not None]
    table = write_report(study, finished, store.folder)
    _print_table(study, table)
    bad = [r for r in finished if r["status"] in ("failed", "crashed")]
    for record in bad:
        print(f"{record['variant']}, seed {record['seed']}: {record['status']}: {record['reason']}", file=sys.stderr)
    seconds = time.perf_counter() - start
    print(f"{len(pending)} trials run in {seconds:.0f} s on {workers} workers; records and report in {store.folder}")
    return 1 if bad else 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {"list": list_verb, "run": run_verb}


@contextmanager
def _progress(total: int, done: int) -> "Iterator[Callable[[Record], None]]":
    """A live bar in a terminal, a line a trial in a pipe."""
    if not sys.stderr.isatty():
        counter = iter(range(done + 1, total + 1))

        def show(record: "Record") -> None:
            print(f"{next(counter)}/{total} {_line(record)}", file=sys.stderr, flush=True)

        yield show
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total, completed=done)
        yield lambda record: progress.update(task, advance=1, description=_line(record))


def _line(record: "Record") -> str:
    return f"{record['variant']}, seed {record['seed']}: {record['status']}"


def _print_table(study: Study, table: "pd.DataFrame") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from .report.tables import display_rows

    header, *rows = display_rows(study, table)
    shown = Table(*header, title=f"{study.name}: {study.metric}", box=box.SIMPLE_HEAD)
    for row in rows:
        shown.add_row(*row)
    # A pipe has no width of its own; cut no cell there.
    Console(width=None if sys.stdout.isatty() else 120).print(shown)


if __name__ == "__main__":
    sys.exit(main())

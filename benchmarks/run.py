"""The verb `bench run`: run the trials of a study that are not done yet, then write its report."""

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from datamodules.errors import require
from zoo.cli.process import loading, printable, terminated_is_interrupted, waiting
from zoo.tracking.options import asks_for_wandb, study_options

from .records.store import Store
from .running.engines import open_engine
from .running.engines.base import Engine, Outliving
from .running.engines.local import LocalEngine
from .running.engines.options import AT_ONCE
from .running.live import View
from .running.packs import explain, make_packs, parse_pack
from .running.plan import Plan, Trial, select
from .running.planner import make_plan
from .running.runner import Options, Progress, read_progress, run_trials
from .study.file import find_study, load_study
from .study.study import Study
from .tasks import find_task
from .tasks.own_code import importable


def run(args: argparse.Namespace) -> int:
    """Run pending trials, write the report and print the table; returns the exit status."""
    study = load_study(args.study, args.seeds, args.set)
    selected = select(study, args.filter)
    alone = study.measures_time and args.workers is None
    workers = 1 if alone else n_workers(args)
    timeout = args.trial_timeout
    require(timeout is None or timeout > 0, f"--trial-timeout must be more than 0 seconds, got {timeout}.")
    limit = parse_pack(args.pack)
    options = Options(timeout, pack=limit != 0)
    task = find_task(study.task)
    # The module of a user's own task is next to the study file; workers inherit the module search path.
    study_file = find_study(args.study).resolve() if task.is_own else None
    folders = [] if study_file is None else [study_file.parent]
    store, start = Store(Path(args.out) / study.name), time.perf_counter()
    wandb = study_options(args) if asks_for_wandb(args) else None
    wandb = None if wandb is None or wandb.disabled else wandb
    if wandb is not None:
        from .publish import check

        check(wandb, store.folder)
    # Imports that take seconds, done while the workers start.
    threading.Thread(target=_import_report, daemon=True).start()
    preload = task.needs_torch
    with (
        importable(*folders),
        terminated_is_interrupted(),
        open_engine(args, workers, store, preload, alone, study_file) as engine,
    ):
        print(printable(f"{study.name}: {study.question}"), file=sys.stderr, flush=True)
        if alone:
            print("Trials measure time, so they run one at a time; use --workers N to run N at once.", file=sys.stderr)
        with waiting("Checking the study, for which workers load torch" if preload else "Checking the study"):
            plan = _plan(study, engine, preload)
        require(any(map(selected, plan.trials())), "no trial matches all --filter options; remove one of them.")
        with store.lock():
            store.create(study.to_file(), plan.keys_by_name())
            left = engine.take_over() if isinstance(engine, Outliving) else []
            store.recover(_alive(engine))
            progress = read_progress(plan, store, args.retry_failed)
            pending = [trial for trial in progress.pending if selected(trial)]
            keys = {trial.key for trial in pending}
            _tell(plan, progress, store, keys)
            packs = _packs(plan, pending, left, limit, engine.n_workers)
            if (
                study.measures_time
            ):  # trials of one seed, which are compared with each other, run close together in time
                packs.sort(key=lambda pack: pack[0].seed)
            for sentence in explain(plan, packs, limit) if args.explain else ():
                print(sentence, file=sys.stderr)
            interrupted = False
            try:
                with View(plan, progress.settled, len(pending)) as view:
                    for trial, record in run_trials(plan, packs, store, engine, options):
                        if trial.key in keys:
                            view.show(trial, record)
            except KeyboardInterrupt:
                interrupted = True
            finally:  # before the lock is released: the next driver deletes unfinished trials
                engine.stop()
            store.recover(_alive(engine))  # after an interruption of this driver or an earlier one
    bad = finish_report(study, store, rebuild=bool(pending))
    seconds = time.perf_counter() - start
    if interrupted:
        print(f"bench run: interrupted; finished trials are kept. To continue, run: {args.command}", file=sys.stderr)
        return 130
    if wandb is not None:
        from .publish import push_after_run

        with terminated_is_interrupted():
            push_after_run(study, store, wandb)
    where = engine.describe()
    ran = f"{len(pending)} trial{'s' * (len(pending) != 1)} run"
    print(f"{ran} in {seconds:.0f} s on {where}; records and report in {store.folder}")
    return 1 if bad else 0


def _plan(study: Study, engine: Engine, preload: bool) -> Plan:
    """The study's trials, checked in a local process."""
    if isinstance(engine, LocalEngine):
        return make_plan(study, engine)
    with LocalEngine(1, preload) as here:
        return make_plan(study, here)


def _alive(engine: Engine) -> set[str]:
    return engine.alive() if isinstance(engine, Outliving) else set()


def _packs(
    plan: Plan, pending: Sequence[Trial], left: Sequence[Sequence[str]], limit: int | None, workers: int
) -> list[list[Trial]]:
    """The packs to run; packs that are already running come first, unchanged."""
    wanted, by_key = {trial.key for trial in pending}, {}
    if left:
        by_key = {trial.key: trial for trial in plan.trials()}
    running = [keys for keys in left if wanted & set(keys) and by_key.keys() >= set(keys)]
    covered = {key for keys in running for key in keys}
    rest = [trial for trial in pending if trial.key not in covered]
    return [[by_key[key] for key in keys] for keys in running] + make_packs(plan, rest, limit, workers)


def _import_report() -> None:
    with suppress(Exception):  # the driver may be exiting; if it is not, an error shows up in its report
        import_module("benchmarks.report")


def n_workers(args: argparse.Namespace) -> int:
    """The number of workers: `--workers`, or else one per core, or a number of tasks on a cluster."""
    elsewhere = getattr(args, "engine", "local") == "slurm" and args.slurm_executor != "local"
    workers = args.workers if args.workers is not None else AT_ONCE if elsewhere else len(os.sched_getaffinity(0))
    require(workers >= 1, f"--workers must be at least 1, got {workers}.")
    return workers


def _tell(plan: Plan, progress: Progress, store: Store, pending: set[str]) -> None:
    """Print how many trials are already done, and warnings about their records."""
    if progress.settled:
        failed = sum(record["status"] == "failed" for _, record in progress.settled)
        more = f"; {failed} of them failed, use --retry-failed to rerun those" if failed else ""
        print(f"{len(progress.settled)} of {len(plan)} trials are already done{more}.", file=sys.stderr)
    for key, cause in progress.unreadable.items():
        again = " The trial is run again; its old files are kept." if key in pending else ""
        print(f"{store.trials / key} has no readable record: {cause}.{again}", file=sys.stderr)
    if progress.other_code:
        print(
            f"{progress.other_code} of them were made by another version of the code; to rerun all with this version, "
            "choose another --out.",
            file=sys.stderr,
        )


def finish_report(study: Study, store: Store, rebuild: bool = True) -> bool:
    """Write the report unless it is up to date, and print the table; returns whether a trial failed or crashed."""
    with loading("pandas", "scipy"):
        from .report import read_report, write_report
        from .report.terminal import print_tables

    with store.sentences():
        trials, summary = (None if rebuild else read_report(study, store)) or write_report(study, store)
    print_tables(study, summary)
    bad = trials[trials["status"].isin(["failed", "crashed"])]
    for row in bad.to_dict("records"):
        print(printable(f"{row['variant']}, seed {row['seed']}: {row['status']}: {row['reason']}"), file=sys.stderr)
    pending_trials = trials[trials["status"] == "pending"]
    for row in pending_trials[pending_trials["reason"] != ""].to_dict("records"):
        line = f"{row['variant']}, seed {row['seed']} ({row['key']}): {row['reason']}; run it again."
        print(printable(line), file=sys.stderr)
    if pending := len(pending_trials):
        print(f"{pending} of {len(trials)} trials have not run yet.", file=sys.stderr)
    return len(bad) > 0

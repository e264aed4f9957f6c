"""Runs what is not done yet of a study."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .engines.local import LocalEngine
from .plan import Plan, Trial
from .store import Record, Store, Unreadable, is_final
from .tasks import code_version_of, judge
from .trial import Job


@dataclass
class Progress:
    """What the store says of a plan's trials.

    Attributes:
        pending: The trials to run.
        settled: The others, each with the status, reason and metrics of its record.
        unreadable: Why a record cannot be read, by key.
        other_code: How many records another version of the code made.
    """

    pending: list[Trial] = field(default_factory=list)
    settled: list[tuple[Trial, Record]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    other_code: int = 0


def read_progress(plan: Plan, store: Store, retry_failed: bool = False) -> Progress:
    """Look up each trial of a plan in the store."""
    progress = Progress()
    version = code_version_of(plan.study.task)
    for trial in plan.trials():
        record = None
        try:
            record = store.record(trial.key)
        except Unreadable as error:
            progress.unreadable[trial.key] = str(error)
        if record is None or not is_final(record, retry_failed):
            progress.pending.append(trial)
            continue
        progress.settled.append((trial, _judged(record, plan.study.metric)))
        progress.other_code += record.get("environment", {}).get("code_version") != version
    return progress


def run_trials(
    plan: Plan, trials: Iterable[Trial], store: Store, engine: LocalEngine, timeout: float | None = None
) -> Iterator[tuple[Trial, Record]]:
    """Run trials, yielding each record as it comes; those whose process died are tried again once, at the end.

    Raises:
        InputError: The store cannot be written.
    """
    for last in (False, True):
        crashed: list[Trial] = []
        by_key = {trial.key: trial for trial in trials}
        for outcome in engine.run(Job.run, ((_job(plan, t, store),) for t in by_key.values()), timeout):
            job: Job = outcome.job[0]
            record = outcome.value
            if outcome.timed_out:
                record = job.end("failed", f"timeout: it took more than {timeout:g} s", outcome.seconds)
            elif outcome.crash:
                record = job.end("crashed", outcome.crash, outcome.seconds)
            trial = by_key[job.identity["key"]]
            if record["status"] == "crashed":
                crashed.append(trial)
            yield trial, _judged(record, plan.study.metric)
        trials = crashed
        if last or not crashed:
            return


def _judged(record: Record, metric: str) -> Record:
    """What a view needs of a record."""
    status, reason = judge(record, metric)
    return {"status": status, "reason": reason, "metrics": record["metrics"]}


def _identity(plan: Plan, trial: Trial) -> Record:
    """What names a trial in its record."""
    variant = trial.variant
    return {
        "study": plan.study.name,
        "key": trial.key,
        "variant": variant.name,
        "varied": variant.varied,
        "seed": trial.seed,
    }


def _job(plan: Plan, trial: Trial, store: Store) -> Job:
    attempt = 1 + store.attempts_made(trial.key)
    folder = store.folder.absolute()  # tasks may change the working directory
    return Job(folder, plan.study.task, trial.config, _identity(plan, trial), attempt, uuid.uuid4().hex[:12])

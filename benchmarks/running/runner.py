"""Run the trials of a study that are not done yet."""

import math
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..records.outcome import judge
from ..records.reading import is_alike, is_final
from ..records.record_file import Record, Unreadable
from ..records.store import Store
from ..tasks import find_task
from .engines.base import Engine, Outcome
from .job import Job, PackJob
from .plan import Plan, Trial


@dataclass(frozen=True)
class Options:
    """Options for running trials.

    Attributes:
        timeout: Time limit of a trial in seconds, after which it counts as failed; None for no limit.
        pack: Whether to train trials in packs if possible, including packs of one.
    """

    timeout: float | None = None
    pack: bool = True

    def time_limit(self, pack: PackJob) -> float:
        """Time limit of a pack in seconds."""
        return math.inf if self.timeout is None else self.timeout * len(pack.jobs)


@dataclass
class Progress:
    """State of a plan's trials in the store.

    Attributes:
        pending: Trials to run.
        settled: The other trials, each with status, reason and metrics of its record.
        unreadable: Maps keys to the reason why the record cannot be read.
        other_code: Number of records made by another version of the code.
    """

    pending: list[Trial] = field(default_factory=list)
    settled: list[tuple[Trial, Record]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    other_code: int = 0


def read_progress(plan: Plan, store: Store, retry_failed: bool = False) -> Progress:
    """Look up each trial of a plan in the store."""
    progress = Progress()
    version = find_task(plan.study.task).code_version()
    for trial in plan.trials():
        record = None
        try:
            record = store.record(trial.key)
        except Unreadable as error:
            progress.unreadable[trial.key] = str(error)
        if record is not None and not is_alike(record, {"config": trial.config, "task": plan.study.task}):
            progress.unreadable[trial.key], record = "it has the config of another trial", None
        if record is None or not is_final(record, retry_failed):
            progress.pending.append(trial)
            continue
        progress.settled.append((trial, _judged(record, plan.study.metric)))
        progress.other_code += (record.get("environment") or {}).get("code_version") != version
    return progress


def run_trials(
    plan: Plan, packs: Sequence[Sequence[Trial]], store: Store, engine: Engine, options: Options = Options()
) -> Iterator[tuple[Trial, Record]]:
    """Run trials, and yield each record when its trial ends.

    A trial whose process died is retried once at the end. A pack whose process died or exceeded its time limit is rerun
    as single trials, so that one bad trial does not affect the others.

    Args:
        plan: The study's trials.
        packs: The trials to run, by pack.
        store: The store for the records.
        engine: The engine that runs the trials.
        options: Options.

    Raises:
        InputError: The store is not writable.
    """
    crashes: Counter[str] = Counter()
    while packs:
        again: list[Sequence[Trial]] = []
        by_key = {trial.key: trial for pack in packs for trial in pack}
        jobs = ((_pack_job(plan, pack, store, options),) for pack in packs)
        for outcome in engine.run(PackJob.run, jobs, options.time_limit):
            pack: PackJob = outcome.job[0]
            records = _records(pack, outcome, options)
            for job in pack.jobs:
                key = job.identity["key"]
                if key not in records:
                    again.append([by_key[key]])
                    continue
                if records[key]["status"] == "crashed":
                    crashes[key] += 1
                    again += [[by_key[key]]] * (crashes[key] == 1)
                yield by_key[key], _judged(records[key], plan.study.metric)
        packs = again


def _records(pack: PackJob, outcome: Outcome, options: Options) -> dict[str, Record]:
    """The records of a pack's trials by key, without trials that are rerun alone."""
    if outcome.value is not None:
        return {record["key"]: record for record in outcome.value}
    if len(pack.jobs) > 1:
        settled = (job.settled() for job in pack.jobs)
        return {record["key"]: record for record in settled if record is not None}
    (job,) = pack.jobs
    timeout = f"timeout: the trial took more than {options.timeout:g} s" if outcome.timed_out else ""
    record = job.end("failed" if timeout else "crashed", timeout or outcome.crash, outcome.seconds)
    return {record["key"]: record}


def _judged(record: Record, metric: str) -> Record:
    """The parts of a record that a view needs."""
    status, reason = judge(record, metric)
    return {"status": status, "reason": reason, "metrics": record["metrics"]}


def _identity(plan: Plan, trial: Trial) -> Record:
    """The fields of a record that identify the trial."""
    variant = trial.variant
    return {
        "study": plan.study.name,
        "key": trial.key,
        "variant": variant.name,
        "varied": variant.varied,
        "seed": trial.seed,
    }


def _pack_job(plan: Plan, pack: Sequence[Trial], store: Store, options: Options) -> PackJob:
    folder = store.folder.absolute()  # tasks may change the working directory
    told = find_task(plan.study.task).options(options.pack)
    jobs = [
        Job(
            folder,
            plan.study.task,
            trial.config,
            _identity(plan, trial),
            attempt=1 + store.attempts_made(trial.key),
            token=uuid.uuid4().hex[:12],
            options=told,
        )
        for trial in pack
    ]
    return PackJob(tuple(jobs), plan.packing(pack[0]).fixed)

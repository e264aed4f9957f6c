"""Runs what is not done yet of a study."""

import math
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..records.outcome import judge
from ..records.reading import Record, Unreadable, is_final
from ..records.store import Store
from ..tasks import find_task
from .engines.base import Engine, Outcome
from .job import Job, PackJob
from .plan import Plan, Trial


@dataclass(frozen=True)
class Options:
    """How trials are run.

    Attributes:
        timeout: Seconds after which a trial is ended, as failed; None for no such limit.
        pack: Whether trials that can be packed are, be it in packs of one.
    """

    timeout: float | None = None
    pack: bool = True

    def time_limit(self, pack: PackJob) -> float:
        """Seconds after which a pack is ended."""
        return math.inf if self.timeout is None else self.timeout * len(pack.jobs)


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
    version = find_task(plan.study.task).code_version()
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
    plan: Plan, packs: Sequence[Sequence[Trial]], store: Store, engine: Engine, options: Options = Options()
) -> Iterator[tuple[Trial, Record]]:
    """Run trials, yielding each record as it comes.

    Those whose process died are tried again once, at the end. A pack whose process died, or that took longer than all
    its members may, runs again as single trials, so that a culprit costs the others nothing but time.

    Args:
        plan: The study's trials.
        packs: Those to run, by what is trained together.
        store: Where the records go.
        engine: What runs them.
        options: How.

    Raises:
        InputError: The store cannot be written.
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
    """The records of a pack's trials by key; without those that are to run again, alone."""
    if outcome.value is not None:
        return {record["key"]: record for record in outcome.value}
    if len(pack.jobs) > 1:
        settled = (job.settled() for job in pack.jobs)
        return {record["key"]: record for record in settled if record is not None}
    (job,) = pack.jobs
    timeout = f"timeout: it took more than {options.timeout:g} s" if outcome.timed_out else ""
    record = job.end("failed" if timeout else "crashed", timeout or outcome.crash, outcome.seconds)
    return {record["key"]: record}


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

"""Rerun recorded trials and compare them with their records."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.errors import InputError, require
from zoo.parts.metric_names import is_timing
from zoo.plain import Config

from ..records.agreement import Verdict, judge_rerun
from ..records.record_file import Record
from ..records.store import Store
from ..records.stored import read_stored
from ..running.engines.base import Engine
from ..running.job import Job, PackJob
from ..running.plan import Plan
from ..study.study import Study
from ..tasks import find_task


@dataclass(frozen=True)
class Recorded:
    """A trial with its record.

    Attributes:
        variant: The variant's name.
        seed: Its seed.
        record: Its record.
    """

    variant: str
    seed: int
    record: Record

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"


def read_recorded(study: Study, store: Store) -> list[Recorded]:
    """The trials of a study that have a record, in the study's order.

    Raises:
        InputError: The store does not hold this study, or a record cannot be read.
    """
    found = []
    for trial in read_stored(study, store):
        if trial.trouble:
            raise InputError(f"the record of {trial.key} cannot be read: {trial.trouble}. Run the study again first.")
        if trial.record is not None:
            found.append(Recorded(trial.variant.name, trial.seed, trial.record))
    return found


def draw(recorded: Sequence[Recorded], n: int) -> list[Recorded]:
    """Draw up to `n` trials at random that are done or diverged.

    Raises:
        InputError: There are none, or a record has no config.
    """
    ended = [trial for trial in recorded if trial.record["status"] in ("done", "diverged")]
    require(bool(ended), "no trial is done or diverged, so there is nothing to verify; run the study first.")
    drawn = random.sample(ended, min(n, len(ended)))
    for trial in drawn:
        good = isinstance(trial.record.get("config"), dict) and "seed_everything" in trial.record["config"]
        require(good, f"the record of {trial} has no config, so it cannot be rerun; run the study again.")
    return drawn


def verify(
    plan: Plan, recorded: Sequence[Recorded], drawn: Sequence[Recorded], engine: Engine, folder: Path
) -> Iterator[tuple[Recorded, Verdict]]:
    """Rerun trials one by one, and yield a verdict on each.

    Args:
        plan: The study's current plan.
        recorded: All records.
        drawn: The trials to rerun.
        engine: The engine that runs them.
        folder: A temporary folder.

    Raises:
        InputError: A record's key is that of another trial.
    """
    configs = {trial.key: trial.config for trial in plan.trials()}
    planned = {trial.key: (trial.variant.name, trial.seed) for trial in plan.trials()}
    for trial in recorded:
        key, own = trial.record["key"], (trial.variant, trial.seed)
        require(
            planned.get(key, own) == own,
            f"{key} is recorded as {trial}, but is {', seed '.join(map(str, planned.get(key, own)))} in the study; run "
            "the study again, or restore the folder.",
        )
    by_key = {trial.record["key"]: trial for trial in drawn}
    jobs = [(PackJob((_job(plan, trial, configs, folder),)),) for trial in drawn]
    for outcome in engine.run(PackJob.run, jobs):
        (job,) = outcome.job[0].jobs
        trial = by_key[job.identity["key"]]
        crashed = {**trial.record, "status": "crashed", "reason": outcome.crash, "metrics": {}}
        new = crashed if outcome.value is None else outcome.value[0]
        yield trial, _judge(plan, trial, new, recorded, configs)


def left_out(drawn: Sequence[Recorded]) -> list[str]:
    """Metrics that are not compared."""
    return sorted({name for trial in drawn for name in trial.record["metrics"] if is_timing(name)})


def told(verdicts: Sequence[Verdict], left_out: Sequence[str]) -> Iterator[str]:
    """Summary of all verdicts: what has changed since the records were made, and how many trials agree."""
    for differ, n in Counter(verdict.differences for verdict in verdicts if verdict.differences).items():
        some = "Since the records" if n == len(verdicts) else f"Since {n} of the records"
        if len(differ) == 1 and differ[0].startswith("code "):
            yield f"{some}, only the code has changed ({differ[0]}), which may change numbers."
        else:
            yield f"{some}, the following has changed: {'; '.join(differ)}."
    if left_out:
        yield f"Not compared, because they vary between runs: {', '.join(left_out)}."
    agree, same = sum(verdict.agrees for verdict in verdicts), sum(verdict.identical for verdict in verdicts)
    yield f"{agree} of {len(verdicts)} trials agree; {same} of them are bit-identical."


def _job(plan: Plan, trial: Recorded, configs: dict[str, Config], folder: Path) -> Job:
    record, task = trial.record, plan.study.task
    # Use the config that belongs to the key; if code or data have changed, only the recorded config is available.
    config: Config = configs.get(record["key"]) or record["config"]
    identity = {"study": plan.study.name, "key": record["key"], "variant": trial.variant, "seed": trial.seed}
    packed = (record.get("environment") or {}).get("pack_size") is not None
    options = find_task(task).options(packed, resolved=record["key"] in configs)
    return Job(folder, task, config, identity, attempt=1, token=uuid.uuid4().hex[:12], options=options)


def _judge(
    plan: Plan, trial: Recorded, new: Record, recorded: Sequence[Recorded], configs: dict[str, Config]
) -> Verdict:
    old, unlike = trial.record, []
    keyed = find_task(plan.study.task).without_locations
    if old["key"] not in configs:
        if (old.get("environment") or {}).get("code_version") == find_task(plan.study.task).code_version():
            return Verdict(
                False, False, "DIFFERS: its key is not in the study's plan; the study or its data have changed"
            )
        unlike = ["the key, so defaults or data have changed"]
    elif keyed(old["config"]) != keyed(configs[old["key"]]):
        return Verdict(False, False, "DIFFERS: its recorded config does not match its key")
    others = [other.record for other in recorded if other.variant == trial.variant and other.seed != trial.seed]
    return judge_rerun(old, new, others, unlike)

"""A trial as a run in Weights & Biases, like one of `zoo fit --wandb`."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from zoo.tracking import content
from zoo.tracking.content import LONGEST
from zoo.tracking.session import ELSEWHERE, Session

from ..records.columns import Curves
from ..records.outcome import judge
from ..records.record_file import Record
from ..study.study import Study, Variant

SOON = 30  # seconds allowed for uploading a trial, which is only a few kilobytes
OF_AN_ATTEMPT = ("token", "attempt", "started", "status", "reason", "metrics")


@dataclass(frozen=True)
class Recorded:
    """A trial that has a record.

    Attributes:
        variant: What varies in it.
        seed: Its seed.
        record: Its record.
    """

    variant: Variant
    seed: int
    record: Record

    @property
    def key(self) -> str:
        """Its name in the store."""
        return str(self.record["key"])

    @property
    def version(self) -> str:
        """Hash that differs between the records of two attempts."""
        return hashlib.sha256(json.dumps([self.record.get(name) for name in OF_AN_ATTEMPT]).encode()).hexdigest()[:12]


def publish_trial(study: Study, trial: Recorded, curves: Curves, session: Session, run_id: str, group: str) -> str:
    """Publish a trial: config, curves and summary from its record, status and exit code as judged by the study.

    Args:
        study: The study.
        trial: The trial.
        curves: Columns of its metrics.csv; empty if it has no such file.
        session: The W&B session.
        run_id: Id of its run.
        group: Group of the study's runs.

    Returns:
        The name of the offline run's folder; empty if the run was uploaded.

    Raises:
        InputError: W&B rejects the run.
        Unreachable: The server does not answer.
    """
    record, name = trial.record, trial.variant.name
    seed = f", seed {trial.seed}"
    status, reason = judge(record, study.metric)
    config = record.get("config") or {}
    named = [config[section].get("name") for section in ("model", "data") if isinstance(config.get(section), dict)]
    about = {"seed": trial.seed, "trial": _about(study, trial), "environment": _environment(record)}
    run = session.start(
        {**ELSEWHERE, "finish_timeout": min(SOON, session.upload)},
        id=run_id,
        resume="allow" if session.online else None,
        name=content.shortened(name, LONGEST - len(seed)) + seed,
        group=group,
        job_type=content.shortened(name, content.LONGEST_JOB_TYPE),
        tags=content.tags(study.name, *named, status),
        config={**content.config_of(config), **about},
    )
    content.define_axis(run)
    content.define_curves(run, content.row_of(dict.fromkeys(curves, 0.0)))
    for number, row in enumerate(content.rows_of(curves)):
        # Explicit steps, so that rows uploaded by an interrupted attempt are not duplicated.
        run.log({**row, **content.drawn(row)}, step=number)
    run.summary.update({**content.summary(record), "status": status, "reason": reason})
    session.finish(run, content.exit_code(status))
    return session.waits_in(run)


def _about(study: Study, trial: Recorded) -> dict[str, Any]:
    """What identifies a trial besides its config."""
    record = trial.record
    return {
        "study": study.name,
        "variant": trial.variant.name,
        "varied": trial.variant.varied,
        "key": record["key"],
        "task": record.get("task", study.task),
        "attempt": record.get("attempt"),
        "started": record.get("started"),
    }


def _environment(record: Record) -> dict[str, Any]:
    """The environment of the trial: commit, packages, hardware, peak memory."""
    return {**(record.get("environment") or {}), "peak_memory_bytes": record.get("peak_memory_bytes")}

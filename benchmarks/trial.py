"""One trial: a config in, a record out. Runs in a worker process."""

import json
import os
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from zoo.provenance import environment, peak_memory_bytes, reset_peak_memory

from .plan import SCHEMA
from .store import Record, Store
from .tasks import Config, code_version_of, load_task, outcome_of

ENVIRONMENT = "environment.json"


@dataclass(frozen=True)
class Job:
    """What a worker needs to run a trial.

    Attributes:
        folder: The study's folder, as an absolute path.
        task: What the trial does.
        config: The resolved config.
        identity: What the record opens with: study, key, variant, varied, seed.
        attempt: The how manieth attempt it is.
        token: Names the attempt.
    """

    folder: Path
    task: str
    config: Config
    identity: Record
    attempt: int
    token: str

    def run(self) -> Record:
        """Run the trial and leave its folder in the store; an exception becomes a record, not an exception.

        Raises:
            InputError: The store cannot be written.
        """
        store, directory = Store(self.folder), Path.cwd()
        started, clock = datetime.now(UTC), time.perf_counter()
        reset_peak_memory()
        with store.sentences():
            scratch = store.scratch(self.identity["key"], self.token)
            # The record holds both too; these are for `zoo fit --config`, and for a driver whose worker has died.
            (scratch / "config.yaml").write_text(_yaml(self.config), encoding="utf-8")
            (scratch / ENVIRONMENT).write_text(json.dumps(environment()), encoding="utf-8")
            try:
                outcome = outcome_of(load_task(self.task)(self.config, scratch))
            except Exception as error:
                store.refuse_if_full(error)
                (scratch / "traceback.txt").write_text(traceback.format_exc(), "utf-8", errors="backslashreplace")
                outcome = {"status": "failed", "reason": _reason(error), "metrics": {}}
            finally:
                os.chdir(directory)
            where = environment() | outcome.pop("environment", {})
            outcome = {"peak_memory_bytes": peak_memory_bytes(), **outcome}
            return self._commit(scratch, outcome, where, started, time.perf_counter() - clock)

    def end(self, status: str, reason: str, seconds: float) -> Record:
        """The record of an attempt whose process is no more, written beside what it left.

        Args:
            status: `crashed` or `failed`.
            reason: Why.
            seconds: How long it ran.

        Raises:
            InputError: The store cannot be written.
        """
        store = Store(self.folder)
        if finished := store.settle(self.identity["key"], self.token):
            return finished
        outcome = {"status": status, "reason": reason, "metrics": {}, "peak_memory_bytes": {"host": None, "gpu": None}}
        with store.sentences():
            scratch = store.scratch(self.identity["key"], self.token)
            (scratch / "best.ckpt").unlink(missing_ok=True)
            try:
                where = json.loads((scratch / ENVIRONMENT).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                where = dict.fromkeys(environment())  # it died before it could say
            return self._commit(scratch, outcome, where, datetime.now(UTC) - timedelta(seconds=seconds), seconds)

    def _commit(self, scratch: Path, outcome: Record, where: Record, started: datetime, seconds: float) -> Record:
        for left in (scratch / ENVIRONMENT, *scratch.glob(".result.json.*")):
            left.unlink(missing_ok=True)
        precision = self.config.get("trainer", {}).get("precision", "32-true") if self.task == "fit" else None
        record = {
            "schema": SCHEMA,
            **self.identity,
            "task": self.task,
            "attempt": self.attempt,
            "train_seconds": None,
            **outcome,
            "started": started.isoformat(timespec="milliseconds"),
            "wall_seconds": seconds,
            "environment": {"precision": precision, **where, "code_version": code_version_of(self.task)},
            "config": self.config,
            "token": self.token,
        }
        return Store(self.folder).commit(scratch, record)


def _reason(error: Exception) -> str:
    """The exception, and the first line of what it says."""
    said = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}".encode("utf-8", "backslashreplace").decode()


def _yaml(config: Config) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times faster where libyaml is
    return yaml.dump(config, Dumper=dumper, sort_keys=False)

"""Jobs: run one trial, or several trained together, and store their records. Runs in a worker process."""

import json
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from zoo.outputs.provenance import environment, peak_memory_bytes, reset_peak_memory
from zoo.plain import Config, ResolvedConfig
from zoo.yaml_lines import dump

from ..records.outcome import outcome_of
from ..records.record_file import SCHEMA, Record
from ..records.store import Store
from ..tasks import find_task
from ..tasks.own_process import CONFIG, OUTCOME, reason_of

# Start of a trial's config.yaml. The JSON after it tells a driver whose worker has died where the trial ran.
WHERE = "# Started on: "


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to run a trial.

    Attributes:
        folder: Absolute path of the study's folder.
        task: Name of the task.
        config: The resolved config.
        identity: First fields of the record: study, key, variant, varied, seed.
        attempt: Attempt number, starting at 1.
        token: Name of the attempt.
        options: Options of the task besides its config.
        environment: Parts of the recorded environment that only the driver knows.
    """

    folder: Path
    task: str
    config: Config
    identity: Record
    attempt: int
    token: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    def run(self) -> Record:
        """Run the trial and commit its folder to the store; an exception of the task becomes a record.

        Raises:
            InputError: The store is not writable.
        """
        store, directory = Store(self.folder), Path.cwd()
        started, clock = datetime.now(UTC), time.perf_counter()
        reset_peak_memory()
        with store.sentences():
            scratch = self.open()
            try:
                outcome = outcome_of(find_task(self.task).run(self.config, scratch, **self.options))
            except Exception as error:
                store.refuse_if_full(error)
                (scratch / "traceback.txt").write_text(traceback.format_exc(), "utf-8", errors="backslashreplace")
                outcome = {"status": "failed", "reason": reason_of(error), "metrics": {}}
            else:
                if outcome["status"] in ("failed", "crashed"):  # in its own processes
                    store.refuse_if_full(RuntimeError(outcome["reason"]))
            finally:
                os.chdir(directory)
            return self.commit(outcome, started, time.perf_counter() - clock)

    def open(self) -> Path:
        """Create the folder that the trial writes to, with the files known before it runs."""
        scratch = Store(self.folder).scratch(self.identity["key"], self.token)
        self._write_config(scratch, {**environment(), **self.environment, **self._code()})
        return scratch

    def _code(self) -> Record:
        """The version of the code, which for a user's own task includes the task's modules."""
        return {"code_version": find_task(self.task).code_version()}

    def _write_config(self, scratch: Path, where: Record) -> None:
        """Write the config for `zoo fit --config`, with a header that says where the trial runs."""
        (scratch / "config.yaml").write_text(f"{WHERE}{json.dumps(where)}\n{dump(self.config)}", encoding="utf-8")

    def commit(self, outcome: Record, started: datetime, seconds: float) -> Record:
        """Write the record of a trial that has ended, and commit it to the store.

        Args:
            outcome: The task's return value with a status.
            started: Start time.
            seconds: Duration.

        Raises:
            FileNotFoundError: Its folder no longer exists, because a driver presumed this process dead; the trial may
                already be running again.
        """
        scratch = Store(self.folder).opened(self.identity["key"], self.token)
        where = environment() | outcome.pop("environment", {}) | dict(self.environment) | self._code()
        return self._commit(scratch, {"peak_memory_bytes": peak_memory_bytes(), **outcome}, where, started, seconds)

    def end(self, status: str, reason: str, seconds: float) -> Record:
        """Write the record of an attempt whose process has died, next to its files.

        Args:
            status: `crashed` or `failed`.
            reason: Why it died.
            seconds: Duration.

        Raises:
            InputError: The store is not writable.
        """
        if finished := self.settled():
            return finished
        store = Store(self.folder)
        outcome = {"status": status, "reason": reason, "metrics": {}, "peak_memory_bytes": {"host": None, "gpu": None}}
        with store.sentences():
            left = store.scratches(self.identity["key"], self.token)
            scratch = left[0] if left else store.scratch(self.identity["key"], self.token)
            where = _read_where(scratch / "config.yaml")
            if where is None:  # it died before it wrote the file
                where = dict.fromkeys(environment()) | self._code()
            self._write_config(scratch, where)
            (scratch / "best.ckpt").unlink(missing_ok=True)
            return self._commit(scratch, outcome, where, datetime.now(UTC) - timedelta(seconds=seconds), seconds)

    def settled(self) -> Record | None:
        """The record of an attempt whose process died after it had finished, else None."""
        return Store(self.folder).settle(self.identity["key"], self.token)

    def _commit(self, scratch: Path, outcome: Record, where: Record, started: datetime, seconds: float) -> Record:
        for left in list(scratch.iterdir()):  # listed once, because each access is slow on a network file system
            own = left.name in (CONFIG, OUTCOME) or left.match("failure_*.json")
            if own or left.match(".result.json.*") or left.match(f".{OUTCOME}.*"):
                left.unlink(missing_ok=True)
        record = {
            "schema": SCHEMA,
            **self.identity,
            "task": self.task,
            "attempt": self.attempt,
            "train_seconds": None,
            **outcome,
            "started": started.isoformat(timespec="milliseconds"),
            "wall_seconds": seconds,
            "environment": {"precision": find_task(self.task).precision(self.config), **where},
            "config": self.config,
            "token": self.token,
        }
        return Store(self.folder).commit(scratch, record)


@dataclass(frozen=True)
class PackJob:
    """Everything that a worker needs to train several trials together.

    Attributes:
        jobs: The job of each trial.
        fixed: Whether results depend on the members of the pack; the records then list them.
    """

    jobs: tuple[Job, ...]
    fixed: bool = False

    def run(self) -> list[Record]:
        """Train the trials and commit their folders to the store; if the pack fails, each trial runs alone.

        Raises:
            InputError: The store is not writable.
        """
        if len(self.jobs) == 1:
            return [self.jobs[0].run()]
        from zoo.pack.run import fit_members
        from zoo.train import Shared, make_member

        store, shared = Store(self.jobs[0].folder), Shared()
        groups: dict[Any, list[tuple[Job, Any]]] = {}
        alone, records = [], []
        started, clock = datetime.now(UTC), time.perf_counter()
        reset_peak_memory()
        for job in self.jobs:
            try:
                member = make_member(ResolvedConfig(job.config), shared)
            except Exception:  # the error is reported when the trial runs alone
                alone.append(job)
            else:
                groups.setdefault(member.signature(), []).append((job, member))
        for group in groups.values():  # a single group if the study's check found the trials compatible
            jobs, members = [job for job, _ in group], [member for _, member in group]
            with store.sentences():
                try:
                    results = fit_members(members, [job.open() for job in jobs])
                except Exception as error:
                    store.refuse_if_full(error)
                    if not all(store.opened(job.identity["key"], job.token).is_dir() for job in jobs):
                        raise  # a driver presumed this process dead: the trials may already be running again
                    alone += jobs
                    continue
                seconds = (time.perf_counter() - clock) / len(jobs)
                pack = {"pack": [job.identity["key"] for job in jobs]} if self.fixed else {}
                for job, result in zip(jobs, results, strict=True):
                    records.append(job.commit(outcome_of(asdict(result)) | pack, started, seconds))
        return records + [job.run() for job in alone]


def _read_where(config: Path) -> Record | None:
    """Where a trial ran, according to its config.yaml; None if it does not say."""
    try:
        with config.open(encoding="utf-8") as file:
            where: Record = json.loads(file.readline().removeprefix(WHERE))
    except (OSError, ValueError):
        return None
    return where

"""One trial: a config in, a record out. Everything here runs in a worker process, where torch is loaded."""

import hashlib
import json
import time
import traceback
from pathlib import Path
from typing import Any

import yaml

from zoo.files import write_atomically
from zoo.provenance import environment

from .store import SCHEMA, Record, Store
from .tasks import TASKS


def trial_key(task: str, config: dict[str, Any]) -> str:
    """The name of a trial: a hash of the canonical JSON of its resolved config, and of nothing else.

    Not of orders, paths, display names or Lightning's defaults; a user's CSV counts by its content.
    """
    from datamodules import DATAMODULES

    data = DATAMODULES.load(config["data"]["name"]).identity(config["data"])
    canonical = json.dumps(
        {**config, "data": data, "task": task, "schema": SCHEMA}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def resolve_trials(task: str, configs: list[dict[str, Any]], metric: str) -> list[tuple[str, dict[str, Any]]]:
    """The key and the resolved config of each trial, all of them checked before any of them runs.

    Raises:
        InputError: A config that `zoo` would refuse, a metric that it would not measure, or two trials that are one.
    """
    from datamodules.errors import InputError, choose
    from zoo.config import resolve
    from zoo.metrics import metric_names
    from zoo.train import make_trainer, prepare, quiet

    resolved: dict[str, dict[str, Any]] = {}
    prepared = set()
    for given in configs:
        config = resolve(given)
        sections = json.dumps({**config, "seed_everything": None}, sort_keys=True)
        if sections not in prepared:  # building a model and its data finds what types alone do not
            prepared.add(sections)
            model, _ = prepare(config)
            with quiet():
                make_trainer(config, model.num_classes, Path(), progress=False)
            names = metric_names(model.num_classes)
            choose("metric", metric, [f"{split}/{name}" for split in ("test", "val") for name in names])
        key = trial_key(task, config)
        if key in resolved:
            raise InputError(f"two trials of the study are the same: {given}. Take the duplicate out of `vary`.")
        resolved[key] = config
    return list(resolved.items())


def run_trial(folder: str, task: str, config: dict[str, Any], identity: Record) -> Record:
    """Run one trial and leave its folder in the store; an exception becomes a record, not an exception.

    Args:
        folder: The study's folder.
        task: A name in `TASKS`.
        config: The resolved config.
        identity: What the record opens with: study, key, variant, varied, seed.

    Returns:
        The record.
    """
    store = Store(Path(folder))
    scratch = store.scratch(identity["key"])
    write_atomically(scratch / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    start = time.perf_counter()
    try:
        outcome = TASKS[task](config, scratch)
    except Exception as error:
        (scratch / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        outcome = {"status": "failed", "reason": f"{type(error).__name__}: {error}".partition("\n")[0]}
        outcome |= {"metrics": {}, "environment": environment()}
    record = {"schema": SCHEMA, **identity, **outcome, "wall_seconds": time.perf_counter() - start}
    store.commit(scratch, record)
    return record

"""Runs a study: expand, skip what is done, run the rest in workers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from zoo.provenance import code_version

from .engines.local import LocalEngine
from .store import SCHEMA, Record, Store
from .study import Study
from .trial import resolve_trials, run_trial


@dataclass(frozen=True)
class Trial:
    """One trial of a study.

    Attributes:
        config: The resolved config.
        identity: What its record opens with.
    """

    config: dict[str, Any]
    identity: Record


def expand(study: Study, engine: LocalEngine) -> list[Trial]:
    """All trials of a study, variant by variant, checked and keyed in a worker so that this process needs no torch.

    Raises:
        InputError: A config that `zoo` would refuse.
    """
    cells = [(variant, seed) for variant in study.variants for seed in range(study.seeds)]
    configs = [study.config(variant, seed) for variant, seed in cells]
    outcome = next(engine.run(resolve_trials, [(study.task, configs, study.metric)]))
    if outcome.crash:
        raise RuntimeError(f"the worker that checks the study's configs was {outcome.crash}")
    return [
        Trial(config, {"study": study.name, "key": key, "variant": v.name, "varied": v.varied, "seed": seed})
        for (v, seed), (key, config) in zip(cells, outcome.value, strict=True)
    ]


def run_trials(study: Study, trials: list[Trial], store: Store, engine: LocalEngine) -> Iterator[Record]:
    """Run trials, yielding each record as it comes; where a worker dies, this writes a record of status `crashed`."""
    jobs = [(str(store.folder), study.task, trial.config, trial.identity) for trial in trials]
    for outcome in engine.run(run_trial, jobs):
        if outcome.crash:
            trial = trials[outcome.index]
            record = {"schema": SCHEMA, **trial.identity, "status": "crashed", "reason": outcome.crash, "metrics": {}}
            record["environment"] = {"code_version": code_version()}
            store.commit(store.scratch(trial.identity["key"]), record)
            yield record
        else:
            yield outcome.value


def made_by_other_code(records: Iterable[Record]) -> list[Record]:
    """The records that another version of `zoo` and `datamodules` made."""
    return [record for record in records if record["environment"]["code_version"] != code_version()]

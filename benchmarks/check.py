"""Resolves a study's variants, each value once, and finds what `zoo` would refuse. Runs in a worker: needs torch."""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from datamodules import DATAMODULES, create_datamodule
from datamodules.errors import InputError, choose
from zoo.config import resolve
from zoo.metric_names import metric_names
from zoo.optim import check_plan
from zoo.registry import create_model
from zoo.train import check_batches, make_trainer, quiet

from .blame import Resolved, find_problems
from .study import Axis, Config, Study, Variant
from .studyfile import Problem
from .tasks import load_task

MISSING = object()
STAND_INS = {"model": {"name": "perceptron"}, "data": {"name": "iris"}}  # these two always go together
Patch = list[tuple[tuple[str, ...], Any]]  # (path in the nested config, its value or MISSING)


def check_study(study: Study) -> tuple[list[Config], list[Any], list[Problem]]:
    """The resolved config of each variant (without a seed), what stands for its data in keys, and what is wrong."""
    if study.task != "fit":
        try:
            load_task(study.task)
        except InputError as error:
            return [], [], [(("task",), str(error))]
        configs = [study.config(variant) for variant in study.variants]
        return configs, [None] * len(configs), []

    def checked(study: Study) -> Iterator[Resolved]:
        for config in resolve_variants(study):
            yield config if isinstance(config, str) else _refusal(config) or config

    def attempt(config: Config) -> Resolved:
        resolved = _attempt(config)
        return resolved if isinstance(resolved, str) else _refusal(resolved) or resolved

    with quiet():
        configs, problems = find_problems(study, checked, attempt, STAND_INS)
        problems += _unmeasured(study.metric, configs)
        return configs, [] if problems else [_identity(_canonical(config["data"])) for config in configs], problems


def resolve_variants(study: Study) -> Iterator[Resolved]:
    """Each variant's resolved config without a seed, or why it is refused.

    Parsing costs about 10 ms, so a value is parsed once and laid over the other variants as a patch. That holds for
    values that are typed alone; those of entangled axes are parsed in all their combinations.
    """
    entangled = _entangled(study.axes)
    free = [axis for axis in study.axes if axis.name not in entangled]
    references: dict[str, tuple[Variant, Config]] = {}
    patches: dict[str, Patch | str] = {}
    for variant in study.variants:
        group = _canonical({name: variant.cell[name] for name in entangled})
        if group not in references:  # the first of a group that is sound
            config = _attempt(study.config(variant))
            if isinstance(config, dict):
                references[group] = variant, config
            yield config
            continue
        reference, resolved = references[group]
        config = copy.deepcopy(resolved)
        for axis in free:
            value = variant.cell[axis.name]
            name = _canonical([group, axis.name, value])
            if name not in patches:
                changed = study.variant({**reference.cell, axis.name: value})
                after = _attempt(study.config(changed))
                patches[name] = after if isinstance(after, str) else list(_difference(resolved, after))
            patch = patches[name]
            if isinstance(patch, str):
                yield patch
                break
            _apply(config, patch)
        else:
            yield config


def _attempt(config: Config) -> Resolved:
    """The resolved config without its seed, or the refusal."""
    try:
        resolved = resolve(config)
    except InputError as error:
        return str(error)
    del resolved["seed_everything"]
    return resolved


def _refusal(config: Config) -> str:
    """Why a resolved config could not run; empty if it could. Each section is built once."""
    facts = _data_facts(_canonical(config["data"]))
    if isinstance(facts, str):
        return facts
    sections = _canonical([config["trainer"], config["callbacks"]])
    model = _model_refusal(_canonical(config["model"]), *facts, config["trainer"]["max_epochs"])
    return model or _trainer_refusal(sections, facts[1])


def _unmeasured(metric: str, configs: list[Config]) -> list[Problem]:
    """Refuse a metric that some trial would not measure."""
    try:
        for num_classes in {_data_facts(_canonical(config["data"]))[1] for config in configs}:
            names = metric_names(num_classes)  # type: ignore[arg-type]  # all of these could be loaded
            choose("metric", metric, [f"{split}/{name}" for split in ("test", "val") for name in names])
    except InputError as error:
        return [(("metric",), str(error))]
    return []


@cache
def _data_facts(section: str) -> tuple[tuple[int, ...], int, int] | str:
    """Input shape, classes and smallest batch of a data section, or why it cannot be loaded."""
    try:
        data = create_datamodule(**json.loads(section))
        data.setup()
    except InputError as error:
        return str(error)
    return data.input_shape, data.num_classes, data.smallest_batch


@cache
def _model_refusal(section: str, input_shape: tuple[int, ...], num_classes: int, batch: int, epochs: int | None) -> str:
    try:
        model = create_model(**json.loads(section), input_shape=input_shape, num_classes=num_classes)
        check_batches(model, batch)
        check_plan(model.hparams["schedule"], epochs)
    except InputError as error:
        return str(error)
    return ""


@cache
def _trainer_refusal(sections: str, num_classes: int) -> str:
    trainer, callbacks = json.loads(sections)
    try:
        make_trainer({"trainer": trainer, "callbacks": callbacks}, num_classes, Path(), progress=False)
    except InputError as error:
        return str(error)
    return ""


@cache
def _identity(section: str) -> Any:
    params = json.loads(section)
    return DATAMODULES.load(params["name"]).identity(params)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _entangled(axes: list[Axis]) -> list[str]:
    """The axes whose values bear on what others may be: models, data sets, and options of one callback.

    An option of a callback that is off turns it on, so two axes of one callback are not typed alone.
    """
    whole, callbacks = [], []
    for axis in axes:
        parts = [key.split(".") for key in axis.keys]
        if any(len(part) == 1 or part[-1] == "name" for part in parts):
            whole.append(axis.name)
        callbacks.append({part[1] for part in parts if part[0] == "callbacks" and len(part) > 1})
    shared = [
        axis.name
        for n, axis in enumerate(axes)
        if any(callbacks[n] & other for k, other in enumerate(callbacks) if k != n)
    ]
    return [axis.name for axis in axes if axis.name in whole or axis.name in shared]


def _difference(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if _canonical(before) != _canonical(after):
            yield path, after
        return
    for key in {**before, **after}:
        if key not in after:
            yield (*path, key), MISSING
        elif key not in before:
            yield (*path, key), after[key]
        else:
            yield from _difference(before[key], after[key], (*path, key))


def _apply(config: Config, patch: Patch) -> None:
    for path, value in patch:
        section = config
        for part in path[:-1]:
            section = section[part]
        if value is MISSING:
            section.pop(path[-1], None)
        else:
            section[path[-1]] = copy.deepcopy(value)

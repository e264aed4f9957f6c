"""Resolves a study's variants, each value once, and finds what `zoo` would refuse. Runs in a worker: needs torch."""

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from datamodules import DATAMODULES, create_datamodule
from datamodules.errors import InputError, choose
from zoo.callbacks.layers import layers_of
from zoo.callbacks.rare_class import why_not_rare
from zoo.config import resolve
from zoo.models.create import create_model
from zoo.pack import Block, augmentation, blocks_of_model, device_of, diagnosis_signature, flags_beyond, largest_pack
from zoo.parts.metric_names import (
    RARE_CLASS,
    THROUGHPUT,
    callback_of,
    comparable_names,
    diagnosing,
    diagnosis_names,
    measures_gap,
    measures_rare_class,
    measures_throughput,
)
from zoo.parts.optim import check_plan
from zoo.plain import Config, ResolvedConfig, canonical
from zoo.signal_propagation import names, resolve_signal_propagation
from zoo.trainer import bare_trainer, check_batches, check_callbacks, check_division, quiet

from ..study.blame import Resolved, find_plain_problems, find_problems
from ..study.claims import make_claims
from ..study.problems import Problem
from ..study.study import Axis, Study, Variant
from ..study.yaml_lines import Place
from ..tasks import load_task
from ..tasks.machine import lacking, n_processes, without_lacking
from .plan import Checked, Packing

MISSING = object()
_CLAIMED = " All variants that the claim is about must have the layer."
NO_TRAINING = Packing(alone="it does not train by zoo.train.fit")
STAND_INS = {"model": {"name": "perceptron"}, "data": {"name": "iris"}}  # these two always go together
Patch = list[tuple[tuple[str, ...], Any]]  # (path in the nested config, its value or MISSING)


def check_study(study: Study) -> Checked:
    """Resolve a study's variants, or say what is wrong with them."""
    if study.task == "signal_propagation":
        configs, problems = find_plain_problems(study, resolve_signal_propagation, names)
        return Checked(configs, [None] * len(configs), [NO_TRAINING] * len(configs), problems)
    if study.task != "fit":
        try:
            load_task(study.task)
        except InputError as error:
            return Checked(problems=[(("task",), str(error))])
        configs = [study.config(variant) for variant in study.variants]
        return Checked(configs, [None] * len(configs), [NO_TRAINING] * len(configs))

    def checked(study: Study) -> Iterator[Resolved]:
        for config in resolve_variants(study):
            yield config if isinstance(config, str) else _refusal(config) or config

    def attempt(config: Config) -> Resolved:
        resolved = _attempt(config)
        return resolved if isinstance(resolved, str) else _refusal(resolved) or resolved

    with quiet():
        configs, problems = find_problems(study, checked, attempt, STAND_INS)
        problems += _unmeasured_metrics(study, configs, sound=not problems)
        if problems:
            return Checked(problems=problems)
        identities = [_identity(canonical(config["data"])) for config in configs]
        return Checked(configs, identities, [_packing(config) for config in configs])


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
        group = canonical({name: variant.cell[name] for name in entangled})
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
            name = canonical([group, axis.name, value])
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
    """Why a resolved config could not run on any machine; empty if it could. Each section is built once."""
    n_devices = n_processes(config)
    config = without_lacking(config) if _lacking(config) else config
    facts = _data_facts(canonical(config["data"]))
    if isinstance(facts, str):
        return facts
    compiled = {"compile": config["model"].get("compile")}
    sections = canonical({"trainer": config["trainer"], "callbacks": config["callbacks"], "model": compiled})
    model = _model_facts(canonical(config["model"]), facts, config["trainer"]["max_epochs"])
    rare = facts.no_rare_class if measures_rare_class(config["callbacks"]) else ""
    divided = _division_refusal(facts.sizes[-1], n_devices)
    return model.refusal or _trainer_refusal(sections, facts.num_classes) or rare or divided


def _packing(config: Config) -> Packing:
    """How the trials of a resolved config that is not refused can be packed."""
    if reason := _lacking(config):
        return Packing(alone=f"they are skipped here ({reason})")
    facts = _data_facts(canonical(config["data"]))
    assert isinstance(facts, _DataFacts)
    blocks = _model_facts(canonical(config["model"]), facts, config["trainer"]["max_epochs"]).blocks
    alone = flags_beyond(config) or facts.augmentation or (blocks if isinstance(blocks, str) else "")
    if alone or isinstance(blocks, str):
        return Packing(alone=alone)
    device = str(device_of(config))
    shapes = [block.signature() for block in blocks]
    diagnosis = diagnosis_signature(config["callbacks"], blocks)
    epochs = config["trainer"]["max_epochs"]
    signature = canonical([shapes, facts.num_classes, facts.sizes, epochs, device, *diagnosis])
    *rows, batch_size = facts.sizes
    return Packing(signature, largest_pack(blocks, batch_size, sum(rows)), fixed=device != "cpu")


def _lacking(config: Config) -> str:
    """See `lacking`; each machine's worth of flags is looked at once."""
    compiled = {"compile": config["model"].get("compile")}
    return _lacking_of(canonical({"trainer": config["trainer"], "model": compiled}))


@cache
def _lacking_of(sections: str) -> str:
    return lacking(json.loads(sections))


def _unmeasured_metrics(study: Study, configs: list[Config], sound: bool) -> list[Problem]:
    """Refuse metrics that trials would not measure: those of a claim in the variants that it is about, others in all.

    Args:
        study: The study.
        configs: See `blame.find_problems`.
        sound: Whether these are those of all variants, in their order.
    """
    names = [variant.name for variant in study.variants]
    problems: list[Problem] = []
    for metric, place in study.metrics():
        own = configs
        if sound and place[0] == "claims":
            claim = make_claims(study)[int(place[1])]
            own = [configs[names.index(name)] for name in claim.variants]
        found = _unmeasured(metric, place, own)
        if not sound and place[0] == "claims":  # which config is whose is not known: some must measure it
            found = found if all(_unmeasured(metric, place, [config]) for config in configs) else []
        problems += found
    return problems


def _unmeasured(metric: str, place: Place, configs: list[Config]) -> list[Problem]:
    """Refuse a metric that some trial would not measure."""
    kinds: dict[tuple[Any, ...], None] = {}
    for config in configs:
        facts = _data_facts(canonical(config["data"]))
        assert isinstance(facts, _DataFacts)
        on = tuple(diagnosing(config["callbacks"]))
        diagnosed = diagnosis_names(on, *_layers(canonical(config["model"]), facts)) if on else []
        gap, rare = measures_gap(config["callbacks"]), measures_rare_class(config["callbacks"])
        timed = measures_throughput(config["callbacks"])
        kinds[facts.num_classes, gap, rare, timed, on, tuple(diagnosed)] = None
    for num_classes, gap, rare, timed, on, diagnosed in sorted(kinds):
        try:
            choose("metric", metric, comparable_names(num_classes, gap, diagnosed, rare_class=rare, throughput=timed))
        except InputError as error:
            remedy, callback = "", callback_of(metric)
            if metric.startswith(("train_eval/", "gap/")) and not gap:
                remedy = " With callbacks.generalization_gap true in all trials, train_eval/... and gap/... are, too."
            elif metric in RARE_CLASS and not rare:
                remedy = f" With callbacks.rare_class true in all trials, {', '.join(RARE_CLASS)} are, too."
            elif metric in THROUGHPUT and not timed:
                remedy = f" With callbacks.throughput true in all trials, {', '.join(THROUGHPUT)} are, too."
            elif callback and callback not in on:
                remedy = f" With callbacks.{callback} true in all trials, its metrics are, too."
            elif callback:
                remedy = " All variants must have the layer." if place[0] != "claims" else _CLAIMED
            return [(place, f"{error}{remedy}")]
    return []


class _DataFacts(NamedTuple):
    input_shape: tuple[int, ...]
    num_classes: int
    smallest_batch: int
    sizes: tuple[int, ...]  # the rows of each split, and the batch size
    augmentation: str
    no_rare_class: str


class _ModelFacts(NamedTuple):
    refusal: str
    blocks: list[Block] | str


@cache
def _data_facts(section: str) -> _DataFacts | str:
    """What there is to know of a data section, or why it cannot be loaded."""
    try:
        data = create_datamodule(**json.loads(section))
        data.setup()
    except InputError as error:
        return str(error)
    sizes = *(len(rows) for rows in data.indices.values()), data.batch_size
    return _DataFacts(
        data.input_shape, data.num_classes, data.smallest_batch, sizes, augmentation(data), why_not_rare(data)
    )


@cache
def _model_facts(section: str, data: _DataFacts, epochs: int | None) -> _ModelFacts:
    """Why a model section is refused, if it is, and the blocks of its net."""
    try:
        model = create_model(**json.loads(section), input_shape=data.input_shape, num_classes=data.num_classes)
        check_batches(model, data.smallest_batch)
        check_plan(model.hparams["schedule"], epochs)
    except InputError as error:
        return _ModelFacts(str(error), "")
    return _ModelFacts("", blocks_of_model(model))


@cache
def _layers(section: str, data: _DataFacts) -> tuple[int, tuple[int, ...]]:
    """How many linear and conv layers a net has, and the numbers of those with an activation behind them."""
    model = create_model(**json.loads(section), input_shape=data.input_shape, num_classes=data.num_classes)
    layers = layers_of(model)
    return len(layers.weighted), tuple(layers.activations)


@cache
def _trainer_refusal(sections: str, num_classes: int) -> str:
    config = json.loads(sections)
    try:
        check_callbacks(config, num_classes)
        if flags_beyond(config):  # of what packs take, Lightning refuses nothing, so no trainer is made to ask
            bare_trainer(ResolvedConfig(config))
    except InputError as error:
        return str(error)
    return ""


def _division_refusal(batch_size: int, n_devices: int) -> str:
    try:
        check_division(batch_size, n_devices)
    except InputError as error:
        return str(error)
    return ""


@cache
def _identity(section: str) -> Any:
    params = json.loads(section)
    return DATAMODULES.load(params["name"]).identity(params)


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
        if canonical(before) != canonical(after):
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

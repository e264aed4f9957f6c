"""Facts about the sections of a resolved config of the task `fit`, each determined once. Needs torch."""

import json
from functools import cache
from typing import Any, NamedTuple

from datamodules import DATAMODULES, create_datamodule
from datamodules.errors import InputError
from zoo.callbacks.layers import layers_of
from zoo.callbacks.rare_class import why_not_rare
from zoo.models.create import create_model
from zoo.pack import Block, augmentation, blocks_of_model, device_of, diagnosis_signature, flags_beyond, largest_pack
from zoo.parts.metric_names import (
    comparable_names,
    diagnosing,
    diagnosis_names,
    measures_gap,
    measures_rare_class,
    measures_throughput,
)
from zoo.parts.optim import check_plan
from zoo.plain import Config, ResolvedConfig, canonical
from zoo.trainer import bare_trainer, check_batches, check_callbacks, check_division

from .base import Packing
from .machine import lacking, n_processes, without_lacking


class _DataFacts(NamedTuple):
    input_shape: tuple[int, ...]
    num_classes: int
    smallest_batch: int
    sizes: tuple[int, ...]  # number of rows of each split, and batch size
    augmentation: str
    no_rare_class: str


class _ModelFacts(NamedTuple):
    refusal: str
    blocks: list[Block] | str


class Measured(NamedTuple):
    """Facts that determine which metrics a trial measures.

    Attributes:
        num_classes: Number of classes.
        gap: Whether it also evaluates the training set.
        rare_class: Whether it measures the rare class.
        throughput: Whether it measures time and memory.
        diagnosing: The enabled diagnosis callbacks.
        diagnosed: The names of their metrics.
    """

    num_classes: int
    gap: bool
    rare_class: bool
    throughput: bool
    diagnosing: tuple[str, ...]
    diagnosed: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of all metrics that can be compared."""
        return comparable_names(
            self.num_classes, self.gap, list(self.diagnosed), rare_class=self.rare_class, throughput=self.throughput
        )


def measured(config: Config) -> Measured:
    """Facts that determine which metrics a trial of a valid config measures."""
    facts = _data_facts(canonical(config["data"]))
    assert isinstance(facts, _DataFacts)
    callbacks = config["callbacks"]
    on = tuple(diagnosing(callbacks))
    diagnosed = tuple(diagnosis_names(on, *_layers(canonical(config["model"]), facts))) if on else ()
    gap, rare, timed = measures_gap(callbacks), measures_rare_class(callbacks), measures_throughput(callbacks)
    return Measured(facts.num_classes, gap, rare, timed, on, diagnosed)


def refusal(config: Config) -> str:
    """Why a resolved config cannot run on any machine; empty if it can. Each section is built once."""
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


def packing(config: Config) -> Packing:
    """How the trials of a valid resolved config can be packed."""
    if reason := _lacking(config):
        return Packing(alone=f"they are skipped on this machine ({reason})")
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


def identity(config: Config) -> Any:
    """Identity of the data of a config in keys, independent of their location."""
    return _identity(canonical(config["data"]))


def _lacking(config: Config) -> str:
    """See `lacking`; each combination of hardware flags is checked once."""
    compiled = {"compile": config["model"].get("compile")}
    return _lacking_of(canonical({"trainer": config["trainer"], "model": compiled}))


@cache
def _lacking_of(sections: str) -> str:
    return lacking(json.loads(sections))


@cache
def _data_facts(section: str) -> _DataFacts | str:
    """Facts about a data section, or why it cannot be loaded."""
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
    """The error message for a model section, if it is invalid, and the blocks of its net."""
    try:
        model = create_model(**json.loads(section), input_shape=data.input_shape, num_classes=data.num_classes)
        check_batches(model, data.smallest_batch)
        check_plan(model.hparams["schedule"], epochs)
    except InputError as error:
        return _ModelFacts(str(error), "")
    return _ModelFacts("", blocks_of_model(model))


@cache
def _layers(section: str, data: _DataFacts) -> tuple[int, tuple[int, ...]]:
    """The number of linear and conv layers of a net, and the indices of those followed by an activation."""
    model = create_model(**json.loads(section), input_shape=data.input_shape, num_classes=data.num_classes)
    layers = layers_of(model)
    return len(layers.weighted), tuple(layers.activations)


@cache
def _trainer_refusal(sections: str, num_classes: int) -> str:
    config = json.loads(sections)
    try:
        check_callbacks(config, num_classes)
        if flags_beyond(
            config
        ):  # Lightning accepts all flags that packs support, so no trainer is needed to check them
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

"""Resolve the variants of a study of the task `fit`, each value once. Needs torch."""

import copy
from collections.abc import Iterator
from typing import Any

from datamodules.errors import InputError
from zoo.config import resolve
from zoo.plain import Config, canonical

from ..study.blame import Resolved
from ..study.study import Axis, Study, Variant

MISSING = object()
Patch = list[tuple[tuple[str, ...], Any]]  # (path in the nested config, its value or MISSING)


def resolve_variants(study: Study) -> Iterator[Resolved]:
    """The resolved config of each variant without a seed, or its error message.

    Parsing takes about 10 ms, so each value is parsed once and applied to the other variants as a patch. This works for
    values whose types do not depend on other values; those of entangled axes are parsed in all combinations.
    """
    entangled = _entangled(study.axes)
    free = [axis for axis in study.axes if axis.name not in entangled]
    references: dict[str, tuple[Variant, Config]] = {}
    patches: dict[str, Patch | str] = {}
    for variant in study.variants:
        group = canonical({name: variant.cell[name] for name in entangled})
        if group not in references:  # the first valid one of a group
            config = attempt(study.config(variant))
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
                after = attempt(study.config(changed))
                patches[name] = after if isinstance(after, str) else list(_difference(resolved, after))
            patch = patches[name]
            if isinstance(patch, str):
                yield patch
                break
            _apply(config, patch)
        else:
            yield config


def resolve_one(config: Config) -> Config:
    """The resolved config without its seed.

    Raises:
        InputError: It is invalid.
    """
    resolved = resolve(config)
    del resolved["seed_everything"]
    return resolved


def attempt(config: Config) -> Resolved:
    """The resolved config without its seed, or its error message."""
    try:
        return resolve_one(config)
    except InputError as error:
        return str(error)


def _entangled(axes: list[Axis]) -> list[str]:
    """The axes whose values affect the valid values of others: models, data sets, and options of one callback.

    Setting an option of a disabled callback enables it, so two axes of one callback are not independent.
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

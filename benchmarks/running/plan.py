"""The trials of a study with their keys. Imports neither torch nor lightning; code that needs them runs in a worker."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from datamodules.errors import choose, unknown
from zoo.plain import Config, canonical

from ..records.record_file import SCHEMA
from ..study.file import split_setting
from ..study.study import Study, Variant, text
from ..tasks.base import Packing


@dataclass(frozen=True)
class Trial:
    """One trial of a study.

    Attributes:
        key: Name of the trial in the store; see `trial_key`.
        variant: The variant.
        seed: The seed.
        config: The resolved config.
    """

    key: str
    variant: Variant
    seed: int
    config: Config


@dataclass(frozen=True)
class Plan:
    """All trials of a study.

    Attributes:
        study: The study.
        configs: The resolved config of each variant, without a seed.
        keys: The keys of each variant's trials, by seed.
        packings: How each variant's trials can be packed.
    """

    study: Study
    configs: list[Config]
    keys: list[list[str]]
    packings: list[Packing]

    def __len__(self) -> int:
        return sum(map(len, self.keys))

    def keys_by_name(self) -> dict[str, list[str]]:
        """The keys by names of variants."""
        return {variant.name: keys for variant, keys in zip(self.study.variants, self.keys, strict=True)}

    def packing(self, trial: Trial) -> Packing:
        """How a trial can be packed."""
        return self._packing_of[trial.variant.name]

    @cached_property
    def _packing_of(self) -> dict[str, Packing]:
        return dict(zip((variant.name for variant in self.study.variants), self.packings, strict=True))

    def trials(self) -> Iterator[Trial]:
        """All trials, variant by variant."""
        for variant, config, keys in zip(self.study.variants, self.configs, self.keys, strict=True):
            for seed, key in enumerate(keys):
                yield Trial(key, variant, seed, {"seed_everything": seed, **config})


def trial_key(task: str, config: Config, data: Any, seed: int) -> str:
    """The key of a trial: a hash of the canonical JSON of its resolved config.

    It does not depend on the order of keys, on paths, display names or Lightning's defaults. A user's CSV file counts
    by its content.

    Args:
        task: Name of the task.
        config: The resolved config, without a seed.
        data: Identity of the data, which replaces the section `data`, independent of their location; None if there is
            none.
        seed: The trial's seed.
    """
    whole = {**config, "seed_everything": seed, "task": task, "schema": SCHEMA}
    if data is not None:
        whole["data"] = data
    return hashlib.sha256(canonical(whole).encode()).hexdigest()[:16]


def select(study: Study, filters: Sequence[str]) -> Callable[[Trial], bool]:
    """A predicate for the trials selected with `--filter`.

    Args:
        study: The study.
        filters: Filters `key=value`, where the key is an axis, a varied key or `seed`. A trial must have one of the
            given values of each key.

    Raises:
        InputError: No trial has this key or value.
    """
    wanted: dict[str, list[str]] = {}
    for given in filters:
        key, value = split_setting("--filter", given)
        there = {text(seed) for seed in range(study.seeds)} if key == "seed" else set()
        there |= {text({**v.varied, **v.cell}[key]) for v in study.variants if key in {**v.varied, **v.cell}}
        if not there:
            raise unknown(
                "key for --filter", key, {"seed", *(k for v in study.variants for k in {**v.varied, **v.cell})}
            )
        wanted.setdefault(key, []).append(choose(f"value of {key} for --filter", text(value), sorted(there)))

    def selected(trial: Trial) -> bool:
        own = {**trial.variant.varied, **trial.variant.cell, "seed": trial.seed}
        return all(key in own and text(own[key]) in values for key, values in wanted.items())

    return selected

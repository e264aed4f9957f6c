"""A study is data: a base config, what varies, and how often. Imports neither torch nor lightning."""

import copy
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from .yamlfile import Dumper, Place

Config = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """One thing that varies.

    Attributes:
        name: A dotted key, or the name of a group of keys that move together.
        values: What a cell holds for it: the value, or the label in a group.
        settings: What each of them sets: dotted key to value.
    """

    name: str
    values: list[Any]
    settings: list[dict[str, Any]]

    def index(self, value: Any) -> int:
        """The place of a value among those of the axis."""
        return self._places[json.dumps(value, sort_keys=True)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {json.dumps(value, sort_keys=True): n for n, value in enumerate(self.values)}

    @classmethod
    def of(cls, name: str, values: Any) -> "Axis":
        """An axis from a study file: a list of values, or a group's labels with the keys that each sets."""
        if isinstance(values, dict):
            return cls(name, list(values), list(values.values()))
        return cls(name, values, [{name: value} for value in values])

    @property
    def keys(self) -> list[str]:
        """The dotted keys that it sets, each once."""
        return list(dict.fromkeys(key for setting in self.settings for key in setting))


@dataclass(frozen=True)
class Variant:
    """One cell of a study.

    Attributes:
        name: How tables call it: the value, or with several axes all of them.
        cell: Axis to value.
        varied: The varied keys under their dotted names.
    """

    name: str
    cell: dict[str, Any]
    varied: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A question as data.

    Attributes:
        name: The file's name without its ending, unless it says another.
        base: The config that all trials share.
        vary: The axes: a dotted key to its values, or the name of a group to labels, each with the keys that it sets.
        baseline: The variant that the others are compared with: axis to value or label.
        metric: What is compared.
        mode: Which way is better, `max` or `min`.
        margin: The smallest difference in the metric that matters; None where nobody has said.
        seeds: How many seeds, counted from 0.
        task: What a trial does; see `benchmarks.tasks`.
        one_at_a_time: Vary each axis alone, the others at the baseline, in place of the full grid.
        comment: The file's opening comment: question, command, cost and source.
        lines: Where each value comes from: a line of the file, or the option that set it.
    """

    name: str
    base: Config
    vary: dict[str, Any]
    baseline: dict[str, Any]
    metric: str
    mode: str = "max"
    margin: float | None = None
    seeds: int = 5
    task: str = "fit"
    one_at_a_time: bool = False
    comment: str = field(default="", repr=False)
    lines: Mapping[Place, int | str] = field(default_factory=dict, compare=False, repr=False)
    axes: list[Axis] = field(init=False, repr=False)
    variants: list[Variant] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", [Axis.of(name, values) for name, values in self.vary.items()])
        object.__setattr__(self, "variants", [self.variant(cell) for cell in self._cells()])

    @property
    def baseline_name(self) -> str:
        """The name of the baseline variant."""
        return self.variant(self.baseline).name

    @property
    def question(self) -> str:
        """The first line of the opening comment."""
        return self.comment.partition("\n")[0].removeprefix("#").strip()

    @property
    def cost(self) -> str:
        """What the opening comment says after `Cost:`, up to `Source:`; empty where it says nothing."""
        words = " ".join(line.removeprefix("#").strip() for line in self.comment.splitlines())
        found = re.search(r"\bCost: (.*?)(?= *\bSource:|$)", words)
        return found[1].strip() if found else ""

    def to_file(self) -> str:
        """The study as a file that holds all of it, which runs as well."""
        keys = ("name", "task", "base", "vary", "one_at_a_time", "seeds", "baseline", "metric", "margin")
        content = {key: getattr(self, key) for key in keys} | {"metric": {"name": self.metric, "mode": self.mode}}
        if self.margin is None:
            del content["margin"]
        return self.comment + yaml.dump(content, Dumper=Dumper, sort_keys=False)

    def config(self, variant: Variant) -> Config:
        """The config of a variant as written, without a seed."""
        config = copy.deepcopy(self.base)
        # A whole section first, then what lies within it.
        for key, value in sorted(variant.varied.items(), key=lambda item: item[0].count(".")):
            set_dotted(config, key, copy.deepcopy(value))
        return config

    def _cells(self) -> list[dict[str, Any]]:
        if not self.one_at_a_time:
            return [
                dict(zip(self.vary, values, strict=True))
                for values in itertools.product(*(a.values for a in self.axes))
            ]
        others = [(axis.name, value) for axis in self.axes for value in axis.values]
        return [self.baseline, *({**self.baseline, k: v} for k, v in others if not same(v, self.baseline[k]))]

    def variant(self, cell: dict[str, Any]) -> Variant:
        """The variant of a cell: axis to value, in whatever order."""
        cell = {axis.name: cell[axis.name] for axis in self.axes}
        varied: dict[str, Any] = {}
        for axis in self.axes:
            varied |= axis.settings[axis.index(cell[axis.name])]
        if len(cell) == 1:
            return Variant(text(next(iter(cell.values()))), cell, varied)
        shown = cell
        if self.one_at_a_time:
            shown = {name: value for name, value in cell.items() if not same(value, self.baseline[name])}
        labels = _labels([axis.name for axis in self.axes])
        name = ", ".join(f"{labels[axis]}={text(value)}" for axis, value in shown.items())
        return Variant(name or "baseline", cell, varied)


def set_dotted(config: Config, key: str, value: Any) -> None:
    """Set `a.b.c` in nested sections, making those that are not there; `model: mlp` is short for `model.name: mlp`.

    Raises:
        KeyError: The key goes through a plain value; the argument is that value's dotted key.
    """
    *path, last = key.split(".")
    section = config
    for depth, part in enumerate(path):
        inner = section.get(part)
        if isinstance(inner, str) and depth == 0 and part in ("model", "data"):
            inner = section[part] = {"name": inner}
        elif inner is None:
            inner = section[part] = {}
        if not isinstance(inner, dict):
            raise KeyError(".".join(path[: depth + 1]))
        section = inner
    section[last] = value


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are one; unlike for ==, true is not 1."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def text(value: Any) -> str:
    """A value as tables show it."""
    if isinstance(value, dict):  # a whole section: its name first
        rest = (f"{k}={text(v)}" for k, v in value.items() if k != "name")
        return " ".join([*([text(value["name"])] if "name" in value else []), *rest])
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _labels(names: list[str]) -> dict[str, str]:
    """The last part of each dotted name, or all of it where two would be alike; `model.name` is called model."""
    short = {name: name.removesuffix(".name").rpartition(".")[2] for name in names}
    return {k: v if list(short.values()).count(v) == 1 else k for k, v in short.items()}

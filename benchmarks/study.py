"""A study file becomes trials. Imports neither torch nor lightning."""

import copy
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import InputError, choose, require, unknown

from .tasks import TASKS

STUDIES = Path(__file__).parent / "studies"


@dataclass(frozen=True)
class Variant:
    """One cell of a study's grid.

    Attributes:
        name: How tables call it: the value, or with several axes all of them.
        varied: The varied keys under their dotted names.
    """

    name: str
    varied: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A question as data.

    Attributes:
        name: The file's name without its ending.
        question: The first line of the file's opening comment.
        base: The config that all trials share.
        vary: The axes of a full grid: dotted key to values.
        seeds: How many seeds, counted from 0.
        baseline: The variant that the others are compared with: dotted key to value.
        metric: What is compared.
        task: What a trial does.
    """

    name: str
    question: str
    base: dict[str, Any]
    vary: dict[str, list[Any]]
    baseline: dict[str, Any]
    metric: str
    seeds: int = 5
    task: str = "fit"
    variants: list[Variant] = field(init=False)

    def __post_init__(self) -> None:
        cells = [dict(zip(self.vary, values, strict=True)) for values in itertools.product(*self.vary.values())]
        object.__setattr__(self, "variants", [Variant(_variant_name(cell), cell) for cell in cells])
        if self.baseline not in cells:
            raise unknown(
                f"baseline of study {self.name!r}", _variant_name(self.baseline), [v.name for v in self.variants]
            )

    @property
    def baseline_name(self) -> str:
        """The name of the baseline variant."""
        return _variant_name(self.baseline)

    def config(self, variant: Variant, seed: int) -> dict[str, Any]:
        """The config of one trial, not yet resolved."""
        config = {**copy.deepcopy(self.base), "seed_everything": seed}
        for name in ("model", "data"):  # the short form `model: mlp`
            if isinstance(config.get(name), str):
                config[name] = {"name": config[name]}
        for key, value in variant.varied.items():
            *path, last = key.split(".")
            section = config
            for part in path:
                section = section.setdefault(part, {})
                require(isinstance(section, dict), f"study {self.name!r}: the axis {key!r} goes through a plain value.")
            section[last] = value
        return config


def load_study(name: str, seeds: int | None = None) -> Study:
    """A shipped study by its name, or the user's own file.

    Args:
        name: The name or path.
        seeds: Overrides the file's number of seeds.

    Raises:
        InputError: No such study, or one that is not well formed.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else STUDIES / f"{name}.yaml"
    if not path.is_file():
        if path.parent == STUDIES:
            raise unknown("study", name, list_studies())
        raise InputError(f"there is no study file {path}.")
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable as YAML: {error}") from None
    content = _numbers(content)
    require(isinstance(content, dict), f"{path} must hold a mapping.")
    fields = ("task", "base", "vary", "seeds", "baseline", "metric")
    for key in content:
        choose(f"key in {path.name}", key, fields)
    for key in ("base", "vary", "baseline", "metric"):
        require(key in content, f"{path} lacks the key {key!r}.")
    for key in ("base", "vary", "baseline"):
        require(isinstance(content[key], dict) and content[key] != {}, f"{path}: {key!r} must be a mapping, not empty.")
    require(isinstance(content["metric"], str), f"{path}: 'metric' must name a metric, such as test/accuracy.")
    for axis, values in content["vary"].items():
        require(isinstance(axis, str), f"{path}: an axis must be a dotted key, got {axis!r}.")
        require(isinstance(values, list) and values != [], f"{path}: the axis {axis!r} must list at least one value.")
    content["seeds"] = content.get("seeds", 5) if seeds is None else seeds
    enough = type(content["seeds"]) is int and content["seeds"] >= 1
    require(enough, f"seeds must be at least 1, got {content['seeds']}.")
    require(isinstance(content.get("task", "fit"), str), f"{path}: 'task' must name a task, such as fit.")
    choose("task", content.get("task", "fit"), TASKS)
    return Study(name=path.stem, question=_question(text), **content)


def list_studies() -> dict[str, str]:
    """The shipped studies, each with its question."""
    return {path.stem: _question(path.read_text(encoding="utf-8")) for path in sorted(STUDIES.glob("*.yaml"))}


def _question(text: str) -> str:
    first = text.partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _numbers(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text; here it is a number."""
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    return float(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) else value


def _variant_name(varied: Mapping[str, Any]) -> str:
    """The value alone for one axis; else last-part=value for each."""
    if len(varied) == 1:
        return _text(next(iter(varied.values())))
    return ", ".join(f"{key.rpartition('.')[2]}={_text(value)}" for key, value in varied.items())


def _text(value: Any) -> str:
    return "none" if value is None else str(value)

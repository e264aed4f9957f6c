"""A study as data: a base config, the values that vary, and the number of seeds. Imports no torch or lightning."""

import copy
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from zoo.parts.metric_names import is_timing
from zoo.plain import Config, canonical
from zoo.yaml_lines import Dumper, Place

# Values besides metrics that the task `fit` records for each trial; claims and `also` may use them.
OF_TRAINING = ("best_epoch", "epochs_run")
OPTIONAL = ("baseline_per", "margin", "also", "tune", "claims")  # left out of the file if empty


@dataclass(frozen=True)
class Axis:
    """An axis of variation.

    Attributes:
        name: A dotted key, or the name of a group of keys that vary together.
        values: Values of the axis; for a group, its labels.
        settings: For each value, the dotted keys that it sets with their values.
        section: Section of the study file: `vary` or `tune`.
    """

    name: str
    values: list[Any]
    settings: list[dict[str, Any]]
    section: str = "vary"

    def index(self, value: Any) -> int:
        """The index of a value on the axis."""
        return self._places[canonical(value)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {canonical(value): n for n, value in enumerate(self.values)}

    @classmethod
    def of(cls, name: str, values: Any, section: str = "vary") -> "Axis":
        """An axis from a study file: a list of values, or a mapping of labels to the keys that each sets."""
        if isinstance(values, dict):
            return cls(name, list(values), list(values.values()), section)
        return cls(name, values, [{name: value} for value in values], section)

    @property
    def keys(self) -> list[str]:
        """The dotted keys that the axis sets, without duplicates."""
        return list(dict.fromkeys(key for setting in self.settings for key in setting))


@dataclass(frozen=True)
class Variant:
    """One cell of a study.

    Attributes:
        name: Name in tables: the value, or with several axes all values.
        cell: Maps each axis to its value.
        varied: Maps each varied dotted key to its value.
    """

    name: str
    cell: dict[str, Any]
    varied: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A study: one question, with everything needed to run it.

    Attributes:
        name: Name of the study; by default the file name without its extension.
        base: Config shared by all trials.
        vary: The axes. Maps a dotted key to its values, or the name of a group to labels with the keys that each sets.
        baseline: The variant that the others are compared with; maps each axis to a value or label.
        baseline_per: An axis each of whose values has its own baseline, or None. Each data set always has its own.
        metric: Metric that is compared.
        mode: `max` or `min`: whether higher or lower is better.
        margin: The smallest difference in the metric that matters, or None.
        also: Further metrics shown in tables; may include `OF_TRAINING`.
        tune: Maps dotted keys to grids of values. An additional table compares the variants, each at its own best
            value, chosen on validation data.
        claims: Claims made before the study is run; see `benchmarks.study.claims`.
        seeds: Number of seeds, starting from 0.
        task: Task of a trial; see `benchmarks.tasks`.
        one_at_a_time: Vary one axis at a time with the others at the baseline, instead of running the full grid.
        comment: Opening comment of the file: question, command, cost and source.
        lines: Origin of each value: a line of the file, or the option that set it.
        axes: The axes of `vary` and `tune`.
        compared: The variants that tables compare, with the tuned keys at their base values.
        variants: All variants that are run: those compared, then the same at the other values of the grid.
    """

    name: str
    base: Config
    vary: dict[str, Any]
    baseline: dict[str, Any]
    metric: str
    mode: str = "max"
    margin: float | None = None
    also: list[str] = field(default_factory=list)
    tune: dict[str, list[Any]] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    seeds: int = 5
    task: str = "fit"
    one_at_a_time: bool = False
    baseline_per: str | None = None
    comment: str = field(default="", repr=False)
    lines: Mapping[Place, int | str] = field(default_factory=dict, compare=False, repr=False)
    axes: list[Axis] = field(init=False, repr=False)
    compared: list[Variant] = field(init=False, repr=False)
    variants: list[Variant] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        axes = [Axis.of(name, values) for name, values in self.vary.items()]
        object.__setattr__(self, "axes", axes + [Axis.of(name, values, "tune") for name, values in self.tune.items()])
        object.__setattr__(self, "compared", [self.variant(cell) for cell in self._cells()])
        cells = [variant.cell for variant in self.compared]
        tuned = [v for variant in self.compared for v in self.tuned(variant) if v.cell not in cells]
        object.__setattr__(self, "variants", self.compared + tuned)

    @property
    def baseline_name(self) -> str:
        """The name of the baseline variant."""
        return self.variant(self.baseline).name

    @property
    def vary_axes(self) -> list[Axis]:
        """The axes of `vary`, without those of `tune`."""
        return [axis for axis in self.axes if axis.section == "vary"]

    @property
    def data_axis(self) -> Axis | None:
        """The axis along which the data set varies, or None. Each data set has its own baseline."""
        return next((axis for axis in self.vary_axes if {"data", "data.name"} & {*axis.keys}), None)

    @property
    def block_axes(self) -> list[str]:
        """The axes whose values each have their own baseline: the data axis and `baseline_per`."""
        data = self.data_axis
        return [axis.name for axis in self.vary_axes if axis is data or axis.name == self.baseline_per]

    def baseline_of(self, variant: Variant) -> str:
        """The name of a variant's baseline, which has the same values on `block_axes`."""
        return self.variant(self.baseline | {name: variant.cell[name] for name in self.block_axes}).name

    def tuned(self, variant: Variant) -> list[Variant]:
        """A compared variant at each point of the tuning grid, including itself; empty if nothing is tuned."""
        grid = itertools.product(*self.tune.values()) if self.tune else ()
        return [self.variant(variant.cell | dict(zip(self.tune, values, strict=True))) for values in grid]

    @property
    def tuning_metric(self) -> str:
        """The metric by which tuned values are chosen: the study's metric on validation data."""
        return f"val/{self.metric.rpartition('/')[2]}"

    @property
    def question(self) -> str:
        """The first line of the opening comment."""
        return self.comment.partition("\n")[0].removeprefix("#").strip()

    @property
    def cost(self) -> str:
        """The text of the opening comment between `Cost:` and `Source:`; empty if there is none."""
        words = " ".join(line.removeprefix("#").strip() for line in self.comment.splitlines())
        found = re.search(r"\bCost: (.*?)(?= *\bSource:|$)", words)
        return found[1].strip() if found else ""

    @property
    def further_metrics(self) -> list[str]:
        """Metrics in the table of trials besides the one that is compared."""
        names = (name for name, _ in self.metrics() if name != self.metric)
        return list(dict.fromkeys(names))

    @property
    def measures_time(self) -> bool:
        """Whether trials measure time, so that they should run one at a time."""
        timed = (is_timing(name) and not name.endswith("bytes") for name, _ in self.metrics())
        on = get_dotted(self.base, "callbacks.throughput") not in (None, False)
        return (
            on or any(timed) or any(f"{key}.".startswith("callbacks.throughput.") for a in self.axes for key in a.keys)
        )

    def metrics(self) -> list[tuple[str, Place]]:
        """All metrics that trials must measure, each with its place in the study."""
        also: list[tuple[str, Place]] = [
            (name, ("also", place)) for place, name in enumerate(self.also) if name not in OF_TRAINING
        ]
        tuned: list[tuple[str, Place]] = [(self.tuning_metric, ("tune",))] if self.tune else []
        claimed: list[tuple[str, Place]] = [
            (entry["metric"], ("claims", place, "metric"))
            for place, entry in enumerate(self.claims)
            if entry.get("metric", "diverged") not in ("diverged", *OF_TRAINING)
        ]
        return [(self.metric, ("metric",)), *also, *tuned, *claimed]

    def to_file(self) -> str:
        """The complete study as the text of a study file."""
        keys: tuple[str, ...] = ("name", "task", "base", "vary", "one_at_a_time", "tune", "seeds", "baseline")
        keys += ("baseline_per", "metric", "margin", "also", "claims")
        content = {key: getattr(self, key) for key in keys} | {"metric": {"name": self.metric, "mode": self.mode}}
        content = {k: v for k, v in content.items() if v or k not in OPTIONAL}
        return self.comment + yaml.dump(content, Dumper=Dumper, sort_keys=False)

    def config(self, variant: Variant) -> Config:
        """The unresolved config of a variant, without a seed."""
        config = copy.deepcopy(self.base)
        # Set whole sections before the keys within them.
        for key, value in sorted(variant.varied.items(), key=lambda item: item[0].count(".")):
            set_dotted(config, key, copy.deepcopy(value))
        return config

    def _cells(self) -> list[dict[str, Any]]:
        if not self.one_at_a_time:
            return [
                dict(zip(self.vary, values, strict=True))
                for values in itertools.product(*(a.values for a in self.vary_axes))
            ]
        others = [(axis.name, value) for axis in self.vary_axes for value in axis.values]
        return [self.baseline, *({**self.baseline, k: v} for k, v in others if not same(v, self.baseline[k]))]

    def variant(self, cell: dict[str, Any]) -> Variant:
        """The variant of a cell, which maps axes to values in any order; tuned keys default to their base values."""
        fixed = {name: get_dotted(self.base, name) for name in self.tune}
        cell = {axis.name: (fixed | cell)[axis.name] for axis in self.axes}
        varied: dict[str, Any] = {}
        for axis in self.axes:
            varied |= axis.settings[axis.index(cell[axis.name])]
        return Variant(self.name_of(cell, self.vary), cell, varied)

    def name_of(self, cell: dict[str, Any], shown: Iterable[str]) -> str:
        """The name of a cell in tables: its values on the `shown` axes, and tuned values that differ from the base."""
        labels, shown = _labels([axis.name for axis in self.axes]), list(shown)
        if len(shown) == 1:
            words = [text(cell[shown[0]])]
        else:
            if self.one_at_a_time:
                shown = [name for name in shown if not same(cell[name], self.baseline[name])]
            words = [f"{labels[name]}={text(cell[name])}" for name in shown] or ["baseline"]
        tuned = (name for name in self.tune if not same(cell[name], get_dotted(self.base, name)))
        return ", ".join([*words, *(f"{labels[name]}={text(cell[name])}" for name in tuned)])


def set_dotted(config: Config, key: str, value: Any) -> None:
    """Set `a.b.c` in nested sections, creating missing ones; `model: mlp` is short for `model.name: mlp`.

    Raises:
        KeyError: A part of the path is a plain value; the argument is that value's dotted key.
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


def get_dotted(config: Config, key: str) -> Any:
    """The value at `a.b.c` in nested sections; None if there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are equal; unlike with ==, true is not equal to 1."""
    return canonical(a) == canonical(b)


def text(value: Any) -> str:
    """A value as shown in tables."""
    if isinstance(value, dict):  # a whole section: its name first
        rest = (f"{k}={text(v)}" for k, v in value.items() if k != "name")
        return " ".join([*([text(value["name"])] if "name" in value else []), *rest])
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _labels(names: list[str]) -> dict[str, str]:
    """The last part of each dotted name, or the full name if that is ambiguous; `model.name` is shown as model."""
    short = {name: name.removesuffix(".name").rpartition(".")[2] for name in names}
    return {k: v if list(short.values()).count(v) == 1 else k for k, v in short.items()}

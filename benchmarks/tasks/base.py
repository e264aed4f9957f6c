"""The interface of a task: what a trial does, and what the harness must know about it. Does not import torch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.outputs.provenance import code_version
from zoo.plain import Config

from ..study.blame import find_plain_problems
from ..study.problems import Problem
from ..study.study import Study


@dataclass(frozen=True)
class Packing:
    """How the trials of a variant can be packed.

    Attributes:
        signature: Trials with the same signature can share a pack.
        largest: Largest pack that is worthwhile and whose data fit into memory.
        fixed: Whether results depend on the pack, as on a GPU; it must then be the same in every run.
        alone: Why the trials run alone; empty if they can be packed.
    """

    signature: str = ""
    largest: int = 1
    fixed: bool = False
    alone: str = ""


@dataclass(frozen=True)
class Checked:
    """The result of checking a study.

    Attributes:
        configs: The resolved config of each variant, without a seed.
        identities: Identity of each variant's data in keys; None if there is none.
        packings: How the trials of each variant can be packed.
        problems: Problems of the study; the other attributes are then empty.
    """

    configs: list[Config] = field(default_factory=list)
    identities: list[Any] = field(default_factory=list)
    packings: list[Packing] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class Task(ABC):
    """What a trial does.

    A task is created from its name, in the driver and in workers, without heavy imports. Methods that import torch or a
    user's code say so; they are called in workers.

    Attributes:
        name: Name in study files.
        needs_torch: Whether workers import torch and lightning before their first trial. If not, studies are checked in
            the driver.
        trains: Whether it trains on the splits of a data set: its metrics have the names of `zoo.parts.metric_names`,
            and its records hold a best epoch and the number of epochs (`OF_TRAINING`).
        is_own: Whether it is the user's own code, which is looked for next to the study file.
    """

    name: str
    needs_torch: bool = True
    trains: bool = False
    is_own: bool = False

    @abstractmethod
    def resolve(self, config: Config) -> Config:
        """The complete config of a trial, without its seed.

        Raises:
            InputError: A key is unknown, or a value is out of range.
        """

    @abstractmethod
    def metrics(self, config: Config) -> Iterable[str] | None:
        """The names of the metrics that a trial of a complete config measures; None if unknown before it runs."""

    @abstractmethod
    def run(self, config: Config, folder: Path, **options: Any) -> dict[str, Any]:
        """Run a trial, in a worker.

        Args:
            config: Its complete config.
            folder: A folder for its files.
            **options: See `options`.

        Returns:
            The task's fields of the record: at least `metrics`, and `status` unless it is `done` or `diverged`.
        """

    def check(self, study: Study) -> Checked:
        """Resolve the variants of a study, or report their problems; in a worker if the task needs torch."""
        configs, problems = find_plain_problems(study, self.resolve, self.metrics)
        if problems:
            return Checked(problems=problems)
        return Checked(configs, [self.identity(c) for c in configs], [self.packing(c) for c in configs])

    def identity(self, config: Config) -> Any:
        """Identity of the data that replaces the section `data` of a complete config in keys; None for the section."""
        return None

    def packing(self, config: Config) -> Packing:
        """How the trials of a complete config can be packed."""
        return Packing(alone="the task does not use zoo.train.fit")

    def options(self, pack: bool, resolved: bool = True) -> Mapping[str, Any]:
        """Arguments of `run` besides the config.

        Args:
            pack: Whether trials may be packed; false with `--pack off`.
            resolved: Whether the config is complete; one that another version of the code recorded need not be.
        """
        return {}

    def without_locations(self, config: Config) -> Config:
        """A complete config without the locations of its data, which are not part of a key."""
        return config

    def precision(self, config: Config) -> str | None:
        """The floating-point precision that a complete config trains in; None for a task that does not train."""
        return None

    def code_version(self) -> str:
        """The version of the code that a trial's numbers depend on."""
        return code_version()

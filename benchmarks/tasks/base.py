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
        signature: Trials of one signature can share a pack.
        largest: The most of them that pay, and whose data fit into memory.
        fixed: Whether numbers depend on the pack, as on a GPU, so that it must be the same in every run.
        alone: Why they run alone; empty if they can be packed.
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
        identities: What stands for the data of each variant in keys; None if a key needs no such thing.
        packings: How the trials of each variant can be packed.
        problems: What is wrong with the study; the rest is empty then.
    """

    configs: list[Config] = field(default_factory=list)
    identities: list[Any] = field(default_factory=list)
    packings: list[Packing] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class Task(ABC):
    """What a trial does.

    A task is made by its name alone, in the driver and in workers, and making it imports nothing heavy. Methods that
    import torch or a user's code say so: they are called in workers.

    Attributes:
        name: What study files call it.
        needs_torch: Whether its workers import torch and lightning before their first trial. If not, its studies are
            checked in the driver.
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
            InputError: An unknown key, or a value out of range.
        """

    @abstractmethod
    def metrics(self, config: Config) -> Iterable[str] | None:
        """The names of the metrics that a trial of a complete config measures; None if only running it can tell."""

    @abstractmethod
    def run(self, config: Config, folder: Path, **options: Any) -> dict[str, Any]:
        """Run a trial, in a worker.

        Args:
            config: Its complete config.
            folder: A folder for its files.
            **options: See `options`.

        Returns:
            Its part of a record: `metrics` at least, and a `status` if it is not `done` or `diverged`.
        """

    def check(self, study: Study) -> Checked:
        """Resolve the variants of a study, or say what is wrong with them; in a worker if the task needs torch."""
        configs, problems = find_plain_problems(study, self.resolve, self.metrics)
        if problems:
            return Checked(problems=problems)
        return Checked(configs, [self.identity(c) for c in configs], [self.packing(c) for c in configs])

    def identity(self, config: Config) -> Any:
        """What stands for the section `data` of a complete config in keys; None for the section itself."""
        return None

    def packing(self, config: Config) -> Packing:
        """How the trials of a complete config can be packed."""
        return Packing(alone="it does not train by zoo.train.fit")

    def options(self, pack: bool, resolved: bool = True) -> Mapping[str, Any]:
        """What `run` is passed besides the config.

        Args:
            pack: Whether trials may be packed; `--pack off` says no.
            resolved: Whether the config is complete; one that another version of the code recorded need not be.
        """
        return {}

    def without_locations(self, config: Config) -> Config:
        """A complete config without the paths that say where its data lie, which are not part of a key."""
        return config

    def precision(self, config: Config) -> str | None:
        """The floating-point precision that a complete config trains in; None for a task that does not train."""
        return None

    def code_version(self) -> str:
        """The version of the code that a trial's numbers depend on."""
        return code_version()

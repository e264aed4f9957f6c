"""One run that is trained in a pack."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datamodules.base import ArrayDataModule
from datamodules.loader import batch_bounds

from ..models.base import ZooModule
from ..parts.metric_names import diagnosing
from ..parts.seeding import derive_seeds
from ..plain import ResolvedConfig, canonical
from .course import Course
from .shape import Block, blocks_of


@dataclass
class Member:
    """One member of a pack.

    Attributes:
        config: Its resolved config.
        model: Its model, with its initial weights; after training with those of its best epoch.
        data: Its data, which it may share.
    """

    config: ResolvedConfig
    model: ZooModule
    data: ArrayDataModule

    def __post_init__(self) -> None:
        trainer, data, blocks = self.config["trainer"], self.data, blocks_of(self.model.net)
        assert isinstance(blocks, list), blocks
        self.blocks = blocks
        self.seeds = derive_seeds(self.config["seed_everything"])
        self.bounds = batch_bounds(len(data.indices["train"]), data.batch_size, min(2, data.batch_size))
        self.clip = trainer["gradient_clip_val"] or math.inf  # to Lightning, too, 0 means off
        self.course = Course(self.model, self.config["callbacks"], trainer["max_epochs"], len(self.bounds))
        self.tested: dict[str, float] = {}
        self.initial: dict[str, float] = {}  # what its diagnosis callbacks measured of the initial weights

    def signature(self) -> tuple[Any, ...]:
        """What the members of a pack have in common."""
        data = self.data
        return (
            tuple(block.signature() for block in self.blocks),
            self.model.num_classes,
            tuple(len(rows) for rows in data.indices.values()),
            data.batch_size,
            self.config["trainer"]["max_epochs"],
            *diagnosis_signature(self.config["callbacks"], self.blocks),
        )


def diagnosis_signature(callbacks: Mapping[str, Any], blocks: Sequence[Block]) -> list[Any]:
    """What members of a pack have in common of a diagnosis: options, and where activations are; nothing without one."""
    options = diagnosing(callbacks)
    return [canonical(options), *(block.activation is not None for block in blocks)] if options else []

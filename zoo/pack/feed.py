"""The batches of many members, cut from the data that they share."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.base import ArrayDataModule

from ..models.base import ZooModule
from .net import padded
from .shape import Block

EVAL_BATCH = ArrayDataModule.eval_batch_size


class Split:
    """One split of every member's data; members with the same data share its rows.

    Attributes:
        n: Rows that each member has.
        y: Targets, (K, n): classes, or standardised values.
        masses: What `target_masses` says of every member's rows, one member after the other; empty if left out.

    Args:
        split: train, val or test.
        datas: Each member's data.
        blocks: A member's blocks, which say how batches are padded.
        device: Where to compute.
        masses: What `target_masses` says of the rows of each member's split; empty to leave them out.
    """

    def __init__(
        self,
        split: str,
        datas: Sequence[ArrayDataModule],
        blocks: Sequence[Block],
        device: torch.device,
        masses: Sequence[Tensor] = (),
    ) -> None:
        self.blocks = blocks
        own: dict[int, int] = {}  # where the rows of each data set begin
        parts: list[Tensor] = []
        for data in datas:
            if id(data) not in own:
                own[id(data)] = sum(len(part) for part in parts)
                parts.append(data.arrays(split)[0].flatten(1))
        # The last row is the sample that batches are padded with.
        self.x = torch.cat([*parts, torch.zeros(1, parts[0].shape[1])]).to(device)
        self.y = torch.stack([data.arrays(split)[1] for data in datas]).to(device)
        self.n = self.y.shape[1]
        self.starts = torch.tensor([own[id(data)] for data in datas], device=device).unsqueeze(1)
        self.mass_starts = torch.arange(len(datas), device=device).unsqueeze(1) * self.n
        # As in `x`, the last row is that of the padding.
        self.masses = torch.cat([*masses, *(torch.zeros_like(own[:1]) for own in masses[:1])] or [self.x[:0]]).to(
            device
        )

    def keep(self, members: list[int]) -> None:
        """Go on with these members alone, in this order."""
        self.y, self.starts, self.mass_starts = self.y[members], self.starts[members], self.mass_starts[members]

    def pad(self, rows: Tensor, last: int) -> Tensor:
        """Rows (K, n) with the index of the zero sample behind them, as often as a batch needs."""
        return F.pad(rows, (0, padded(rows.shape[1], self.blocks) - rows.shape[1]), value=last)

    def inputs(self, rows: Tensor) -> Tensor:
        """The samples of rows (K, B) of `x`, as (K, features, B)."""
        return self.x.index_select(0, rows.flatten()).unflatten(0, rows.shape).transpose(1, 2)


def target_masses(model: ZooModule, y: Tensor) -> Tensor:
    """What each sample's target weighs in the loss of its batch: (n, C), and in a last column the sample's weight.

    The loss of a batch is -Σ mass·log p / Σ weight: cross entropy with class weights and label smoothing as torch's
    (Szegedy et al. 2016, sec. 7). In a regression the one mass is the target itself.
    """
    if model.num_classes == 1:
        return torch.stack([y, torch.ones_like(y)], 1)
    n_classes, smoothing = model.num_classes, model.hparams["label_smoothing"]
    weight = torch.ones(n_classes) if model.class_weight is None else model.class_weight
    table = torch.diag(weight) * (1 - smoothing) + smoothing / n_classes * weight
    return torch.cat([table, weight.unsqueeze(1)], 1)[y]

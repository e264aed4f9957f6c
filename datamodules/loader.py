"""Batches cut from arrays in memory, sharded across ranks."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Transform = Callable[[Tensor, torch.Generator], Tensor]


class BatchLoader:
    """Iterates over `(x, y)` batches of arrays that stay in memory, where they lie (CPU or GPU).

    A stand-in for `DataLoader` where the data set fits in memory: slicing tensors costs microseconds a batch, a
    Python call per sample several times the training of a small net.

    `batch_size` counts the samples of all ranks together. Every rank draws the same permutation and takes its share of
    each batch, so ranks are disjoint, cover every sample once without padding, and run equally many steps: those of one
    process. A last batch of one sample, too small for batch norm, joins the one before. Other last batches may be cut
    into unequal shares, some of them empty, unless there is batch norm: then every rank has two samples in each batch.

    Args:
        x: Inputs, (N, *input_shape).
        y: Targets, (N,).
        batch_size: Samples in a batch, over all ranks.
        shuffle_seed: Seeds a fresh order for each epoch; None keeps the order.
        rank: This process's rank.
        world_size: The number of ranks.
        transform: Applied to each batch of inputs, with a generator seeded by epoch; for augmentation.
        batch_norm: Whether every rank needs two samples in a batch.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        transform: Transform | None = None,
        batch_norm: bool = False,
    ) -> None:
        self.x, self.y = x, y
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.rank, self.world_size = rank, world_size
        self.transform = transform
        self.epoch = 0
        self._order: Tensor | None = None
        self._bounds = batch_bounds(len(x), batch_size, smallest_last(batch_size, world_size, batch_norm))

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of batches: x (B, *input_shape), y (B,); the next call shuffles anew."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        if self.shuffle_seed is None:
            self._order, augment = None, torch.Generator().manual_seed(epoch)
        else:
            order, augment = epoch_order(self.shuffle_seed, epoch, len(self.x))
            self._order = order.to(self.x.device)
        for number in range(len(self)):
            part = self._part(number, self.rank, self.world_size)
            if self.transform is None:
                yield self.x[part], self.y[part]
            else:  # of the whole batch, so that each image is augmented as it would be in one process
                x = self.transform(self.x[self._part(number)], augment)
                yield x[self.rank :: self.world_size], self.y[part]

    def targets(self, number: int) -> Tensor:
        """The targets of all ranks together, (B,), in a batch of the epoch under way, counted from 0."""
        return self.y[self._part(number)]

    def _part(self, number: int, first: int = 0, step: int = 1) -> slice | Tensor:
        """Which rows a batch holds, or a share of them: every `step`-th from `first` on."""
        start, stop = self._bounds[number]
        part = slice(start + first, stop, step)
        return part if self._order is None else self._order[part]


def epoch_order(seed: int, epoch: int, n: int) -> tuple[Tensor, torch.Generator]:
    """The order of n samples in an epoch, (n,), and the generator of its augmentation.

    Seeded by (seed, epoch) and not by what ran before: any epoch's order can be had by itself.
    """
    order_seed, augment_seed = np.random.SeedSequence([seed, epoch]).generate_state(2).tolist()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(order_seed))
    return order, torch.Generator().manual_seed(augment_seed)


def has_batch_norm(model: nn.Module | None) -> bool:
    """Whether a model normalises by batches, so that one sample is too few."""
    return model is not None and any(isinstance(layer, _BatchNorm) for layer in model.modules())


def smallest_last(batch_size: int, world_size: int, batch_norm: bool) -> int:
    """How many samples a last batch must have, over all ranks, not to join the one before."""
    return min(2 * world_size if batch_norm else 2, batch_size)


def batch_bounds(n: int, batch_size: int, smallest: int) -> list[tuple[int, int]]:
    """(start, stop) of each batch of n samples; a last one below `smallest` joins the one before."""
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] < smallest:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))

"""Batches sliced from arrays in memory, sharded across ranks."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Transform = Callable[[Tensor, torch.Generator], Tensor]


class BatchLoader:
    """Iterates over `(x, y)` batches of arrays in memory, on the CPU or GPU.

    Replaces `DataLoader` for data sets that fit in memory: slicing a tensor takes microseconds per batch, while one
    Python call per sample takes several times as long as training a small net.

    `batch_size` counts the samples of all ranks together. Every rank draws the same permutation and takes its part of
    each batch. Ranks are therefore disjoint, cover every sample once without padding, and take as many steps as a
    single process. A last batch of one sample, too small for batch norm, is merged with the previous one. Other last
    batches may be divided unequally, and some parts may be empty, unless the model has batch norm: then every rank
    has at least two samples in each batch.

    Args:
        x: Inputs, (N, *input_shape).
        y: Targets, (N,).
        batch_size: Samples per batch, over all ranks together.
        shuffle_seed: Seed of the order, which is different in every epoch; None keeps the order of the arrays.
        rank: Rank of this process.
        world_size: Number of ranks.
        transform: Augmentation of input batches, called with a generator that is seeded for each epoch.
        batch_norm: Whether every rank needs at least two samples in each batch.
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
        """Number of batches per epoch."""
        return len(self._bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch, x (B, *input_shape) and y (B,); the next call reshuffles."""
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
            else:  # augment the whole batch, so that each image is augmented as in a single process
                x = self.transform(self.x[self._part(number)], augment)
                yield x[self.rank :: self.world_size], self.y[part]

    def targets(self, number: int) -> Tensor:
        """Return the targets of all ranks, (B,), for batch `number` (from 0) of the current epoch."""
        return self.y[self._part(number)]

    def _part(self, number: int, first: int = 0, step: int = 1) -> slice | Tensor:
        """Return the rows of a batch, or every `step`-th of them from `first` on."""
        start, stop = self._bounds[number]
        part = slice(start + first, stop, step)
        return part if self._order is None else self._order[part]


def epoch_order(seed: int, epoch: int, n: int) -> tuple[Tensor, torch.Generator]:
    """Return the order of n samples in an epoch, (n,), and the generator for its augmentation.

    Both depend on (seed, epoch) only, so any epoch can be reproduced on its own.
    """
    order_seed, augment_seed = np.random.SeedSequence([seed, epoch]).generate_state(2).tolist()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(order_seed))
    return order, torch.Generator().manual_seed(augment_seed)


def has_batch_norm(model: nn.Module | None) -> bool:
    """Whether a model has batch norm, which needs more than one sample per batch."""
    return model is not None and any(isinstance(layer, _BatchNorm) for layer in model.modules())


def smallest_last(batch_size: int, world_size: int, batch_norm: bool) -> int:
    """Minimum size of the last batch, over all ranks; a smaller one is merged with the previous batch."""
    return min(2 * world_size if batch_norm else 2, batch_size)


def batch_bounds(n: int, batch_size: int, smallest: int) -> list[tuple[int, int]]:
    """Return (start, stop) of each batch of n samples; a last batch below `smallest` is merged with the previous."""
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] < smallest:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))

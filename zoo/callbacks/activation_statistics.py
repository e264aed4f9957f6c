"""How large activations are, and whether the signal comes through."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from .layers import Diagnosis, widest

INPUT = 0  # the number of the net's input among layers counted from 1


@dataclass
class ActivationStatisticsOptions:
    """Measures the mean and spread of each hidden layer's activations (activation_mean/..., activation_std/...).

    Measured in each validation, in eval mode, over all samples and units of the activation behind `layer_1`, `layer_2`,
    ... `signal_ratio` is the root mean square of the last such layer over that of the net's input: 1 where a signal
    comes through as it was (He et al. 2015, sec. 2.2). `init/...` are those of the initial weights, in the forward pass
    of the very first training batch: batch norm by that batch, dropout on.
    """

    def make(self, out: Path, num_classes: int) -> L.Callback:
        """The callback for Lightning; packs have their own."""
        return ActivationStatistics()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of all elements and of their squared distances from it."""
    mean = x.mean()
    return mean, (x - mean).square_().mean()  # `torch.var_mean` takes ten times as long


def named(seen: Mapping[int, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The metrics.

    Args:
        seen: The mean, and the mean square, of the input and of each layer, by its number; of any shape.
    """
    values: dict[str, Tensor] = {}
    for number, (mean, square) in seen.items():
        if number != INPUT:
            values[f"activation_mean/layer_{number}"] = mean
            values[f"activation_std/layer_{number}"] = (square - mean.square()).clamp(min=0).sqrt()
    if len(seen) > 1:
        values["signal_ratio"] = (seen[max(seen)][1] / seen[INPUT][1]).sqrt()
    return values


class ActivationStatistics(Diagnosis):
    """See `ActivationStatisticsOptions`."""

    def __init__(self) -> None:
        super().__init__()
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._looking_at_first = False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Look at the very first batch."""
        if trainer.current_epoch == batch_idx == 0:
            self._looking_at_first = True
            self._begin(pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """The first batch is done."""
        if self._looking_at_first:
            self._looking_at_first = False
            self.note_initial(self._end(trainer))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look from here on."""
        if not trainer.sanity_checking:
            self._begin(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the statistics."""
        if not trainer.sanity_checking:
            self.report(trainer, self._end(trainer))

    def _begin(self, module: L.LightningModule) -> None:
        device = next(module.parameters()).device
        # Of each: how many elements, their sum, their sum of squares; a rank's share of a tiny split may be empty.
        self._seen = {n: torch.zeros(3, dtype=widest(device), device=device) for n in (INPUT, *self.layers.activations)}
        net = module.net
        assert isinstance(net, nn.Module)
        self._hooks = self.look(self._see)
        self._hooks.append(net.register_forward_pre_hook(lambda module, inputs: self._see(INPUT, inputs[0])))

    def _see(self, number: int, outputs: Tensor) -> None:
        mean, variance = moments(outputs.detach().float())
        mean, variance = mean.to(self._seen[number].dtype), variance.to(self._seen[number].dtype)
        self._seen[number] += outputs.numel() * torch.stack([torch.ones_like(mean), mean, variance + mean.square()])

    def _end(self, trainer: L.Trainer) -> dict[str, Tensor]:
        for hook in self._hooks:
            hook.remove()
        totals = {n: trainer.strategy.reduce(own, reduce_op="sum") for n, own in self._seen.items()}  # over ranks
        return named({n: (total / count, squares / count) for n, (count, total, squares) in totals.items()})

"""Statistics of activations, and how the signal propagates."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from .layers import Diagnosis, widest

INPUT = 0  # number of the net's input; layers are numbered from 1


@dataclass
class ActivationStatisticsOptions:
    """Measures mean and standard deviation of each layer's activations (activation_mean/..., activation_std/...).

    Measured in every validation, in eval mode, over all samples and units of the activation after `layer_1`, `layer_2`,
    ... `signal_ratio` is the root mean square of the last activation divided by that of the net's input: 1 if the
    signal keeps its size (He et al. 2015, sec. 2.2). `init/...` are measured with the initial weights, in the forward
    pass of the first training batch, in training mode.
    """

    def check(self, num_classes: int) -> None:
        """Accept every value; there is nothing to check."""

    def make(self, out: Path) -> L.Callback:
        """Create the callback for Lightning; packs have their own implementation."""
        return ActivationStatistics()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (population) variance of all elements."""
    mean = x.mean()
    return mean, (x - mean).square_().mean()  # `torch.var_mean` takes ten times as long


def named(seen: Mapping[int, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Compute the metrics by name.

    Args:
        seen: Mean and mean square of the input and of each layer, by layer number; of any shape.
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
        """Start measuring at the first batch of training."""
        if trainer.current_epoch == batch_idx == 0:
            self._looking_at_first = True
            self._begin(pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Report the first batch of training."""
        if self._looking_at_first:
            self._looking_at_first = False
            self.note_initial(self._end(trainer))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start measuring."""
        if not trainer.sanity_checking:
            self._begin(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the statistics."""
        if not trainer.sanity_checking:
            self.report(trainer, self._end(trainer))

    def _begin(self, module: L.LightningModule) -> None:
        device = next(module.parameters()).device
        # For each: number of elements, sum, sum of squares. A rank's part of a very small split may be empty.
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

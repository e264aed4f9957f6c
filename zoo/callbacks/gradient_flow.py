"""Gradient norm of each layer, and the relative size of its weight updates."""

from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import torch
from torch import Tensor

from datamodules.errors import require

from .layers import SampledSteps, norm


@dataclass
class GradientFlowOptions:
    """Measures each layer's gradient norm and update ratio at sampled steps (gradient_norm/..., update_ratio/...).

    For the weights of each layer, from `layer_1` at the input: the norm of the gradient before clipping, which shows
    vanishing gradients (Glorot & Bengio 2010, sec. 4.2), and the norm of the update divided by the norm of the weights
    before it. Biases are excluded: most start at zero, so the ratio is undefined, and before batch norm their gradient
    is only rounding error. Values are means over the epoch's sampled steps: the first, and every `every_n_steps`-th
    after it. `init/...` are those of the first step of training.

    Args:
        every_n_steps: Measure every n-th optimizer step of an epoch; at least 1.
    """

    every_n_steps: int = 20

    def check(self, num_classes: int) -> None:
        """Check that the options are in range.

        Raises:
            InputError: If an option is out of range.
        """
        check_every("gradient_flow", self.every_n_steps)

    def make(self, out: Path) -> L.Callback:
        """Create the callback for Lightning; packs have their own implementation."""
        return GradientFlow(self.every_n_steps)


def check_every(callback: str, every_n_steps: int) -> None:
    """Check the option `every_n_steps`.

    Raises:
        InputError: If it is below 1.
    """
    require(every_n_steps >= 1, f"callbacks.{callback}.every_n_steps must be at least 1, got {every_n_steps}.")


class GradientFlow(SampledSteps):
    """See `GradientFlowOptions`."""

    def __init__(self, every_n_steps: int) -> None:
        super().__init__(every_n_steps)
        self._norms: list[Tensor] = []  # (layers,) each
        self._ratios: list[Tensor] = []
        self._before: list[Tensor] = []

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure the gradients and store the weights."""
        weights = self._weights()
        if not weights:  # the net has no layers of these types
            return
        # Frozen weights have no gradient.
        norms = [norm(torch.zeros_like(weight) if weight.grad is None else weight.grad) for weight in weights]
        self._norms.append(torch.stack(norms))
        self._before = [weight.detach().clone() for weight in weights]

    def after_step(self) -> None:
        """Measure the change of the weights."""
        if not self._before:
            return
        pairs = [(now.detach(), before) for now, before in zip(self._weights(), self._before, strict=True)]
        sizes = torch.stack([norm(before) for _, before in pairs])
        self._ratios.append(torch.stack([norm(after - before) for after, before in pairs]) / sizes)
        if len(self._ratios) == 1 and not self.initial:
            self.note_initial(_named(self._norms[0], self._ratios[0]))
        self._before = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the means of the epoch."""
        if self._ratios:
            self.report(trainer, _named(torch.stack(self._norms).mean(0), torch.stack(self._ratios).mean(0)))
        self._norms, self._ratios = [], []

    def _weights(self) -> list[Tensor]:
        return [layer.get_parameter("weight") for layer in self.layers.weighted]


def _named(norms: Tensor, ratios: Tensor) -> dict[str, Tensor]:
    return {
        f"{quantity}/layer_{number}": value
        for quantity, values in (("gradient_norm", norms), ("update_ratio", ratios))
        for number, value in enumerate(values, 1)
    }

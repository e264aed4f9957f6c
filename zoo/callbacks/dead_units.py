"""Dead and saturated units."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from datamodules.errors import require

from ..parts.layers import ACTIVATIONS
from .layers import Diagnosis

# The asymptotes of activations that are bounded on both sides.
BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0)}
NAMES = {cls: name for name, cls in ACTIVATIONS.items()}


@dataclass
class DeadUnitsOptions:
    """Measures the fraction of dead and saturated units in each layer (dead_units/..., saturated_units/...).

    Measured in every validation, in eval mode, on the outputs of the activation after `layer_1`, `layer_2`, ... A unit
    is dead if its output is exactly zero for every validation sample; a dead ReLU gets no gradient (Lu et al. 2019). A
    unit is saturated if its output is within `threshold` of an asymptote, relative to the range between the two
    asymptotes, for at least `share` of the samples. At .01, the derivatives of sigmoid and tanh are below 4 % of their
    maximum (see Glorot & Bengio 2010, sec. 3). Only sigmoid, tanh and softsign can saturate; for activations that are
    not bounded on both sides the fraction is 0. In convolutional layers, units are channels and every pixel is a
    sample. `init/...` are measured with the initial weights on the same samples, where batch norm still passes its
    inputs through unchanged.

    Args:
        threshold: Maximum distance of a saturated output from an asymptote, as a fraction of the activation's range, in
            (0, 0.5].
        share: Fraction of samples whose output must be that close for a unit to count as saturated, in (0, 1].
    """

    threshold: float = 0.01
    share: float = 0.95

    def check(self, num_classes: int) -> None:
        """Check that the options are in range.

        Raises:
            InputError: If an option is out of range.
        """
        require(0 < self.threshold <= 0.5, f"callbacks.dead_units.threshold must be in (0, 0.5], got {self.threshold}.")
        require(0 < self.share <= 1, f"callbacks.dead_units.share must be in (0, 1], got {self.share}.")

    def make(self, out: Path) -> L.Callback:
        """Create the callback for Lightning; packs have their own implementation."""
        return DeadUnits(self.threshold, self.share)


def near_asymptote(activation: str, outputs: Tensor, threshold: float) -> Tensor:
    """1.0 for each output of a bounded activation near an asymptote, otherwise 0.0; see `DeadUnitsOptions`."""
    low, high = BOUNDED[activation]
    # Computing in place and without booleans takes a fifth of the time; sums of these are exact up to 2**24.
    return (outputs.float() - (low + high) / 2).abs_().gt_((high - low) * (0.5 - threshold))


class DeadUnits(Diagnosis):
    """See `DeadUnitsOptions`."""

    def __init__(self, threshold: float, share: float) -> None:
        super().__init__()
        self.threshold, self.share = threshold, share
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure the initial weights."""
        loader: Iterable[tuple[Tensor, Tensor]] = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        modes = [(module, module.training) for module in pl_module.modules()]
        pl_module.eval()
        self._begin(pl_module)
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for x, _ in loader:
                if len(x) > 0:
                    pl_module(x.to(pl_module.device))
        for module, mode in modes:
            module.training = mode
        self.note_initial(self._end(trainer))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start measuring."""
        if not trainer.sanity_checking:
            self._begin(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the fractions."""
        if not trainer.sanity_checking:
            self.report(trainer, self._end(trainer))

    def _begin(self, module: nn.Module) -> None:
        device = next(module.parameters()).device
        # Before any batch, since a rank's part of a very small split may be empty.
        self._seen = {n: torch.zeros(3, w, dtype=torch.long, device=device) for n, w in self.layers.widths.items()}
        self._hooks = self.look(self._see)

    def _see(self, number: int, outputs: Tensor) -> None:
        """Count, for each unit, batches in which it is alive, samples near an asymptote, and all samples."""
        alive, saturated, n = self._seen[number]
        dims = [dim for dim in range(outputs.dim()) if dim != 1]
        alive += (outputs.amax(dims) != 0) | (outputs.amin(dims) != 0)
        n += outputs.numel() // outputs.shape[1]
        name = NAMES[type(self.layers.activations[number])]
        if name in BOUNDED:
            saturated += near_asymptote(name, outputs, self.threshold).sum(dims).long()

    def _end(self, trainer: L.Trainer) -> dict[str, Tensor]:
        for hook in self._hooks:
            hook.remove()
        values: dict[str, Tensor] = {}
        for number, own in self._seen.items():
            alive, saturated, n = trainer.strategy.reduce(
                own, reduce_op="sum"
            )  # over ranks, which have different samples
            values[f"dead_units/layer_{number}"] = (alive == 0).float().mean()
            values[f"saturated_units/layer_{number}"] = (saturated >= self.share * n).float().mean()
        return values

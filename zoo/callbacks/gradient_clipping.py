"""Effect of gradient clipping."""

from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import torch
from torch import Tensor

from .gradient_flow import check_every
from .layers import SampledSteps


@dataclass
class GradientClippingOptions:
    """Measures the gradient norm before and after clipping, and the fraction of clipped steps (clipped_steps).

    `gradient_norm/before_clipping` and `gradient_norm/after_clipping` are norms over all parameters, including biases
    and norm layers, as for `trainer.gradient_clip_val`. They are means over the epoch's sampled steps (the first, and
    every `every_n_steps`-th after it); `clipped_steps` is the fraction of these whose gradient was changed.

    Args:
        every_n_steps: Measure every n-th optimizer step of an epoch; at least 1.
    """

    every_n_steps: int = 1

    def check(self, num_classes: int) -> None:
        """Check that the options are in range.

        Raises:
            InputError: If an option is out of range.
        """
        check_every("gradient_clipping", self.every_n_steps)

    def make(self, out: Path) -> L.Callback:
        """Create the callback for Lightning; packs have their own implementation."""
        return GradientClipping(self.every_n_steps)


class GradientClipping(SampledSteps):
    """See `GradientClippingOptions`."""

    def __init__(self, every_n_steps: int) -> None:
        super().__init__(every_n_steps)
        self._gradients: list[Tensor] = []
        self._before: list[Tensor] = []  # a number each
        self._after: list[Tensor] = []

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure gradients before clipping."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self._before.append(_total(self._gradients))

    def after_step(self) -> None:
        """Measure gradients after clipping, which works in place; they are not cleared yet."""
        self._after.append(_total(self._gradients))
        self._gradients = []
        if not self.initial:
            self.note_initial(_norms(self._before[0], self._after[0]))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the means of the epoch."""
        if self._after:
            before, after = torch.stack(self._before), torch.stack(self._after)
            # A gradient that is not clipped is multiplied by one, or not at all, so its norm is bit-identical.
            clipped = (after < before).float().mean()
            self.report(trainer, {**_norms(before.mean(), after.mean()), "clipped_steps": clipped})
        self._before, self._after = [], []


def _total(gradients: list[Tensor]) -> Tensor:
    """Norm of all gradients; `torch.nn.utils.get_total_norm` does more, and takes more than twice as long."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def _norms(before: Tensor, after: Tensor) -> dict[str, Tensor]:
    return {"gradient_norm/before_clipping": before, "gradient_norm/after_clipping": after}

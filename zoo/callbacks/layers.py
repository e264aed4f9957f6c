"""The layers of a net in execution order, and base classes of the callbacks that measure them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..models.base import ZooModule
from ..parts.layers import ACTIVATIONS, is_weighted

ACTIVE = tuple(ACTIVATIONS.values())


@dataclass
class Layers:
    """The layers of a net.

    Attributes:
        weighted: Layers with weights (`zoo.parts.layers.WEIGHTED`); the first, `layer_1`, is next to the input.
        activations: The activation after each weighted layer, by the layer's number (from 1); if several, the last.
        widths: Number of units or channels of each of `activations`.
        calls: For each activation module, its calls in a forward pass: the number of the preceding weighted layer, or
            None if another activation follows before the next one. A module may be called more than once.
    """

    weighted: list[nn.Module] = field(default_factory=list)
    activations: dict[int, nn.Module] = field(default_factory=dict)
    widths: dict[int, int] = field(default_factory=dict)
    calls: dict[nn.Module, list[int | None]] = field(default_factory=dict)


def layers_of(model: ZooModule) -> Layers:
    """Find the layers of a model with a forward pass of two zero inputs; layers that are not reached come last.

    Draws no random numbers and does not change the model.
    """
    found = Layers()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if is_weighted(module):
            if module not in found.weighted:
                found.weighted.append(module)
            return
        number = len(found.weighted) or None
        if number in found.activations:  # another activation after the same layer
            earlier = found.calls[found.activations[number]]
            earlier[earlier.index(number)] = None
        found.calls.setdefault(module, []).append(number)
        if number is not None:
            found.activations[number], found.widths[number] = module, output.shape[1]

    looked_at = [m for m in model.net.modules() if is_weighted(m) or type(m) in ACTIVE]
    hooks = [module.register_forward_hook(note) for module in looked_at]
    modes = [(module, module.training) for module in model.modules()]
    parameter = next(model.parameters())
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(2, *model.hparams["input_shape"], device=parameter.device, dtype=parameter.dtype))
    finally:
        for module, mode in modes:
            module.training = mode
        for hook in hooks:
            hook.remove()
    found.weighted += [m for m in looked_at if is_weighted(m) and m not in found.weighted]
    return found


class Diagnosis(L.Callback):
    """A callback that measures layers and adds the values to the run's curve and result.

    It does not synchronise with a GPU within an epoch, draws no random numbers and does not change any other result.

    Attributes:
        initial: Values for the initial weights, with the names of the curve and the prefix `init/`.
    """

    layers: Layers

    def __init__(self) -> None:
        self.initial: dict[str, float] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the layers, before anything wraps them."""
        if stage == "fit":
            assert isinstance(pl_module, ZooModule)
            self.layers = layers_of(pl_module)

    def note_initial(self, values: Mapping[str, Tensor]) -> None:
        """Store values for the initial weights, one number each."""
        self.initial |= {f"init/{name}": float(value) for name, value in values.items()}

    def report(self, trainer: L.Trainer, values: Mapping[str, Tensor]) -> None:
        """Add values to the row of this epoch; in DDP, those of rank 0."""
        # Not with `self.log`, which takes longer for a value than measuring it.
        if trainer.logger is not None:
            row = {name: float(value) for name, value in values.items()}
            trainer.logger.log_metrics({**row, "epoch": float(trainer.current_epoch)}, trainer.global_step)

    def look(self, see: Callable[[int, Tensor], None]) -> list[RemovableHandle]:
        """Call `see` with the number and outputs of each activation layer, until the handles are removed."""

        def hook(numbers: list[int | None]) -> Callable[..., None]:
            turns = cycle(numbers)

            def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                if (number := next(turns)) is not None:
                    see(number, output.detach())

            return seen

        return [module.register_forward_hook(hook(numbers)) for module, numbers in self.layers.calls.items()]


class SampledSteps(Diagnosis):
    """A diagnosis of the first optimizer step of each epoch, and every n-th step after it.

    With `trainer.accumulate_grad_batches`, a step has the gradient of several batches. In DDP, gradients are averaged
    over the ranks and the same on each.
    """

    def __init__(self, every_n_steps: int) -> None:
        super().__init__()
        self.every_n_steps = every_n_steps
        self._step = 0
        self._sampling = False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset the step counter."""
        self._step = 0

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure gradients that are complete and unscaled, but not clipped yet."""
        self._sampling = self._step % self.every_n_steps == 0
        self._step += 1
        if self._sampling:
            self.before_step(optimizer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Measure after the optimizer step, if this batch had one; gradients are clipped."""
        if self._sampling:
            self._sampling = False
            self.after_step()

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure before clipping."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Measure after the optimizer step."""
        raise NotImplementedError


def widest(device: torch.device) -> torch.dtype:
    """Data type for norms: float64 where supported, since 1e-23 squared is zero in float32 (the only one on MPS)."""
    return torch.float32 if device.type == "mps" else torch.float64


def norm(x: Tensor) -> Tensor:
    """The Euclidean norm of all elements."""
    return torch.linalg.vector_norm(x, dtype=widest(x.device))

"""The layers of any net in the order in which they run, as forward hooks see them."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

DROPOUTS = (_DropoutNd,)
BATCH_NORMS = (_BatchNorm,)
NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
WEIGHTED = (nn.Linear, _ConvNd)
ZERO_BELOW = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Mish)  # whose output is (nearly) zero far below zero
BOUNDED = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0), nn.Softsign: (-1.0, 1.0)}
SQUASHING = (*BOUNDED, nn.Softmax, nn.LogSoftmax, nn.ReLU, nn.ReLU6)
ACTIVATIONS = (
    *ZERO_BELOW,
    *BOUNDED,
    *(nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Hardswish, nn.Hardtanh),
)


class Step:
    """One call of one layer.

    Attributes:
        name: The layer's name in the model.
        module: The layer.
        input: Its input; kept, so that its identity says whose output it was.
        output: Its output.
    """

    def __init__(self, name: str, module: nn.Module, input: Tensor, output: Tensor) -> None:
        self.name, self.module, self.input, self.output = name, module, input, output


def trace(model: nn.Module, x: Tensor) -> list[Step]:
    """Run a model on inputs (B, ...) and list the calls of its innermost modules, in order.

    What a `forward` does by functions alone (`F.relu`) is not seen.
    """
    steps: list[Step] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                steps.append(Step(name, module, args[0], output))

        return module.register_forward_hook(hook)

    leaves = [(name, m) for name, m in model.named_modules() if not any(True for _ in m.children())]
    handles = [watch(name, module) for name, module in leaves]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return steps


def by_unit(output: Tensor) -> Tensor:
    """Activations as (samples and positions, units): a unit is a channel of an image, the last axis of a sequence."""
    if output.ndim >= 4:
        output = output.movedim(1, -1)
    return output.reshape(-1, output.shape[-1])


def weights(model: nn.Module, x: Tensor) -> list[tuple[str, nn.Parameter]]:
    """The weights of the linear and convolutional layers in the order in which they run, each once.

    Where a model has no such layers: its parameters of at least two axes, as they are declared.
    """
    found = {f"{s.name}.weight": s.module.weight for s in trace(model, x) if isinstance(s.module, WEIGHTED)}
    if found:
        return [(name, weight) for name, weight in found.items() if isinstance(weight, nn.Parameter)]
    return [(name, p) for name, p in model.named_parameters() if p.ndim >= 2]


def calm(model: nn.Module) -> nn.Module:
    """Training mode without dropout: batch norm by the batch, and the same outputs each time."""
    model.train()
    for module in model.modules():
        if isinstance(module, DROPOUTS):
            module.eval()
    return model

"""Layers of a net in execution order, recorded by forward hooks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from ..parts.layers import CONVOLUTIONS, is_weighted

DROPOUTS = (_DropoutNd,)
BATCH_NORMS = (_BatchNorm,)
NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
ZERO_BELOW = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Mish)  # (almost) zero for large negative inputs
BOUNDED = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0), nn.Softsign: (-1.0, 1.0)}
SQUASHING = (*BOUNDED, nn.Softmax, nn.LogSoftmax, nn.ReLU, nn.ReLU6)
ACTIVATIONS = (
    *ZERO_BELOW,
    *BOUNDED,
    *(nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Hardswish, nn.Hardtanh),
)
# Layers, and functions that a `forward` may call instead.
FUNCTIONS: dict[Callable[..., Any], type[nn.Module]] = {
    function: layer
    for layer, functions in {
        nn.ReLU: (F.relu, torch.relu, Tensor.relu, torch.relu_, Tensor.relu_),
        nn.ReLU6: (F.relu6,),
        nn.GELU: (F.gelu,),
        nn.SiLU: (F.silu,),
        nn.Mish: (F.mish,),
        nn.Sigmoid: (F.sigmoid, torch.sigmoid, Tensor.sigmoid, torch.sigmoid_, Tensor.sigmoid_),
        nn.Tanh: (F.tanh, torch.tanh, Tensor.tanh, torch.tanh_, Tensor.tanh_),
        nn.Softsign: (F.softsign,),
        nn.LeakyReLU: (F.leaky_relu,),
        nn.ELU: (F.elu,),
        nn.SELU: (F.selu, torch.selu),
        nn.Softplus: (F.softplus,),
        nn.Softmax: (F.softmax, torch.softmax, Tensor.softmax),
        nn.LogSoftmax: (F.log_softmax, torch.log_softmax, Tensor.log_softmax),
        nn.Dropout: (F.dropout, torch.dropout),
    }.items()
    for function in functions
}


class Step:
    """One call of a layer, or of an equivalent function.

    Attributes:
        name: Name of the layer in the model, or of the function.
        module: The layer.
        input: Its input; its identity tells which layer's output it is.
        output: Its output.
        convolved: Whether the last layer with weights up to here is a convolution.
    """

    convolved: bool = False

    def __init__(self, name: str, module: nn.Module, input: Tensor, output: Tensor) -> None:
        self.name, self.module, self.input, self.output = name, module, input, output


class _Calls(TorchFunctionMode):
    """Records functions that are equivalent to layers, except those called by torch's own layers."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.steps, self.within = steps, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        layer = FUNCTIONS.get(func)
        if layer is not None and not self.within and args and isinstance(args[0], Tensor):
            if layer is not nn.Dropout:
                self.steps.append(Step(f"{func.__name__}()", layer(), args[0], output))
            elif kwargs.get("training", args[2] if len(args) > 2 else True):
                rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
                self.steps.append(Step(f"{func.__name__}()", nn.Dropout(rate), args[0], output))
        return output


def trace(model: nn.Module, x: Tensor) -> list[Step]:
    """Run a model on inputs (B, ...) and list the calls of its innermost modules, in order.

    Includes calls of activations, softmax and dropout as functions, such as `F.relu`, but of no other functions.
    """
    steps: list[Step] = []
    calls = _Calls(steps)

    def watch(name: str, module: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        ours = type(module).__module__.startswith("torch.nn.")  # calls inside torch's layers are not recorded

        def enter(module: nn.Module, args: tuple) -> None:
            calls.within += ours

        def leave(module: nn.Module, args: tuple, output: object) -> None:
            calls.within -= ours
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                steps.append(Step(name, module, args[0], output))

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    leaves = [(name, m) for name, m in model.named_modules() if not any(True for _ in m.children())]
    handles = [handle for name, module in leaves for handle in watch(name, module)]
    try:
        with torch.no_grad(), calls:
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    convolved = False
    for step in steps:
        convolved = isinstance(step.module, CONVOLUTIONS) if is_weighted(step.module) else convolved
        step.convolved = convolved
    return steps


def by_unit(step: Step) -> Tensor:
    """A step's output as (samples and positions, units).

    A unit is a channel of an image, and of whatever comes from a convolution; otherwise it is the last axis.
    """
    output = step.output
    if output.ndim >= 4 or (output.ndim == 3 and step.convolved):
        output = output.movedim(1, -1)
    return output.reshape(-1, output.shape[-1])


def weights(model: nn.Module, x: Tensor) -> list[tuple[str, nn.Parameter]]:
    """The weights of the layers that have some (`zoo.parts.layers.WEIGHTED`) in the order in which they run, each once.

    Where a model has no such layers: its parameters of at least two axes, as they are declared.
    """
    found = {f"{s.name}.weight": s.module.weight for s in trace(model, x) if is_weighted(s.module)}
    if found:
        return [(name, weight) for name, weight in found.items() if isinstance(weight, nn.Parameter)]
    return [(name, p) for name, p in model.named_parameters() if p.ndim >= 2]


def calm(model: nn.Module) -> nn.Module:
    """Set training mode without dropout: batch norm uses batch statistics, and outputs are deterministic."""
    model.train()
    for module in model.modules():
        if isinstance(module, DROPOUTS):
            module.eval()
    return model

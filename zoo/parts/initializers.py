"""Named weight initializers.

Only weights are drawn; biases are set to zero, as published (`default` keeps torch's biases). Norm layers and PReLU
slopes keep their defaults.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from datamodules.errors import choose, require

from .layers import ACTIVATIONS, TRANSPOSED, is_weighted, make_activation, weights_by_output


def gain(activation: str) -> float:
    """Factor by which weights must be scaled so that an activation preserves the signal's second moment.

    torch's `calculate_gain` if it supports the activation; otherwise He's condition (He et al. 2015, eq. 10, for any
    f): 1/sqrt(E[f(z)²]) with z ~ N(0, 1), by Gauss-Hermite quadrature.
    """
    known = {"identity": "linear", "relu": "relu", "leaky_relu": "leaky_relu", "tanh": "tanh", "sigmoid": "sigmoid"}
    if activation in (*known, "selu"):
        return nn.init.calculate_gain(known.get(activation, activation))  # type: ignore[arg-type]
    z, weights = np.polynomial.hermite_e.hermegauss(100)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        f = make_activation(activation).double()(torch.from_numpy(z)).numpy()
    return float(1 / np.sqrt((weights * f**2).sum() / weights.sum()))


class Fans(NamedTuple):
    """Number of inputs of each output of a layer (fan-in), and of outputs of each input (fan-out).

    For a convolution, both include the kernel positions and ignore the stride, as published (He et al. 2015). In a
    transposed convolution with a stride, an output uses only a part of the kernel: 1/stride on each axis, on average.
    """

    n_in: float
    n_out: float


def fans_of(layer: nn.Module) -> Fans:
    """Compute the fans of a layer from `zoo.parts.layers.WEIGHTED`."""
    weight = weights_by_output(layer)[0]
    n_in, n_out = weight[0].numel(), weight[:, 0].numel()
    return Fans(n_in / math.prod(layer.stride) if isinstance(layer, TRANSPOSED) else n_in, n_out)


def zeros(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """All zeros, so that all hidden units stay identical."""
    nn.init.zeros_(weight)


def normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, scale²)."""
    nn.init.normal_(weight, std=scale)


def uniform(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """U(-scale, scale)."""
    nn.init.uniform_(weight, -scale, scale)


def xavier_uniform(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """U(±sqrt(6/(n_in + n_out))), gain 1 as published (Glorot & Bengio 2010, eq. 16)."""
    nn.init.uniform_(weight, -(bound := math.sqrt(3.0) * math.sqrt(2.0 / (fans.n_in + fans.n_out))), bound)


def xavier_normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, 2/(n_in + n_out)), gain 1 as published (Glorot & Bengio 2010, eq. 12)."""
    nn.init.normal_(weight, std=math.sqrt(2.0 / (fans.n_in + fans.n_out)))


def xavier_fan_in_uniform(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """U(±sqrt(3/n_in)), with variance 1/n_in; called Xavier in Caffe and in the chapter."""
    nn.init.uniform_(weight, -(bound := math.sqrt(3 / fans.n_in)), bound)


def xavier_fan_in_normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, 1/n_in); called Xavier by deeplearning.ai and in the chapter; identical to `lecun_normal`."""
    lecun_normal(weight, fans, gain, scale)


def lecun_normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, 1/n_in), gain 1 as published (LeCun et al. 1998, Efficient BackProp, eq. 16); recommended for SELU."""
    nn.init.normal_(weight, std=1 / math.sqrt(fans.n_in))


def kaiming_uniform(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """U(±gain·sqrt(3/n_in)), with the gain of the activation (He et al. 2015, eq. 10)."""
    nn.init.uniform_(weight, -(bound := gain * math.sqrt(3 / fans.n_in)), bound)


def kaiming_normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, gain²/n_in), with the gain of the activation (He et al. 2015, eq. 10)."""
    nn.init.normal_(weight, std=gain / math.sqrt(fans.n_in))


def orthogonal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """A random orthogonal matrix times the activation's gain (Saxe et al. 2014)."""
    nn.init.orthogonal_(weight, gain)


Initializer = Callable[[Tensor, Fans, float, float], None]

INITIALIZERS: dict[str, Initializer | None] = {
    "default": None,
    "zeros": zeros,
    "normal": normal,
    "uniform": uniform,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "xavier_fan_in_uniform": xavier_fan_in_uniform,
    "xavier_fan_in_normal": xavier_fan_in_normal,
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
}


def initialize(module: nn.Module, name: str, activation: str, scale: float) -> None:
    """Initialize the weights of every layer in `zoo.parts.layers.WEIGHTED` from torch's global generator.

    Args:
        module: The net.
        name: A name in `INITIALIZERS`; `default` keeps torch's own, U(±1/sqrt(n_in)) for weights and biases.
        activation: Determines the gain of the kaiming and orthogonal initializers, for all layers (He et al. 2015).
        scale: Standard deviation of `normal`, bound of `uniform`.

    Raises:
        InputError: If the initializer is unknown, or the scale is not positive.
    """
    draw = INITIALIZERS[choose("initializer", name, INITIALIZERS)]
    require(scale > 0, f"model.init_scale must be positive, got {scale}.")
    if draw is None:
        return
    factor = gain(activation)
    for layer in module.modules():
        if is_weighted(layer):
            for weight in weights_by_output(layer):
                drawn = (
                    weight.contiguous()
                )  # a copy if inputs are stored first: `orthogonal_` does not support such views
                draw(drawn, fans_of(layer), factor, scale)
                if drawn is not weight:
                    weight.copy_(drawn)
            if isinstance(layer.bias, Tensor):
                nn.init.zeros_(layer.bias)


def fill_hidden_biases(module: nn.Module, value: float) -> None:
    """Set the biases of every layer with weights that is followed by an activation; draws no random numbers.

    Args:
        module: The net, with its layers in execution order.
        value: The new value. Biases of the output layer and of norms are not changed.
    """
    last: nn.Module | None = None
    for layer in module.modules():
        if is_weighted(layer):
            last = layer
        elif type(layer) in ACTIVATIONS.values() and last is not None and isinstance(last.bias, Tensor):
            nn.init.constant_(last.bias, value)

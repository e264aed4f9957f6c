"""Named weight initializers.

Weights alone are drawn; biases are set to zero, as published (`default` leaves torch's own biases). Norm layers and
PReLU slopes keep their own start.
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
    """The factor by which weights must grow so that an activation keeps the signal's second moment.

    torch's `calculate_gain` where it knows the activation; else He's condition (He et al. 2015, eq. 10, for any f):
    1/sqrt(E[f(z)²]) with z ~ N(0, 1), by Gauss-Hermite quadrature.
    """
    known = {"identity": "linear", "relu": "relu", "leaky_relu": "leaky_relu", "tanh": "tanh", "sigmoid": "sigmoid"}
    if activation in (*known, "selu"):
        return nn.init.calculate_gain(known.get(activation, activation))  # type: ignore[arg-type]
    z, weights = np.polynomial.hermite_e.hermegauss(100)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        f = make_activation(activation).double()(torch.from_numpy(z)).numpy()
    return float(1 / np.sqrt((weights * f**2).sum() / weights.sum()))


class Fans(NamedTuple):
    """How many inputs each output of a layer sums up, and how many outputs each input goes into.

    Of a convolution both count kernel positions, and neither the stride, as published (He et al. 2015). A transposed
    convolution with a stride spreads its inputs, so that only a share of the kernel meets an output: 1/stride on each
    axis, on average.
    """

    n_in: float
    n_out: float


def fans_of(layer: nn.Module) -> Fans:
    """The fans of a layer from `zoo.parts.layers.WEIGHTED`."""
    weight = weights_by_output(layer)[0]
    n_in, n_out = weight[0].numel(), weight[:, 0].numel()
    return Fans(n_in / math.prod(layer.stride) if isinstance(layer, TRANSPOSED) else n_in, n_out)


def zeros(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """All zero: the symmetric start from which hidden units never part."""
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
    """U(±sqrt(3/n_in)), of variance 1/n_in: what Caffe and the chapter call Xavier."""
    nn.init.uniform_(weight, -(bound := math.sqrt(3 / fans.n_in)), bound)


def xavier_fan_in_normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, 1/n_in): what deeplearning.ai and the chapter call Xavier; the same draws as `lecun_normal`."""
    lecun_normal(weight, fans, gain, scale)


def lecun_normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, 1/n_in), gain 1 as published (LeCun et al. 1998, Efficient BackProp, eq. 16); selu's own start."""
    nn.init.normal_(weight, std=1 / math.sqrt(fans.n_in))


def kaiming_uniform(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """U(±gain·sqrt(3/n_in)), the gain following the activation (He et al. 2015, eq. 10)."""
    nn.init.uniform_(weight, -(bound := gain * math.sqrt(3 / fans.n_in)), bound)


def kaiming_normal(weight: Tensor, fans: Fans, gain: float, scale: float) -> None:
    """N(0, gain²/n_in), the gain following the activation (He et al. 2015, eq. 10)."""
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
    """Draw the weights of every layer in `zoo.parts.layers.WEIGHTED` anew from torch's global generator.

    Args:
        module: The net.
        name: A name in `INITIALIZERS`; `default` leaves torch's own, U(±1/sqrt(n_in)) for weights and biases.
        activation: Sets the gain of the kaiming and orthogonal initializers, in every layer alike (He et al. 2015).
        scale: The standard deviation of `normal`, the bound of `uniform`.

    Raises:
        InputError: No such initializer, or a scale that is not positive.
    """
    draw = INITIALIZERS[choose("initializer", name, INITIALIZERS)]
    require(scale > 0, f"model.init_scale must be positive, got {scale}.")
    if draw is None:
        return
    factor = gain(activation)
    for layer in module.modules():
        if is_weighted(layer):
            for weight in weights_by_output(layer):
                drawn = weight.contiguous()  # a copy where inputs are stored first: `orthogonal_` takes no such view
                draw(drawn, fans_of(layer), factor, scale)
                if drawn is not weight:
                    weight.copy_(drawn)
            if isinstance(layer.bias, Tensor):
                nn.init.zeros_(layer.bias)


def fill_hidden_biases(module: nn.Module, value: float) -> None:
    """Set the biases of every layer with weights that has an activation behind it; draws nothing.

    Args:
        module: The net, whose layers come in the order in which they compute.
        value: What each of those biases is set to. The output layer's, and those of norms, stay as they are.
    """
    last: nn.Module | None = None
    for layer in module.modules():
        if is_weighted(layer):
            last = layer
        elif type(layer) in ACTIVATIONS.values() and last is not None and isinstance(last.bias, Tensor):
            nn.init.constant_(last.bias, value)

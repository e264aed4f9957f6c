"""Layers with weights, activations, norms, and the Linear > norm > activation > dropout block."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.errors import InputError, choose, require

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
}
NORMS = ("batch", "layer")

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
# The layers with weights: each output is a sum of inputs times elements of `weight`. Initializers, weight decay,
# diagnosis callbacks and `zoo doctor` all use this list. Not included: norms and PReLU, which scale single values;
# `Bilinear`, whose output is quadratic, so that no published fan-in applies; `Embedding`, whose output is a row of its
# table and not a sum; recurrent and attention layers, whose parameters have other names.
WEIGHTED = (nn.Linear, *CONVOLUTIONS)


def is_weighted(layer: nn.Module) -> bool:
    """Whether a layer has weights, see `WEIGHTED`."""
    return isinstance(layer, WEIGHTED)


def weights_by_output(layer: nn.Module) -> list[Tensor]:
    """Return views of the weights of a layer from `WEIGHTED`, one tensor (outputs, inputs, *kernel) per group.

    A transposed convolution stores its inputs first; with groups, outputs only depend on the inputs of their group.
    """
    groups = torch.chunk(layer.get_parameter("weight").detach(), getattr(layer, "groups", 1))
    return [group.transpose(0, 1) if isinstance(layer, TRANSPOSED) else group for group in groups]


def make_activation(name: str) -> nn.Module:
    """Create an activation layer with torch's defaults.

    Raises:
        InputError: If the activation is unknown.
    """
    return ACTIVATIONS[choose("activation", name, ACTIVATIONS)]()


def make_norm(name: str, features: int, image: bool = False) -> nn.Module:
    """Create a norm over `features` units, or over `features` channels of an image.

    Args:
        name: `batch` (Ioffe & Szegedy 2015) or `layer` (Ba et al. 2016; for images, over all channels and pixels).
        features: Number of units or channels.
        image: Whether the input is (B, C, H, W) rather than (B, F).

    Raises:
        InputError: If the norm is unknown.
    """
    if choose("norm", name, NORMS) == "batch":
        return nn.BatchNorm2d(features) if image else nn.BatchNorm1d(features)
    return nn.GroupNorm(1, features) if image else nn.LayerNorm(features)


def per_block(name: str, value: Any, n: int) -> list[Any]:
    """Return one value for each of n blocks: a list is returned as it is, a single value is repeated.

    Raises:
        InputError: If a list has another length than n.
    """
    if not isinstance(value, list | tuple):
        return [value] * n
    require(
        len(value) == n,
        f"model.{name} must be a single value or a list of {n} values, one per block; got a list of {len(value)}.",
    )
    return list(value)


def block(
    layer: nn.Module, width: int, norm: str | None, activation: str, dropout: float, dropout_option: str = "dropout"
) -> list[nn.Module]:
    """Return a layer followed by its norm, activation and dropout if any, in the order of the chapter.

    Args:
        layer: The linear or convolutional layer.
        width: Its number of units or channels.
        norm: `batch`, `layer` or None.
        activation: A name in `ACTIVATIONS`.
        dropout: Dropout probability, in [0, 1); for images, of single elements, not of whole channels.
        dropout_option: The model's name for this option, for the error message.

    Raises:
        InputError: If a name is unknown, or dropout is out of range.
    """
    require(0 <= dropout < 1, f"model.{dropout_option} must be in [0, 1), got {dropout}.")
    layers = [layer]
    if norm is not None:
        layers.append(make_norm(norm, width, image=isinstance(layer, nn.Conv2d)))
    layers.append(make_activation(activation))
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return layers


def dense_blocks(
    n_inputs: int,
    hidden_dims: Sequence[int],
    activation: str,
    norm: str | Sequence[str | None] | None,
    dropout: float | Sequence[float],
) -> list[nn.Module]:
    """Return blocks of Linear > norm > activation > dropout, from (B, n_inputs) to (B, hidden_dims[-1]).

    Raises:
        InputError: If a width is below 1, a list has the wrong length, or `block` raises it.
    """
    check_widths("hidden_dims", hidden_dims)
    norms: list[str | None] = per_block("norm", norm, len(hidden_dims))
    dropouts: list[float] = per_block("dropout", dropout, len(hidden_dims))
    layers: list[nn.Module] = []
    for width, norm_here, dropout_here in zip(hidden_dims, norms, dropouts, strict=True):
        layers += block(nn.Linear(n_inputs, width), width, norm_here, activation, dropout_here)
        n_inputs = width
    return layers


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Check that all widths are at least 1.

    Raises:
        InputError: If one is not.
    """
    for width in widths:
        if width < 1:
            raise InputError(f"model.{name} must contain widths of at least 1, got {width}.")

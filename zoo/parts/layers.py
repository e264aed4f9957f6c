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
# The layers with weights: each output is a sum of inputs times elements of `weight`. Initializers draw these weights,
# weight decay shrinks them, and diagnosis callbacks and the doctor measure them; nothing else has a list of its own.
# Not included: norms and PReLU, which scale one value each; `Bilinear`, whose output is quadratic, so that no published
# fan-in applies; `Embedding`, whose output is a row of its table and no sum; recurrent and attention layers, whose
# parameters have other names.
WEIGHTED = (nn.Linear, *CONVOLUTIONS)


def is_weighted(layer: nn.Module) -> bool:
    """Whether a layer is one of those with weights, see `WEIGHTED`."""
    return isinstance(layer, WEIGHTED)


def weights_by_output(layer: nn.Module) -> list[Tensor]:
    """The weights of a layer from `WEIGHTED`, which share its memory, as a tensor (outputs, inputs, *kernel) a group.

    A transposed convolution stores its inputs first; in a grouped one, outputs see the inputs of their group alone.
    """
    groups = torch.chunk(layer.get_parameter("weight").detach(), getattr(layer, "groups", 1))
    return [group.transpose(0, 1) if isinstance(layer, TRANSPOSED) else group for group in groups]


def make_activation(name: str) -> nn.Module:
    """A fresh activation layer, torch's defaults throughout.

    Raises:
        InputError: No such activation.
    """
    return ACTIVATIONS[choose("activation", name, ACTIVATIONS)]()


def make_norm(name: str, features: int, image: bool = False) -> nn.Module:
    """A norm over `features` units, or over `features` channels of an image.

    Args:
        name: `batch` (Ioffe & Szegedy 2015) or `layer` (Ba et al. 2016; on images over all channels and pixels).
        features: The number of units or channels.
        image: Whether the input is (B, C, H, W) rather than (B, F).

    Raises:
        InputError: No such norm.
    """
    if choose("norm", name, NORMS) == "batch":
        return nn.BatchNorm2d(features) if image else nn.BatchNorm1d(features)
    return nn.GroupNorm(1, features) if image else nn.LayerNorm(features)


def per_block(name: str, value: Any, n: int) -> list[Any]:
    """One value for each of n blocks: a list as it is, a single value n times.

    Raises:
        InputError: A list of another length.
    """
    if not isinstance(value, list | tuple):
        return [value] * n
    require(len(value) == n, f"model.{name} lists {len(value)} values for {n} blocks; give one value, or one a block.")
    return list(value)


def block(
    layer: nn.Module, width: int, norm: str | None, activation: str, dropout: float, dropout_option: str = "dropout"
) -> list[nn.Module]:
    """A layer, then its norm, activation and dropout where there are such, in the order of the chapter.

    Args:
        layer: The linear or convolutional layer.
        width: Its units or channels.
        norm: `batch`, `layer` or None.
        activation: A name in `ACTIVATIONS`.
        dropout: The share of units dropped, in [0, 1); on images whole units, not channels.
        dropout_option: What the model calls that share, for the error message.

    Raises:
        InputError: An unknown name, or dropout out of range.
    """
    require(0 <= dropout < 1, f"model.{dropout_option} must lie in [0, 1), got {dropout}.")
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
    """Linear > norm > activation > dropout, once for each width, from (B, n_inputs) to (B, hidden_dims[-1]).

    Raises:
        InputError: A width below 1, a list of the wrong length, or what `block` refuses.
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
    """Refuse a width below 1.

    Raises:
        InputError: With the width.
    """
    for width in widths:
        if width < 1:
            raise InputError(f"model.{name} must hold widths of at least 1, got {width}.")

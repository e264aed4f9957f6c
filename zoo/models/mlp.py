"""The multilayer perceptron."""

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from ..parts.layers import dense_blocks
from .base import ZooModule


class MLP(ZooModule):
    """A multilayer perceptron: blocks of Linear > norm > activation > dropout, then a linear layer.

    Args:
        hidden_dims: Width of each hidden layer; an empty list gives a linear model.
        activation: identity, relu, leaky_relu, prelu, elu, selu, gelu, silu, mish, tanh, sigmoid, softplus or softsign.
        norm: batch, layer or null; one value for all hidden layers, or a list with one per layer.
        dropout: Dropout probability after each activation, in [0, 1); one value, or a list with one per layer.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        hidden_dims: Sequence[int] = (64, 64),
        activation: str = "relu",
        norm: str | Sequence[str | None] | None = None,
        dropout: float | Sequence[float] = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **kwargs)
        n_inputs = math.prod(input_shape)
        blocks = dense_blocks(n_inputs, hidden_dims, activation, norm, dropout)
        n_features = hidden_dims[-1] if hidden_dims else n_inputs
        self.net = nn.Sequential(nn.Flatten(), *blocks, nn.Linear(n_features, num_classes))
        self.init_weights(activation)

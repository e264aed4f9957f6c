"""The chapter's RobustMLP."""

from collections.abc import Sequence
from typing import Any

from .mlp import MLP


class RobustMLP(MLP):
    """An MLP with the chapter's safeguards: batch norm, dropout of 0.3 and Kaiming-normal weights.

    Two blocks of Linear > BatchNorm1d > ReLU > Dropout(0.3), then Linear; 5,315 parameters for 10 inputs and 3 classes.

    Args:
        hidden_dims: Width of each hidden layer; an empty list gives a linear model.
        activation: Activation of all hidden layers; see the model mlp for the names.
        norm: batch, layer or null; one value for all hidden layers, or a list with one per layer.
        dropout: Dropout probability after each activation, in [0, 1); one value, or a list with one per layer.
        initializer: Weight initializer; see the model mlp for the names.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        hidden_dims: Sequence[int] = (64, 64),
        activation: str = "relu",
        norm: str | Sequence[str | None] | None = "batch",
        dropout: float | Sequence[float] = 0.3,
        initializer: str = "kaiming_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_shape,
            num_classes,
            hidden_dims=hidden_dims,
            activation=activation,
            norm=norm,
            dropout=dropout,
            initializer=initializer,
            **kwargs,
        )

"""The perceptron."""

import math
from typing import Any

from torch import nn

from .base import ZooModule


class Perceptron(ZooModule):
    """A single layer of units, y = f(w·x + b), with a linear decision boundary (Rosenblatt 1958).

    The activation f (softmax) is part of the loss and of prediction, since `forward` returns logits. For two classes,
    this is equivalent to one sigmoid unit.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, **kwargs: Any) -> None:
        super().__init__(input_shape, num_classes, **kwargs)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))
        self.init_weights("identity")

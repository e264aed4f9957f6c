"""The perceptron."""

import math
from typing import Any

from torch import nn

from .base import ZooModule


class Perceptron(ZooModule):
    """One layer of units, y = f(w·x + b): a linear boundary and nothing more (Rosenblatt 1958).

    The activation f belongs to the loss and to prediction (softmax, then the largest), so that logits stay logits; for
    two classes that is one sigmoid unit on the difference of two.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, **kwargs: Any) -> None:
        super().__init__(input_shape, num_classes, **kwargs)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))
        self.init_weights("identity")

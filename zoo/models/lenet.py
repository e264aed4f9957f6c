"""LeNet-5."""

from typing import Any

from torch import nn

from datamodules.errors import choose

from ..parts.layers import make_activation
from .base import ZooModule
from .cnn import POOLS, check_image


class LeNet5(ZooModule):
    """LeNet-5 (LeCun et al. 1998): two 5×5 convolutions with pooling, then layers of 120 and 84 units.

    Smaller images are padded to the paper's 32×32. As is usual today, feature maps are fully connected, pooling has no
    weights, and logits replace the radial basis functions: 61,706 parameters for 1 channel and 10 classes.

    Args:
        activation: Activation of all hidden layers; see the model mlp for the names. The paper uses a scaled tanh.
        pool: avg, as in the paper, or max.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        activation: str = "tanh",
        pool: str = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **kwargs)
        check_image("lenet5", input_shape)
        make_pool = POOLS[choose("pool", pool, POOLS)]
        channels, *size = input_shape
        pad_h, pad_w = (max(32 - side, 0) for side in size)
        size = [((max(side, 32) - 4) // 2 - 4) // 2 for side in size]
        self.net = nn.Sequential(
            nn.ZeroPad2d((pad_w // 2, (pad_w + 1) // 2, pad_h // 2, (pad_h + 1) // 2)),
            nn.Conv2d(channels, 6, 5),
            make_activation(activation),
            make_pool(2),
            nn.Conv2d(6, 16, 5),
            make_activation(activation),
            make_pool(2),
            nn.Flatten(),
            nn.Linear(16 * size[0] * size[1], 120),
            make_activation(activation),
            nn.Linear(120, 84),
            make_activation(activation),
            nn.Linear(84, num_classes),
        )
        self.init_weights(activation)

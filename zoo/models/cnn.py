"""Small convolutional nets."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from datamodules.errors import choose, require

from ..parts.layers import block, check_widths, dense_blocks, per_block
from .base import ZooModule

POOLS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


def check_image(model: str, input_shape: tuple[int, ...]) -> None:
    """Refuse inputs that are no images.

    Raises:
        InputError: With the shape, and with what to use instead.
    """
    require(
        len(input_shape) == 3,
        f"{model} needs images of shape (channels, height, width), but the inputs have shape {tuple(input_shape)}; "
        "use mlp, robust_mlp or perceptron, or image data such as digits, mnist, fashion_mnist or cifar10.",
    )


class CNN(ZooModule):
    """A convolutional net: blocks of Conv > norm > activation > dropout > pool, then a fully connected head.

    Convolutions keep the image's size (stride 1, zero padding), pools halve it.

    Args:
        channels: Channels of each conv block.
        kernel_size: Side of the kernels, odd; one for all blocks, or a list with one a block.
        pool: `max`, `avg` or null; one for all blocks, or a list with one a block.
        hidden_dims: Width of each hidden layer of the head; none at all puts the logits right behind the conv blocks.
        activation: As in `mlp`.
        norm: `batch`, `layer` (over all channels and pixels) or null, in conv blocks and head alike.
        dropout: Share of units dropped after each activation of the head, in [0, 1).
        conv_dropout: The same for the conv blocks.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        channels: Sequence[int] = (32, 64),
        kernel_size: int | Sequence[int] = 3,
        pool: str | Sequence[str | None] | None = "max",
        hidden_dims: Sequence[int] = (),
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = 0.0,
        conv_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **kwargs)
        check_image("cnn", input_shape)
        check_widths("channels", channels)
        require(len(channels) > 0, "model.channels must name at least one conv block.")
        n_channels, *size = input_shape
        convs: list[nn.Module] = []
        kernels, pools = per_block("kernel_size", kernel_size, len(channels)), per_block("pool", pool, len(channels))
        for width, kernel, pool_here in zip(channels, kernels, pools, strict=True):
            require(
                kernel >= 1 and kernel % 2 == 1, f"model.kernel_size must be odd, so that size is kept, got {kernel}."
            )
            conv = nn.Conv2d(n_channels, width, kernel, padding=kernel // 2)
            convs += block(conv, width, norm, activation, conv_dropout, "conv_dropout")
            if pool_here is not None:
                convs.append(POOLS[choose("pool", pool_here, POOLS)](2))
                size = [side // 2 for side in size]
                require(min(size) >= 1, f"model.channels has too many pooled blocks for images of {input_shape[1:]}.")
            n_channels = width
        n_flat = n_channels * size[0] * size[1]
        head = dense_blocks(n_flat, hidden_dims, activation, norm, dropout)
        logits = nn.Linear(hidden_dims[-1] if hidden_dims else n_flat, num_classes)
        self.net = nn.Sequential(*convs, nn.Flatten(), *head, logits)
        self.init_weights(activation)

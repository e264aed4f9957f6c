"""Small convolutional nets."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from datamodules.errors import choose, require

from ..parts.layers import block, check_widths, dense_blocks, per_block
from .base import ZooModule

POOLS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


def check_image(model: str, input_shape: tuple[int, ...]) -> None:
    """Check that inputs are images.

    Raises:
        InputError: If they are not; the message has the shape and alternatives.
    """
    require(
        len(input_shape) == 3,
        f"{model} needs images of shape (channels, height, width), but the inputs have shape {tuple(input_shape)}; "
        "use mlp, robust_mlp or perceptron, or image data such as digits, mnist, fashion_mnist or cifar10.",
    )


class CNN(ZooModule):
    """A convolutional net: blocks of Conv > norm > activation > dropout > pool, then a fully connected head.

    Convolutions preserve the image size (stride 1, zero padding), pooling halves it.

    Args:
        channels: Output channels of each convolutional block.
        kernel_size: Odd kernel size, in pixels; one value for all blocks, or a list with one per block.
        pool: max, avg or null; one value for all blocks, or a list with one per block.
        hidden_dims: Width of each hidden layer of the head; an empty list connects the last block to the logits.
        activation: Activation of all hidden layers; see the model mlp for the names.
        norm: batch, layer (over all channels and pixels) or null, for the blocks and the head.
        dropout: Dropout probability after each activation of the head, in [0, 1).
        conv_dropout: Dropout probability after each activation of the convolutional blocks, in [0, 1).
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
        require(len(channels) > 0, "model.channels must contain at least one value, got an empty list.")
        n_channels, *size = input_shape
        convs: list[nn.Module] = []
        kernels, pools = per_block("kernel_size", kernel_size, len(channels)), per_block("pool", pool, len(channels))
        for width, kernel, pool_here in zip(channels, kernels, pools, strict=True):
            require(kernel >= 1 and kernel % 2 == 1, f"model.kernel_size must be odd and positive, got {kernel}.")
            conv = nn.Conv2d(n_channels, width, kernel, padding=kernel // 2)
            convs += block(conv, width, norm, activation, conv_dropout, "conv_dropout")
            if pool_here is not None:
                convs.append(POOLS[choose("pool", pool_here, POOLS)](2))
                size = [side // 2 for side in size]
                require(
                    min(size) >= 1,
                    f"model.channels has too many pooled blocks for images of size {tuple(input_shape[1:])}; use fewer "
                    "blocks, or null in model.pool.",
                )
            n_channels = width
        n_flat = n_channels * size[0] * size[1]
        head = dense_blocks(n_flat, hidden_dims, activation, norm, dropout)
        logits = nn.Linear(hidden_dims[-1] if hidden_dims else n_flat, num_classes)
        self.net = nn.Sequential(*convs, nn.Flatten(), *head, logits)
        self.init_weights(activation)

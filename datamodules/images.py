"""What all data sets of images can have done to their images, once and for all splits alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import ArrayDataModule
from .errors import require

# Constants, so that a run's seed never changes the task.
_SHIFT_SEED = 11
_PERMUTATION_SEED = 13


class ImageDataModule(ArrayDataModule):
    """Images, which can be padded, shifted and permuted, in this order, before anything is split off.

    Args:
        pad: Add a black border of so many pixels on each side.
        shift: Move each image of all splits by an offset of its own, of up to so many pixels each way; what comes in is
            black, what goes out is lost. An image's offset is always the same: this is no augmentation.
        permute_pixels: true puts the pixels of all images into one random order, always the same (as in permuted MNIST;
            Goodfellow et al. 2013), so that what was near is no longer near. Channels of a pixel stay together.
    """

    def __init__(
        self,
        *,
        pad: int | None = None,
        shift: int | None = None,
        permute_pixels: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require(pad is None or pad >= 0, f"data.pad must not be negative, got {pad}.")
        require(shift is None or shift >= 0, f"data.shift must not be negative, got {shift}.")
        self.pad, self.shift, self.permute_pixels = pad or 0, shift or 0, bool(permute_pixels)

    def arrange(self, images: NDArray) -> NDArray:
        """The images of the whole set, (N, C, H, W), padded, shifted and permuted: (N, C, H + 2 pad, W + 2 pad).

        Raises:
            InputError: A border wider than the image, or a shift that leaves nothing of it.
        """
        side = min(images.shape[2:])
        require(self.pad <= side, f"data.pad must be at most the image's side of {side} pixels, got {self.pad}.")
        side += 2 * self.pad
        size = f"{side} pixels{', its border included' if self.pad else ''}"
        require(self.shift < side, f"data.shift must be less than the image's side of {size}, got {self.shift}.")
        images = _bordered(images, self.pad) if self.pad else images
        images = shifted(images, self.shift) if self.shift else images
        return permuted(images) if self.permute_pixels else images


def shifted(images: NDArray, most: int) -> NDArray:
    """Each image (N, C, H, W) moved by an offset of up to `most` pixels each way, drawn for its place among the N."""
    starts = np.random.default_rng(_SHIFT_SEED).integers(0, 2 * most + 1, (len(images), 2))
    # (N, C, 2 most + 1, 2 most + 1, H, W), a view
    windows = np.lib.stride_tricks.sliding_window_view(_bordered(images, most), images.shape[2:], axis=(2, 3))
    return windows[np.arange(len(images)), :, starts[:, 0], starts[:, 1]]


def permuted(images: NDArray) -> NDArray:
    """All images (N, C, H, W) with their pixels in one random order, that of the size H·W."""
    order = np.random.default_rng(_PERMUTATION_SEED).permutation(images.shape[2] * images.shape[3])
    return np.take(images.reshape(*images.shape[:2], -1), order, axis=2).reshape(images.shape)


def _bordered(images: NDArray, width: int) -> NDArray:
    return np.pad(images, ((0, 0), (0, 0), (width, width), (width, width)))

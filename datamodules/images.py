"""Fixed transformations of image data sets, applied to all splits once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import ArrayDataModule
from .errors import require

# Constants, so that a run's seed never changes the task.
_SHIFT_SEED = 11
_PERMUTATION_SEED = 13


class ImageDataModule(ArrayDataModule):
    """Images that can be padded, shifted and permuted, in this order, before splitting.

    Args:
        pad: Width of a black border to add on each side, in pixels.
        shift: Move each image of all splits by its own random offset of up to this many pixels in each direction; the
            uncovered border is black. The offsets are fixed: this is not an augmentation.
        permute_pixels: Whether to apply one fixed random permutation to the pixels of all images (permuted MNIST;
            Goodfellow et al. 2013), which destroys neighbourhoods. The channels of a pixel stay together.
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
        """Pad, shift and permute all images (N, C, H, W), giving (N, C, H + 2 pad, W + 2 pad).

        Raises:
            InputError: If the border is wider than the image, or the shift could move all of it out.
        """
        side = min(images.shape[2:])
        require(self.pad <= side, f"data.pad must be at most the image's side of {side} pixels, got {self.pad}.")
        side += 2 * self.pad
        size = f"{side} pixels{' (with its border)' if self.pad else ''}"
        require(self.shift < side, f"data.shift must be less than the image's side of {size}, got {self.shift}.")
        images = _bordered(images, self.pad) if self.pad else images
        images = shifted(images, self.shift) if self.shift else images
        return permuted(images) if self.permute_pixels else images


def shifted(images: NDArray, most: int) -> NDArray:
    """Move each image (N, C, H, W) by an offset of up to `most` pixels, which depends on its index only."""
    starts = np.random.default_rng(_SHIFT_SEED).integers(0, 2 * most + 1, (len(images), 2))
    # (N, C, 2 most + 1, 2 most + 1, H, W), a view
    windows = np.lib.stride_tricks.sliding_window_view(_bordered(images, most), images.shape[2:], axis=(2, 3))
    return windows[np.arange(len(images)), :, starts[:, 0], starts[:, 1]]


def permuted(images: NDArray) -> NDArray:
    """Apply one fixed permutation of the H·W pixels to all images (N, C, H, W)."""
    order = np.random.default_rng(_PERMUTATION_SEED).permutation(images.shape[2] * images.shape[3])
    return np.take(images.reshape(*images.shape[:2], -1), order, axis=2).reshape(images.shape)


def _bordered(images: NDArray, width: int) -> NDArray:
    return np.pad(images, ((0, 0), (0, 0), (width, width), (width, width)))

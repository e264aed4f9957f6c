"""Augmentation of image batches, with an independent random choice for each image."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Augment:
    """Random shift, crop and flip of a batch of images.

    Args:
        shift: Largest shift in each direction, in pixels; the uncovered border is black.
        crop: Pad each side by this many mirrored pixels, then crop to the original size at a random position.
        flip: Flip horizontally with probability 0.5.
        black: Normalised value of a black pixel, for each channel.
    """

    def __init__(self, shift: int, crop: int, flip: bool, black: Sequence[float]) -> None:
        self.shift, self.crop, self.flip = shift, crop, flip
        self.black = black

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented copies of images (B, C, H, W); all random numbers come from `generator`."""
        if self.shift:
            black = torch.tensor(self.black, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
            x = _cut(F.pad(x - black, [self.shift] * 4) + black, x.shape[-2:], generator)
        if self.crop:
            x = _cut(F.pad(x, [self.crop] * 4, mode="reflect"), x.shape[-2:], generator)
        if self.flip:
            flipped = torch.rand(len(x), generator=generator) < 0.5
            x = torch.where(flipped.to(x.device).view(-1, 1, 1, 1), x.flip(-1), x)
        return x


def _cut(padded: Tensor, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Crop each padded image (B, C, H', W') to `size` (H, W) at a random position."""
    batch, channels = padded.shape[:2]
    index = []
    for axis, length in ((2, size[0]), (3, size[1])):
        start = torch.randint(padded.shape[axis] - length + 1, (batch, 1), generator=generator)
        index.append((start + torch.arange(length)).to(padded.device))
    rows, columns = index
    # (B, 1, 1, 1), (1, C, 1, 1), (B, 1, H, 1) and (B, 1, 1, W) broadcast to (B, C, H, W).
    return padded[
        torch.arange(batch, device=padded.device)[:, None, None, None],
        torch.arange(channels, device=padded.device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]

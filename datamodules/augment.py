"""Augmentation of whole batches of images, one random choice an image."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Augment:
    """Random shift, crop and flip of a batch at once.

    Args:
        shift: Shift by up to so many pixels each way; what comes in is black.
        crop: Mirror so many pixels over each border, and cut the original size out at random.
        flip: Mirror left to right with probability one half.
        black: The normalised value of a black pixel in each channel.
    """

    def __init__(self, shift: int, crop: int, flip: bool, black: Sequence[float]) -> None:
        self.shift, self.crop, self.flip = shift, crop, flip
        self.black = black

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Augment images (B, C, H, W) into new ones of the same shape, by the generator's draws."""
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
    """A window of `size` (H, W) at a random place of each padded image (B, C, H', W')."""
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

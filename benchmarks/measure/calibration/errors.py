"""Error distributions of simulated studies."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...stats.paired import Array

Shape = tuple[int, int, int]  # seeds, studies, variants
IMAGES, DOUBTFUL = 359, 10  # test images of the digits, and how many of them are not always classified correctly


class Errors(NamedTuple):
    """An error distribution of a study over seeds.

    Attributes:
        name: Name in the table.
        draw: Draws values of variants with equal means from a generator and a shape; the first is the baseline.
        mean: The mean of all variants.
        sd: Standard deviation of the difference of a variant from the baseline.
        bound: Whether the methods guarantee their error rates for this distribution.
        counts: Whether values are counts, so that all differences may be equal.
    """

    name: str
    draw: Callable[[np.random.Generator, Shape], Array]
    mean: float
    sd: float
    bound: bool = False
    counts: bool = False


def skewed(rng: np.random.Generator, shape: Shape) -> Array:
    """Variants with occasional bad seeds: negative exponential errors. The baseline has normal errors of equal sd."""
    values = 1 - rng.exponential(size=shape)
    values[..., 0] = rng.normal(size=shape[:2])
    return values


def most_skewed(rng: np.random.Generator, shape: Shape) -> Array:
    """The same with a constant baseline, so that differences are as skewed as the variants."""
    values = 1 - rng.exponential(size=shape)
    values[..., 0] = 0
    return values


def accuracies(rng: np.random.Generator, shape: Shape) -> Array:
    """Accuracies with mean .97; half of the images have the same result for all variants of a seed."""
    right = rng.binomial(IMAGES, 0.97, (*shape[:2], 1))
    still, now = rng.binomial(right, 0.5 + 0.5 * 0.97, shape), rng.binomial(IMAGES - right, 0.5 * 0.97, shape)
    return np.concatenate([right, (still + now)[..., 1:]], axis=2) / IMAGES


def in_doubt(rng: np.random.Generator, shape: Shape) -> Array:
    """Accuracies in which only a few images vary, as observed for activations on the digits."""
    return (340 + rng.binomial(DOUBTFUL, 0.9, shape)) / IMAGES


ALL = (
    Errors("normal", lambda rng, shape: rng.normal(size=shape), 0, math.sqrt(2), bound=True),
    Errors("t, 3 df", lambda rng, shape: rng.standard_t(3, shape), 0, math.sqrt(2 * 3)),
    Errors("exponential", skewed, 0, math.sqrt(2)),
    Errors("exponential, baseline constant", most_skewed, 0, 1),
    Errors("accuracy, 359 images", accuracies, 0.97, math.sqrt(0.97 * 0.03 / IMAGES), counts=True),
    Errors("accuracy, 10 in doubt", in_doubt, 349 / IMAGES, math.sqrt(2 * DOUBTFUL * 0.9 * 0.1) / IMAGES, counts=True),
)

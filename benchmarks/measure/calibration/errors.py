"""How the values of simulated studies scatter over seeds."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...stats.paired import Array

Shape = tuple[int, int, int]  # seeds, studies, variants
IMAGES, DOUBTFUL = 359, 10  # test images of the digits, and those of them that not every run gets right


class Errors(NamedTuple):
    """How the values of a study scatter over seeds.

    Attributes:
        name: In words.
        draw: From a generator and a shape, values of variants that all have the same mean; the first is the baseline.
        mean: That mean.
        sd: Of the difference of a variant and the baseline.
        bound: Whether the statistics promise anything of them.
        counts: Whether values are counts of something, so that differences may all be equal.
    """

    name: str
    draw: Callable[[np.random.Generator, Shape], Array]
    mean: float
    sd: float
    bound: bool = False
    counts: bool = False


def skewed(rng: np.random.Generator, shape: Shape) -> Array:
    """Variants with now and then a bad seed: exponential errors to below. The baseline's are normal, as large."""
    values = 1 - rng.exponential(size=shape)
    values[..., 0] = rng.normal(size=shape[:2])
    return values


def most_skewed(rng: np.random.Generator, shape: Shape) -> Array:
    """The same with a baseline that does not scatter, so that differences are as skewed as the variants."""
    values = 1 - rng.exponential(size=shape)
    values[..., 0] = 0
    return values


def accuracies(rng: np.random.Generator, shape: Shape) -> Array:
    """Shares of test images that are right, .97 on average; half of them are for all variants of a seed alike."""
    right = rng.binomial(IMAGES, 0.97, (*shape[:2], 1))
    still, now = rng.binomial(right, 0.5 + 0.5 * 0.97, shape), rng.binomial(IMAGES - right, 0.5 * 0.97, shape)
    return np.concatenate([right, (still + now)[..., 1:]], axis=2) / IMAGES


def in_doubt(rng: np.random.Generator, shape: Shape) -> Array:
    """Shares of images of which nearly all are always right or always wrong; so activations scatter on the digits."""
    return (340 + rng.binomial(DOUBTFUL, 0.9, shape)) / IMAGES


ALL = (
    Errors("normal", lambda rng, shape: rng.normal(size=shape), 0, math.sqrt(2), bound=True),
    Errors("t, 3 df", lambda rng, shape: rng.standard_t(3, shape), 0, math.sqrt(2 * 3)),
    Errors("exponential", skewed, 0, math.sqrt(2)),
    Errors("exponential, baseline constant", most_skewed, 0, 1),
    Errors("accuracy, 359 images", accuracies, 0.97, math.sqrt(0.97 * 0.03 / IMAGES), counts=True),
    Errors("accuracy, 10 in doubt", in_doubt, 349 / IMAGES, math.sqrt(2 * DOUBTFUL * 0.9 * 0.1) / IMAGES, counts=True),
)

"""Separate seeds for each source of randomness, so that changing one component does not affect the others."""

from typing import NamedTuple

import numpy as np


class Seeds(NamedTuple):
    """Seeds of the four sources of randomness of a run."""

    split: int
    init: int
    order: int
    dropout: int


def derive_seeds(seed: int) -> Seeds:
    """Derive independent seeds for the validation split, the initial weights, the data order and dropout.

    Args:
        seed: Seed of the run; not negative.
    """
    return Seeds(*(int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(len(Seeds._fields))))

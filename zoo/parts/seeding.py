"""One seed becomes separate seeds, so that an ablation of one thing leaves the randomness of all others as it was."""

from typing import NamedTuple

import numpy as np


class Seeds(NamedTuple):
    """Seeds of a run's four sources of randomness."""

    split: int
    init: int
    order: int
    dropout: int


def derive_seeds(seed: int) -> Seeds:
    """Independent seeds for the validation split, the initial weights, the data order and dropout.

    Args:
        seed: The run's seed, not negative.
    """
    return Seeds(*(int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(len(Seeds._fields))))

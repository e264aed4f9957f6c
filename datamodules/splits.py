"""Disjoint, seeded, stratified splits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import require

# Seed of the test split of data sets without an official one. It is a constant, so that no later command can test on
# rows that a model was trained on, whatever its seed.
TEST_SEED = 20_240_229
TEST_FRACTION = 0.2


def stratified_order(labels: NDArray | None, n: int, seed: int) -> NDArray[np.int64]:
    """Return a random permutation of `range(n)` in which every prefix is approximately stratified by class.

    Args:
        labels: Class of each row, (n,), or None for a plain permutation.
        n: Number of rows.
        seed: Seed of the permutation.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    if labels is None:
        return order
    jitter = rng.random(n)
    position = np.empty(n)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        # The r-th of c members gets a random position in the r-th of c equal parts of [0, 1).
        position[members] = (np.arange(len(members)) + jitter[members]) / len(members)
    return np.argsort(position, kind="stable")


def split_off(
    rows: NDArray[np.int64], fraction: float, seed: int, labels: NDArray | None = None, groups: NDArray | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split `rows` into a part of about `fraction` and the rest, both in random order; neither is empty if avoidable.

    Args:
        rows: Row indices to split, (n,).
        fraction: Fraction of the first part, in (0, 1).
        seed: Seed of the split.
        labels: Class of each row of the whole data set, indexed by `rows`; None disables stratification.
        groups: Group of each row of the whole data set; rows of one group stay on the same side.

    Returns:
        (part, rest), two arrays of row indices.
    """
    own = np.arange(len(rows)) if groups is None else groups[rows]
    _, first, group_of = np.unique(own, return_index=True, return_inverse=True)
    order = stratified_order(None if labels is None else labels[rows[first]], len(first), seed)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    sequence = np.argsort(place[group_of], kind="stable")
    cut = min(max(round(fraction * len(first)), 1), max(len(first) - 1, 1))
    n_part = int((place[group_of] < cut).sum())
    return rows[sequence[:n_part]], rows[sequence[n_part:]]


def refuse_rare(origin: str, names: Sequence[str], counts: Sequence[int], what: str, own_test: bool = False) -> None:
    """Check that every class has enough samples for one in each split.

    Args:
        origin: Name of the data, for messages.
        names: Class names.
        counts: Number of distinct samples of each class; identical samples stay together.
        what: What a sample is called, such as "row".
        own_test: Whether there is a separate test split.

    Raises:
        InputError: For the first class with too few samples.
    """
    least, splits = (2, "training and validation") if own_test else (3, "training, validation and test")
    for name, n in zip(names, counts, strict=True):
        require(
            n >= least,
            f"{origin}: the class {name!r} has {n} distinct {what}{'s' * (n != 1)}, but the {splits} splits "
            f"need one each; add {what}s of this class, or delete the class.",
        )

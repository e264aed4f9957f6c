"""Disjoint, seeded, stratified splits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import require

# The test split of a set that comes without one: a constant, so that no later command, whatever its seed, tests on rows
# that a model was trained on.
TEST_SEED = 20_240_229
TEST_FRACTION = 0.2


def stratified_order(labels: NDArray | None, n: int, seed: int) -> NDArray[np.int64]:
    """A random order of `range(n)` in which every prefix holds each class in about its overall share.

    Args:
        labels: Class of each row, (n,), or None for a plain permutation.
        n: The number of rows.
        seed: Seeds the order.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    if labels is None:
        return order
    jitter = rng.random(n)
    position = np.empty(n)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        # The r-th of c members stands at a random place in the r-th of c equal parts of [0, 1).
        position[members] = (np.arange(len(members)) + jitter[members]) / len(members)
    return np.argsort(position, kind="stable")


def split_off(
    rows: NDArray[np.int64], fraction: float, seed: int, labels: NDArray | None = None, groups: NDArray | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split `rows` into a part of about `fraction` and the rest, both in random order, neither empty where avoidable.

    Args:
        rows: The row indices to split, (n,).
        fraction: The share of the first part, in (0, 1).
        seed: Seeds the split.
        labels: Class of each row of the whole set, indexed by `rows`; None splits without regard to class.
        groups: Group of each row of the whole set; rows of one group land on the same side.

    Returns:
        (part, rest), each an array of row indices.
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
    """Refuse a class with too few samples for one in each split.

    Args:
        origin: Where the data are from.
        names: The classes.
        counts: Of each class, the samples that differ, since equal ones stay together.
        what: A sample in words.
        own_test: Whether the test split is none of them.

    Raises:
        InputError: With the first such class.
    """
    least, splits = (2, "training and validation") if own_test else (3, "training, validation and test")
    for name, n in zip(names, counts, strict=True):
        require(
            n >= least,
            f"{origin}: the class {name!r} has {n} different {what}{'s' * (n != 1)}, but {splits} take one each. Find "
            "more of them, or delete the class.",
        )

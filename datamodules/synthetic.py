"""Made-up data whose difficulty is known. Each is drawn from a constant seed: a run's seed never changes the task."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import ArrayDataModule, Source
from .errors import require

_DATA_SEED = 7


class _Synthetic(ArrayDataModule):
    """A synthetic set of `n_samples` points.

    Args:
        n_samples: The number of points, all splits together.
        noise: Standard deviation of the noise added to each coordinate.
    """

    def __init__(self, *, n_samples: int = 1000, noise: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require(n_samples >= 10, f"data.n_samples must be at least 10, got {n_samples}.")
        require(noise >= 0, f"data.noise must not be negative, got {noise}.")
        self.n_samples, self.noise = n_samples, noise

    def _noisy(self, points: NDArray, rng: np.random.Generator) -> NDArray:
        return points + self.noise * rng.standard_normal(points.shape)


class XOR(_Synthetic):
    """Exclusive or: noisy corners of the unit square in 2 classes; a linear boundary gets at best 3 of 4 corners."""

    def load(self) -> Source:
        """Points (N, 2); the class is a XOR b of the corner (a, b)."""
        rng = np.random.default_rng(_DATA_SEED)
        corner = np.arange(self.n_samples) % 4
        points = np.stack([corner // 2, corner % 2], axis=1).astype(np.float64)
        return Source(self._noisy(points, rng), (corner // 2) ^ (corner % 2), ("0", "1"))


class Moons(_Synthetic):
    """Two interleaving half circles in the plane (scikit-learn's `make_moons`)."""

    def load(self) -> Source:
        """Points (N, 2)."""
        from sklearn.datasets import make_moons

        points, labels = make_moons(self.n_samples, noise=self.noise, random_state=_DATA_SEED)
        return Source(points, labels, ("upper", "lower"))


class Spirals(_Synthetic):
    """Two spirals wound one and a half times around each other (after Lang & Witbrock 1988)."""

    def load(self) -> Source:
        """Points (N, 2); the second spiral is the first turned by 180 degrees."""
        rng = np.random.default_rng(_DATA_SEED)
        label = np.arange(self.n_samples) % 2
        # The square root spreads the points evenly along the arm.
        turn = 3 * np.pi * np.sqrt(rng.random(self.n_samples))
        angle = turn + np.pi * label
        return Source(
            self._noisy(turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), rng), label, ("a", "b")
        )


class Fraud(ArrayDataModule):
    """Synthetic insurance claims: 8,000 rows of 20 features, exactly 3 % fraudulent, no linear giveaway.

    Stands in for the chapter's private fraud data, of which only the size and the share are known. A claim's risk is a
    sum of interactions and bumps of eight features plus noise; the riskiest 3 % are the frauds. Six features are
    log-normal, as amounts are; the last twelve say nothing.
    """

    def load(self) -> Source:
        """Claims (8000, 20)."""
        rng = np.random.default_rng(_DATA_SEED)
        z = rng.standard_normal((8000, 20))
        risk = (
            z[:, 0] * z[:, 1]
            + z[:, 2]
            + np.abs(z[:, 3]) * z[:, 4]
            - 0.5 * z[:, 5] ** 2
            + np.tanh(2 * z[:, 6]) * z[:, 7]
        )
        risk += 0.5 * rng.standard_normal(len(z))
        fraud = np.zeros(len(z), np.int64)
        fraud[np.argsort(risk)[-240:]] = 1
        x = np.concatenate([z[:, :4], np.exp(z[:, 4:10]), z[:, 10:]], axis=1)
        return Source(x, fraud, ("legitimate", "fraud"))


class Sawtooth(_Synthetic):
    """The tent map composed k times: a regression on [0, 1] whose graph is a saw of 2^(k-1) teeth (Telgarsky 2015).

    The target is piecewise linear with 2^k pieces. A net of k hidden layers of two ReLU units is equal to it, with
    6k + 1 parameters; one hidden layer has at most one piece more than units, so it needs at least 2^k - 1 of them.

    Args:
        k: How often the tent map is composed, at least 1.
        n_samples: The number of points, all splits together.
        noise: Standard deviation of the noise added to the target.
    """

    def __init__(self, *, k: int = 3, n_samples: int = 1000, noise: float = 0.0, **kwargs: Any) -> None:
        super().__init__(n_samples=n_samples, noise=noise, **kwargs)
        # From 53 on, a point of double precision has no digits left.
        require(1 <= k <= 50, f"data.k must lie between 1 and 50, got {k}.")
        self.k = k

    def load(self) -> Source:
        """Points (N, 1), uniform on [0, 1]."""
        rng = np.random.default_rng(_DATA_SEED)
        x = rng.random((self.n_samples, 1))
        return Source(x, self._noisy(sawtooth(x[:, 0], self.k), rng), None)


def sawtooth(x: NDArray, k: int) -> NDArray:
    """The tent map, 2x up to 1/2 and 2 - 2x from there on, composed k times; of points of [0, 1], of any shape."""
    for _ in range(k):
        x = 1 - np.abs(2 * x - 1)
    return x

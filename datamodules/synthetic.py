"""Synthetic data of known difficulty, generated with a fixed seed: a run's seed never changes the task."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import ArrayDataModule, Source
from .errors import require

_DATA_SEED = 7


class _Synthetic(ArrayDataModule):
    """A synthetic data set of `n_samples` points.

    Args:
        n_samples: Total number of points in all splits; at least 10.
        noise: Standard deviation of the Gaussian noise added to each coordinate.
    """

    def __init__(self, *, n_samples: int = 1000, noise: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require(n_samples >= 10, f"data.n_samples must be at least 10, got {n_samples}.")
        require(noise >= 0, f"data.noise must not be negative, got {noise}.")
        self.n_samples, self.noise = n_samples, noise

    def _noisy(self, points: NDArray, rng: np.random.Generator) -> NDArray:
        return points + self.noise * rng.standard_normal(points.shape)


class XOR(_Synthetic):
    """Exclusive or: noisy corners of the unit square in 2 classes; a linear classifier gets at most 3 of 4 right."""

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
        # The square root distributes the points evenly along the arm.
        turn = 3 * np.pi * np.sqrt(rng.random(self.n_samples))
        angle = turn + np.pi * label
        return Source(
            self._noisy(turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), rng), label, ("a", "b")
        )


class Fraud(ArrayDataModule):
    """Synthetic insurance claims: 8,000 rows of 20 features, exactly 3 % fraudulent, not linearly separable.

    Replaces the chapter's private fraud data, of which only the size and the class shares are known. The risk of a
    claim is a nonlinear function of the first eight features plus noise, and the riskiest 3 % are fraudulent. Six
    features are log-normal, like amounts of money; the last twelve are uninformative.
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
    """The tent map composed k times: a regression on [0, 1] with 2^(k-1) teeth (Telgarsky 2015).

    The target is piecewise linear with 2^k pieces. A net of k hidden layers of two ReLU units can represent it exactly,
    with 6k + 1 parameters. A single hidden layer of n units has at most n + 1 pieces, so it needs at least 2^k - 1.

    Args:
        k: Number of times the tent map is composed, from 1 to 50.
        n_samples: Total number of points in all splits; at least 10.
        noise: Standard deviation of the Gaussian noise added to the target.
    """

    def __init__(self, *, k: int = 3, n_samples: int = 1000, noise: float = 0.0, **kwargs: Any) -> None:
        super().__init__(n_samples=n_samples, noise=noise, **kwargs)
        # From k = 53 on, no significant digits of a float64 are left.
        require(1 <= k <= 50, f"data.k must be between 1 and 50, got {k}.")
        self.k = k

    def load(self) -> Source:
        """Points (N, 1), uniform on [0, 1]."""
        rng = np.random.default_rng(_DATA_SEED)
        x = rng.random((self.n_samples, 1))
        return Source(x, self._noisy(sawtooth(x[:, 0], self.k), rng), None)


def sawtooth(x: NDArray, k: int) -> NDArray:
    """Apply the tent map (2x below 1/2, 2 - 2x above) k times to points in [0, 1], of any shape."""
    for _ in range(k):
        x = 1 - np.abs(2 * x - 1)
    return x

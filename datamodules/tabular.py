"""Small real data sets that ship with scikit-learn and need no download."""

from functools import cache
from typing import Any

from .base import ArrayDataModule, Source
from .images import ImageDataModule


@cache
def _load(name: str) -> Any:
    import sklearn.datasets

    return getattr(sklearn.datasets, f"load_{name}")()


class Digits(ImageDataModule):
    """Handwritten digits: 1,797 images of 1×8×8 in 10 classes (UCI 80, through scikit-learn)."""

    def load(self) -> Source:
        """Images (N, 1, 8, 8); the channel axis is for convolutional nets, an MLP flattens them."""
        bunch = _load("digits")
        names = tuple(str(name) for name in bunch.target_names)
        return Source(self.arrange(bunch.images[:, None]), bunch.target, names)


class _Table(ArrayDataModule):
    """One of scikit-learn's tables."""

    source = ""

    def load(self) -> Source:
        """Features (N, F)."""
        bunch = _load(self.source)
        names = getattr(bunch, "target_names", None)
        return Source(bunch.data, bunch.target, None if names is None else tuple(str(name) for name in names))


class Iris(_Table):
    """Iris flowers: 150 rows of 4 features in 3 classes (Fisher 1936, through scikit-learn)."""

    source = "iris"


class Wine(_Table):
    """Wines: 178 rows of 13 chemical features in 3 classes (UCI 109, through scikit-learn)."""

    source = "wine"


class BreastCancer(_Table):
    """Breast cancer: 569 rows of 30 features, malignant or benign (UCI 17, through scikit-learn)."""

    source = "breast_cancer"


class Diabetes(_Table):
    """Diabetes progression: 442 rows of 10 features, a regression (Efron et al. 2004, through scikit-learn)."""

    source = "diabetes"

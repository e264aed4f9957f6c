"""MNIST, Fashion-MNIST and CIFAR-10, in torchvision's folder layout."""

import gzip
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .augment import Augment
from .base import Source
from .errors import InputError, require
from .images import ImageDataModule
from .loader import Transform


class _Images(ImageDataModule):
    """Images that are downloaded once, with an official test split.

    Args:
        random_shift: Augmentation: shift each training image by up to this many pixels in each direction, filling with
            black; 0 disables it.
        random_crop: Augmentation: pad each side by this many mirrored pixels and crop to the original size at a random
            position; 0 disables it.
        horizontal_flip: Augmentation: flip each training image horizontally with probability 0.5.
    """

    def __init__(
        self, *, random_shift: int = 0, random_crop: int = 0, horizontal_flip: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        require(random_shift >= 0, f"data.random_shift must not be negative, got {random_shift}.")
        require(random_crop >= 0, f"data.random_crop must not be negative, got {random_crop}.")
        augmented = bool(random_shift or random_crop or horizontal_flip)
        require(
            not (augmented and self.permute_pixels),
            "data.permute_pixels cannot be combined with data.random_shift, data.random_crop or data.horizontal_flip, "
            "because permuted images have no neighbourhoods; remove the augmentation.",
        )
        self.random_shift, self.random_crop, self.horizontal_flip = random_shift, random_crop, horizontal_flip

    def train_transform(self) -> Transform | None:
        """Return the augmentation that the options ask for, or None."""
        if not (self.random_shift or self.random_crop or self.horizontal_flip):
            return None
        side = min(self.input_shape[1:])
        require(
            self.random_crop < side,
            f"data.random_crop must be less than the image's side of {side} pixels, got {self.random_crop}.",
        )
        mean, std = (np.asarray(self.card()["normalisation"][k]) for k in ("mean", "std"))
        return Augment(self.random_shift, self.random_crop, self.horizontal_flip, black=(-mean / std).tolist())

    def _dataset(self, train: bool, download: bool) -> Any:
        """Return torchvision's data set, downloaded into `folder` if necessary and allowed."""
        import torchvision.datasets

        name = type(self).__name__
        require(
            self.may_download or not download,
            f"{name} is not in {self.folder}, and nothing is downloaded because of a checkpoint; pass --data.root.",
        )
        missing = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
        try:
            return getattr(torchvision.datasets, name)(self.folder, train=train, download=download)
        except (OSError, RuntimeError) as error:
            for path in [self.folder / name / "raw", self.folder / name, *missing]:
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
            cause = " ".join(str(error).split())
            raise InputError(
                f"{name} is not in {self.folder} and could not be downloaded ({cause}). Point ZOO_DATA_DIR or "
                "--data.root to a folder that contains it in torchvision's layout, or run once with network access."
            ) from None


class MNIST(_Images):
    """Handwritten digits: 60,000 + 10,000 images of 1×28×28 in 10 classes (LeCun et al. 1998)."""

    classes: tuple[str, ...] = tuple("0123456789")

    def load(self) -> Source:
        """Images (70000, 1, 28, 28), read from `raw/*-ubyte` or `raw/*-ubyte.gz`, without unpacking files on disk."""
        folder = self.folder / type(self).__name__ / "raw"
        names = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
        files = [next((f for f in (folder / n, folder / f"{n}.gz") if f.is_file()), None) for n in names]
        if None in files:
            self._dataset(train=True, download=True)
            files = [folder / n for n in names]
        x, y, x_test, y_test = (_read_idx(str(file)) for file in files)
        for split, images, labels in (("training", x, y), ("test", x_test, y_test)):
            fit = images.shape[1:] == x.shape[1:] and images.ndim == 3 and labels.shape == images.shape[:1]
            require(
                fit and labels.max(initial=0) < len(self.classes),
                f"{folder}: the {split} files do not match: images have shape {images.shape}, labels have shape "
                f"{labels.shape} and values up to {labels.max(initial=0)}; delete both to download them again.",
            )
        images, labels = np.concatenate([x, x_test])[:, None], np.concatenate([y, y_test])
        return Source(self.arrange(images), labels, self.classes, n_official_test=len(x_test))


class FashionMNIST(MNIST):
    """Zalando's articles of clothing: 60,000 + 10,000 images of 1×28×28 in 10 classes (Xiao et al. 2017)."""

    classes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class CIFAR10(_Images):
    """Tiny photographs: 50,000 + 10,000 images of 3×32×32 in 10 classes (Krizhevsky 2009)."""

    def load(self) -> Source:
        """Images (60000, 3, 32, 32); torchvision checks each file's md5 before it unpickles it."""
        here = (self.folder / "cifar-10-batches-py").is_dir()
        train, test = self._dataset(True, download=not here), self._dataset(False, download=False)
        images = np.concatenate([train.data, test.data]).transpose(0, 3, 1, 2)
        labels = np.concatenate([train.targets, test.targets])
        return Source(self.arrange(images), labels, tuple(train.classes), n_official_test=len(test.data))


@cache
def _read_idx(path: str) -> NDArray[np.uint8]:
    """Read an array in MNIST's idx format, gzipped or not.

    Raises:
        InputError: If the file is truncated or not an idx file.
    """
    try:
        content = Path(path).read_bytes()
        if path.endswith(".gz"):
            content = gzip.decompress(content)
        n_axes = content[3]
        shape = np.frombuffer(content, ">i4", n_axes, offset=4)
        array = np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise InputError(f"{path} is damaged or not an idx file ({error}); delete it to download it again.") from None
    return array

"""Base class of all data modules: load, split, normalise, and slice batches from memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import InputError, require
from .folder import data_folder
from .loader import BatchLoader, Transform, has_batch_norm
from .splits import TEST_FRACTION, TEST_SEED, split_off


@dataclass(frozen=True)
class Source:
    """A complete data set, before splitting.

    Attributes:
        x: Inputs, (N, *input_shape), any numeric type; or raw values, (N, ...), that `featurise` turns into inputs.
        y: Class indices (N,) int64, or regression targets (N,) float64.
        class_names: Class names in index order; None for a regression.
        n_official_test: Size of the official test split, which is at the end; 0 if there is none.
        groups: Group of each row, (N,); rows of one group stay on the same side of every split. None if rows are
            independent.
        labelled: Whether `y` is known; it may be unknown for prediction.
        extra: Plain values that the data module needs to read another file in the same way.
    """

    x: NDArray
    y: NDArray
    class_names: tuple[str, ...] | None
    n_official_test: int = 0
    groups: NDArray | None = None
    labelled: bool = True
    extra: dict[str, Any] | None = None


class ArrayDataModule(L.LightningDataModule):
    """Data in memory: seeded disjoint splits, normalised with training statistics, batches by slicing.

    Subclasses implement `load`. After `setup`, `input_shape`, `num_classes`, `class_names` and `indices` describe the
    data, and `card()` returns what a checkpoint has to store about it.

    Args:
        batch_size: Samples per training batch, over all devices together; at least 1.
        val_fraction: Fraction of the training rows held out for validation, in (0, 1).
        train_size: Number (int) or fraction (float in (0, 1]) of the training rows to train on; null uses all. All
            sizes share the same validation split, and smaller subsets are contained in larger ones.
        seed: Seed of the validation split; null derives it from the run's seed. The test split does not depend on it.
            Outside `zoo fit`, it also seeds the order of training samples.
        root: Folder of downloaded data sets, in torchvision's layout; null means $ZOO_DATA_DIR, or
            ~/.cache/ablation-zoo if that is not set.

    Raises:
        InputError: If a value is out of range.
    """

    # Evaluation stores no gradients, so its batches can be larger: fewer steps give the same numbers.
    eval_batch_size = 1024
    # Parameters that a checkpoint fixes, because its splits and features depend on them.
    fixed: ClassVar[tuple[str, ...]] = ("seed", "val_fraction", "train_size")
    paths: ClassVar[tuple[str, ...]] = ()  # parameters that are files
    _predicting = False

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val_fraction: float = 0.2,
        train_size: int | float | None = None,
        seed: int | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__()
        require(batch_size >= 1, f"data.batch_size must be at least 1, got {batch_size}.")
        require(0 < val_fraction < 1, f"data.val_fraction must be between 0 and 1 (exclusive), got {val_fraction}.")
        if isinstance(train_size, float):
            require(0 < train_size <= 1, f"data.train_size as a fraction must be in (0, 1], got {train_size}.")
        elif train_size is not None:
            require(train_size >= 1, f"data.train_size must be at least 1 row, got {train_size}.")
        require(seed is None or seed >= 0, f"data.seed must not be negative, got {seed}.")
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.train_size = train_size
        self.seed = seed
        self.root = root
        self.order_seed: int | None = None
        self.indices: dict[str, NDArray[np.int64]] = {}
        self._arrays: dict[str, tuple[Tensor, Tensor]] = {}
        self.targets: dict[str, NDArray] = {}  # as in the source: class indices, or numbers in the target's units
        self.may_download = True
        self._card: dict[str, Any] = {}
        self.labelled = True
        self._restored: dict[str, Any] | None = None

    @classmethod
    def identity(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that determine the data, for a trial's key; its location is not one of them."""
        return {name: value for name, value in params.items() if name != "root"}

    @property
    def folder(self) -> Path:
        """Folder of downloaded data sets: `root`, else $ZOO_DATA_DIR, else ~/.cache/ablation-zoo."""
        return data_folder(self.root)

    @property
    def _lenient(self) -> bool:
        """Whether labels may be missing or unknown: a prediction does not need them."""
        return self._predicting and self._restored is not None

    # --- overridden by subclasses -----------------------------------------------------------------------------------

    def load(self) -> Source:
        """Read the whole data set."""
        raise NotImplementedError

    def featurise(self, source: Source) -> Source:
        """Turn raw values into inputs, where this needs the training split; `indices` is already set."""
        return source

    def statistics(self, x: NDArray) -> dict[str, Any]:
        """Compute mean and standard deviation of the training inputs: per channel for images, else per feature."""
        return _mean_std(x, (0, 2, 3) if x.ndim == 4 else (0,))

    def train_transform(self) -> Transform | None:
        """Return the augmentation of training batches, or None."""
        return None

    # --- Lightning's hooks ------------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        """Load, split, compute features and normalise; later calls do nothing."""
        if self._arrays:
            return
        source = self.load()
        self.labelled = source.labelled
        self.indices = self._split(source)
        source = self.featurise(source)
        self._card = self._describe(source)
        mean, std = (np.asarray(self._card["normalisation"][k]) for k in ("mean", "std"))
        image = source.x.ndim == 4
        mean, std = (v.reshape(-1, 1, 1) if image else v for v in (mean, std))
        for split, rows in self.indices.items():
            x = torch.from_numpy(_normalise(source.x[rows], mean, std))
            if source.x.dtype != np.uint8 and not x.isfinite().all():
                raise _not_finite(x, source, rows)
            self._arrays[split] = x, self._targets(source.y[rows])
            self.targets[split] = source.y[rows]

    def train_dataloader(self) -> BatchLoader:
        """Batches of the training split on the model's device, reshuffled every epoch."""
        order_seed = self.seed if self.order_seed is None else self.order_seed
        return self._loader(
            "train",
            self.batch_size,
            shuffle_seed=order_seed or 0,
            transform=self.train_transform(),
            batch_norm=self.trainer is not None and has_batch_norm(self.trainer.lightning_module),
        )

    def val_dataloader(self) -> BatchLoader:
        """The validation split in a fixed order."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> BatchLoader:
        """The test split in a fixed order."""
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> BatchLoader:
        """The test split in a fixed order."""
        return self.test_dataloader()

    def eval_dataloader(self, split: str) -> BatchLoader:
        """Any split in a fixed order, each sample exactly once, without augmentation."""
        return self._loader(split, self.eval_batch_size)

    # --- read by models and checkpoints -----------------------------------------------------------------------------

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch axis."""
        return tuple(self.card()["input_shape"])

    @property
    def class_names(self) -> list[str] | None:
        """Class names in index order; None for a regression."""
        return self.card()["class_names"]

    @property
    def num_classes(self) -> int:
        """The number of classes; 1 for a regression."""
        return 1 if self.class_names is None else len(self.class_names)

    @property
    def smallest_batch(self) -> int:
        """Size of the smallest training batch; a last batch too small for batch norm is merged with the previous."""
        self.setup()
        return min(self.batch_size, len(self.indices["train"]))

    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        """The normalised arrays of "train", "val" or "test": x (N, *input_shape), y (N,)."""
        self.setup()
        if split not in self._arrays:
            raise InputError(
                f"this data has no {split} split, only a test split, because the model was not trained on it; evaluate "
                "it with `zoo test`."
            )
        return self._arrays[split]

    def class_counts(self) -> Tensor:
        """Rows of each class in the training split, (num_classes,)."""
        return torch.bincount(self.arrays("train")[1], minlength=self.num_classes)

    def card(self) -> dict[str, Any]:
        """Return what a checkpoint stores about the data: shapes, class names, normalisation, target scale.

        All are plain values. `normalisation` and `target` have the keys `mean` and `std`: for each channel or feature,
        and for the target of a regression.
        """
        self.setup()
        return self._card

    def restore(self, card: dict[str, Any]) -> None:
        """Use the class names, normalisation and target scale of a checkpoint's `card()` instead of computing them.

        Must be called before `setup`.
        """
        self._restored = card

    # --- inside -----------------------------------------------------------------------------------------------------

    def _loader(self, split: str, batch_size: int, **options: Any) -> BatchLoader:
        x, y = self.arrays(split)
        if self.trainer is not None:
            device = self.trainer.strategy.root_device
            self._arrays[split] = x, y = x.to(device), y.to(device)
            options |= {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}
        return BatchLoader(x, y, batch_size, **options)

    def _split(self, source: Source) -> dict[str, NDArray[np.int64]]:
        rows, labels = np.arange(len(source.x)), None if source.class_names is None else source.y
        if source.n_official_test:
            test, rest = rows[-source.n_official_test :], rows[: -source.n_official_test]
        else:
            test, rest = split_off(rows, TEST_FRACTION, TEST_SEED, labels, source.groups)
        val, train = split_off(rest, self.val_fraction, self.seed or 0, labels, source.groups)
        if self.train_size is not None:
            keep = self.train_size if isinstance(self.train_size, int) else round(self.train_size * len(train))
            require(
                1 <= keep <= len(train),
                f"data.train_size must select between 1 and {len(train)} training rows, the number left after the "
                f"validation and test splits, but selects {keep}.",
            )
            train = train[:keep]
        for name, part in {"training": train, "validation": val, "test": test}.items():
            require(len(part) > 0, f"{len(rows)} rows are too few: the {name} split would be empty; add more rows.")
        return {"train": train, "val": val, "test": test}

    def _describe(self, source: Source) -> dict[str, Any]:
        names = None if source.class_names is None else list(source.class_names)
        card: dict[str, Any] = {"input_shape": list(source.x.shape[1:]), "class_names": names, **(source.extra or {})}
        if self._restored is not None:
            was, now = self._restored["input_shape"], card["input_shape"]
            require(
                was == now,
                f"the model was trained on inputs of shape {was}, but this data has shape {now}; pass data of "
                "the same shape.",
            )
            was, now = self._restored["class_names"], card["class_names"]
            require(
                was == now,
                f"the model was trained on the classes {was}, but this data has the classes {now}; pass data with the "
                "same classes.",
            )
            return card | {k: self._restored[k] for k in ("normalisation", "target")}
        require(
            source.class_names is not None or bool((source.y != source.y[0]).any()),
            f"the target of this regression is {source.y[0]:g} in every row, so there is nothing to learn; choose "
            "another target.",
        )
        train = self.indices["train"]
        card["normalisation"] = self.statistics(source.x[train])
        card["target"] = None if source.class_names is not None else _mean_std(source.y[train], (0,))
        return card

    def _targets(self, y: NDArray) -> Tensor:
        scale = self._card["target"]
        if scale is None:
            return torch.from_numpy(y.astype(np.int64))
        return torch.from_numpy(((y - scale["mean"]) / scale["std"]).astype(np.float32))


def _not_finite(x: Tensor, source: Source, rows: NDArray[np.int64]) -> InputError:
    """Make the error for an input that is not finite in float32."""
    row, *place = x.isfinite().logical_not().nonzero()[0].tolist()
    names = (source.extra or {}).get("features")
    where = f"column {names[place[0]]!r}" if names and len(place) == 1 else f"feature {place}"
    return InputError(
        f"row {rows[row] + 1}, {where}: {source.x[(rows[row], *place)]:g} is not finite, or too far from the training "
        "data to compute with; correct it, or delete the row."
    )


def _normalise(x: NDArray, mean: NDArray, std: NDArray) -> NDArray[np.float32]:
    """Compute (x - mean) / std, in float64; in float32 for uint8 images, to halve the memory."""
    if x.dtype == np.uint8:
        x, mean, std = (values.astype(np.float32) for values in (x, mean, std))
    with np.errstate(over="ignore"):  # `setup` rejects infinity
        return ((x - mean) / std).astype(np.float32, copy=False)


def _mean_std(values: NDArray, axes: tuple[int, ...]) -> dict[str, Any]:
    """Mean and population standard deviation over `axes`, in float64; std is 1 where values are constant."""
    if values.dtype == np.uint8:  # images: counting each grey value is exact and much faster
        counts = np.stack([torch.bincount(torch.from_numpy(c).flatten(), minlength=256) for c in values.swapaxes(0, 1)])
        grey, n = np.arange(256.0), counts.sum(1)
        mean = counts @ grey / n
        std = np.sqrt(counts @ grey**2 / n - mean**2)
    else:
        mean, std = values.mean(axes, dtype=np.float64), values.std(axes, dtype=np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise InputError("the training data contains NaN or infinite values; remove or replace them.")
    # Because of rounding, the std of a constant can be about 1e-16 times its value.
    return {"mean": mean.tolist(), "std": np.where(std > 1e-12 * np.abs(mean), std, 1.0).tolist()}

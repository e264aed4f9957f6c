"""Metrics of the rare one of two classes, at a threshold chosen on validation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from datamodules.base import ArrayDataModule
from datamodules.errors import require

from ..parts.metric_names import RARE_CLASS

if TYPE_CHECKING:
    from ..models.base import ZooModule

Outputs = tuple[Tensor, Tensor]  # logits (N, 2), classes (N,)


@dataclass
class RareClassOptions:
    """Measures the rare one of two classes, the one with fewer training rows: F1 and average precision.

    Accuracy says little of a class of 3 %, and .5 is a poor place to cut: what maximises F1 lies lower for most nets
    (at half of the F1 reached where probabilities are calibrated: Lipton, Elkan & Naryanaswamy 2014), and class weights
    move it. So the restored best model's threshold on the rare class's probability is the one that maximises F1 on
    validation, of equals the highest, among the probabilities that stand there. `threshold`, `val/f1_rare` and
    `test/f1_rare` are that and F1 of what is at or above it, `val/auprc` and `test/auprc` the average precision, and
    `test/f1_rare_at_half` is F1 at .5. Where the classes are equally frequent, the second counts as the rare one.
    `val/f1_rare` is the best of many and so flatters; `test/f1_rare` does not. `zoo predict` cuts at .5, as ever.
    """

    def make(self, out: Path, num_classes: int) -> L.Callback:
        """The callback that keeps what a test sees; `zoo.train` and `zoo.pack` measure after training."""
        kind = "this is a regression" if num_classes == 1 else f"these are {num_classes}"
        require(num_classes == 2, f"callbacks.rare_class needs data of two classes, and {kind}; leave it out.")
        return RareClass()


class RareClass(L.Callback):
    """Keeps the outputs of the split tested last, of all devices.

    Attributes:
        outputs: Its logits (N, 2) and classes (N,), on the CPU.
    """

    outputs: Outputs

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: "ZooModule") -> None:  # type: ignore[override]
        """Lightning asks callbacks ahead of the module, which then forgets its batches."""
        gathered = pl_module.gathered("test")
        if trainer.world_size > 1:
            gathered = tuple(torch.cat(gather_all_tensors(part)) for part in gathered)  # type: ignore[assignment]
        logits, y = gathered
        self.outputs = logits.cpu(), y.cpu()


def rare_class_of(data: ArrayDataModule) -> int:
    """The class with fewer training rows; of equals the second."""
    first, second = data.class_counts().tolist()
    return int(first >= second)


def why_not_rare(data: ArrayDataModule) -> str:
    """Why the rare class of data cannot be measured; empty if it can."""
    if data.num_classes != 2:
        return ""  # the option itself says so
    rare = rare_class_of(data)
    counts = {split: int((data.arrays(split)[1] == rare).sum()) for split in data.indices}
    if min(counts.values()) > 0:
        return ""
    assert data.class_names is not None
    shown = ", ".join(f"{n} in {split}" for split, n in counts.items())
    return (
        f"callbacks.rare_class needs rows of the rare class {data.class_names[rare]!r} in every split, and there are "
        f"{shown}; give it more rows (data.train_size, data.val_fraction), or leave it out."
    )


def rare_class_metrics(rare: int, outputs: Mapping[str, Outputs]) -> dict[str, float]:
    """See `RareClassOptions`; all NaN where a logit is.

    Args:
        rare: The rare class.
        outputs: The outputs on `val` and `test`.
    """
    from sklearn.metrics import average_precision_score, f1_score  # takes a while, and few runs need it

    # In double precision, or else probabilities near 1 are all the same.
    scores = {split: _probability(logits, rare) for split, (logits, _) in outputs.items()}
    hits = {split: (y == rare).numpy() for split, (_, y) in outputs.items()}
    if not all(np.isfinite(score).all() for score in scores.values()):
        return dict.fromkeys(RARE_CLASS, math.nan)
    threshold = best_threshold(scores["val"], hits["val"])
    measured = {"threshold": threshold}
    for split in ("val", "test"):
        measured[f"{split}/f1_rare"] = float(f1_score(hits[split], scores[split] >= threshold, zero_division=0.0))
        measured[f"{split}/auprc"] = float(average_precision_score(hits[split], scores[split]))
    measured["test/f1_rare_at_half"] = float(f1_score(hits["test"], scores["test"] >= 0.5, zero_division=0.0))
    return measured


def best_threshold(scores: NDArray[np.float64], hits: NDArray[np.bool_]) -> float:
    """The score at or above which all are called rare for the largest F1; of equals the highest.

    Args:
        scores: The rare class's probability, (N,).
        hits: Which are rare, (N,), some.
    """
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    found, called = np.cumsum(hits[order]), np.arange(1, len(order) + 1)
    # F1 = 2·TP/(called + positives): a quotient of integers, so that equals are equal to the bit.
    f1 = 2 * found / (called + found[-1])
    last = np.append(descending[1:] != descending[:-1], True)  # equal scores fall on one side
    return float(descending[np.argmax(np.where(last, f1, -1.0))])


def _probability(logits: Tensor, rare: int) -> NDArray[np.float64]:
    return logits.double().softmax(1)[:, rare].numpy()

"""Metrics of the rare class in binary classification, at a threshold chosen on validation."""

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
    """Measures F1 and average precision of the rare class: of two, the one with fewer training rows.

    Accuracy is not informative for a class of 3 %, and .5 is a poor threshold: for most nets the threshold that
    maximises F1 is lower (half of the best F1 for calibrated probabilities: Lipton, Elkan & Naryanaswamy 2014), and
    class weights change it. The threshold on the rare class's probability is therefore chosen among the probabilities
    on validation, with the restored best model, to maximise F1 there (the highest one if there are ties). It is
    reported as `threshold`. `val/f1_rare` and `test/f1_rare` are F1 at this threshold, `val/auprc` and `test/auprc` the
    average precision, and `test/f1_rare_at_half` is F1 at .5. If both classes are equally frequent, the second counts
    as the rare one. `val/f1_rare` is optimistic, because the threshold was chosen on the same data; `test/f1_rare` is
    not. `zoo predict` always uses .5.
    """

    def check(self, num_classes: int) -> None:
        """Check that the options are in range.

        Raises:
            InputError: If an option is out of range.
        """
        kind = "this is a regression" if num_classes == 1 else f"there are {num_classes}"
        require(num_classes == 2, f"callbacks.rare_class needs data with two classes, but {kind}; remove the callback.")

    def make(self, out: Path) -> L.Callback:
        """Create the callback that stores test outputs; `zoo.train` and `zoo.pack` measure after training."""
        return RareClass()


class RareClass(L.Callback):
    """Stores the outputs of the last tested split, from all devices.

    Attributes:
        outputs: Logits (N, 2) and classes (N,), on the CPU.
    """

    outputs: Outputs

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: "ZooModule") -> None:  # type: ignore[override]
        """Store the outputs; Lightning calls callbacks before the module, which then clears its batches."""
        gathered = pl_module.gathered("test")
        if trainer.world_size > 1:
            gathered = tuple(torch.cat(gather_all_tensors(part)) for part in gathered)  # type: ignore[assignment]
        logits, y = gathered
        self.outputs = logits.cpu(), y.cpu()


def rare_class_of(data: ArrayDataModule) -> int:
    """Return the class with fewer training rows; the second if both are equally frequent."""
    first, second = data.class_counts().tolist()
    return int(first >= second)


def why_not_rare(data: ArrayDataModule) -> str:
    """Return why the rare class cannot be measured on this data; empty if it can."""
    if data.num_classes != 2:
        return ""  # the callback's own error covers this
    rare = rare_class_of(data)
    counts = {split: int((data.arrays(split)[1] == rare).sum()) for split in data.indices}
    if min(counts.values()) > 0:
        return ""
    assert data.class_names is not None
    shown = ", ".join(f"{n} in {split}" for split, n in counts.items())
    return (
        f"callbacks.rare_class needs rows of the rare class {data.class_names[rare]!r} in every split, but there are "
        f"{shown}; increase data.train_size or data.val_fraction, or remove the callback."
    )


def rare_class_metrics(rare: int, outputs: Mapping[str, Outputs]) -> dict[str, float]:
    """Compute the metrics of `RareClassOptions`; all are NaN if a logit is.

    Args:
        rare: The rare class.
        outputs: The outputs on `val` and `test`.
    """
    from sklearn.metrics import average_precision_score, f1_score  # a slow import that few runs need

    # In float32, probabilities near 1 could not be distinguished.
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
    """Return the threshold with the largest F1 if scores at or above it count as rare; the highest if there are ties.

    Args:
        scores: Probability of the rare class, (N,).
        hits: Whether each sample is of the rare class, (N,); at least one is.
    """
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    found, called = np.cumsum(hits[order]), np.arange(1, len(order) + 1)
    # F1 = 2·TP/(called + positives) is a quotient of integers, so ties are exact.
    f1 = 2 * found / (called + found[-1])
    last = np.append(descending[1:] != descending[:-1], True)  # equal scores are on the same side of a threshold
    return float(descending[np.argmax(np.where(last, f1, -1.0))])


def _probability(logits: Tensor, rare: int) -> NDArray[np.float64]:
    return logits.double().softmax(1)[:, rare].numpy()

"""The metrics of `zoo.parts.metrics` for many members at once; tests compare them with torchmetrics.

Results of a member must not depend on other members: counts and ranks are exact, sums are over rows (see `net`).
"""

import numpy as np
import torch
from torch import Tensor

from ..parts.scores import log_odds
from .net import row_sums

Columns = dict[str, Tensor]  # each (K,)


def classification(logits: Tensor, y: Tensor, train: bool = False) -> Columns:
    """Accuracy and, unless it is training data, macro F1 and AUROC.

    Args:
        logits: (K, C, N).
        y: Classes, (K, N).
        train: Leave out what is costly on many samples.
    """
    predicted = logits.max(1).indices  # five times faster than argmax, and the first of equals likewise
    right = predicted == y
    columns = {"accuracy": _mean(right)}
    if not train:
        columns["f1_macro"] = _f1_macro(predicted, y, right, logits.shape[1])
        columns["auroc"] = _auroc(log_odds(logits), y)
    return columns


def regression(outputs: Tensor, y: Tensor) -> Columns:
    """MSE, MAE and R² of outputs (K, N) against targets (K, N), both in the target's units."""
    errors = outputs - y
    squares = row_sums(errors.square())
    spread = row_sums((y - (row_sums(y) / y.shape[1]).unsqueeze(1)).square())
    r2 = torch.where(spread > 0, 1 - squares / spread, torch.nan)
    columns = {"mse": squares / y.shape[1], "mae": row_sums(errors.abs()) / y.shape[1], "r2": r2}
    return {name: values.float() for name, values in columns.items()}


def _mean(flags: Tensor) -> Tensor:
    return flags.sum(1) / flags.shape[1]


def _counts(values: Tensor, n: int) -> Tensor:
    """How often each of n values stands in each row: (K, N) to (K, n)."""
    k = len(values)
    offsets = torch.arange(k, device=values.device).unsqueeze(1) * n
    return torch.bincount((values + offsets).flatten(), minlength=k * n).view(k, n).double()


def _f1_macro(predicted: Tensor, y: Tensor, right: Tensor, n_classes: int) -> Tensor:
    """The mean of 2·TP/(2·TP + FP + FN) over the classes that are there or were predicted."""
    true, said = _counts(y, n_classes), _counts(predicted, n_classes)
    # Hits are counted in their class, misses in one that is cut off.
    hits = _counts(torch.where(right, y, n_classes), n_classes + 1)[:, :n_classes]
    both = true + said
    f1 = torch.where(both > 0, 2 * hits / both.clamp(min=1), 0.0)
    return (row_sums(f1) / (both > 0).sum(1)).float()


def _auroc(scores: Tensor, y: Tensor) -> Tensor:
    """Macro one-vs-rest AUROC by mean ranks (Hanley & McNeil 1982); NaN where a class has no sample or a score is none.

    The area of class c is the share of pairs of a sample of c and one of another class in which the former scores
    higher, ties counting half. Each sample is a positive of one class alone, so N ranks are looked up, not C·N.
    """
    k, n_classes, n = scores.shape
    rows = scores.contiguous()
    # numpy sorts by vector instructions, many times faster than torch.
    rows = torch.from_numpy(np.sort(rows.numpy())) if rows.device.type == "cpu" else rows.sort().values
    own = scores.gather(1, y.unsqueeze(1)).squeeze(1)  # (K, N)
    starts = (torch.arange(k, device=y.device).unsqueeze(1) * n_classes + y) * n
    below = _lower_bound(rows.flatten(), starts, own, n, strict=False)
    up_to = _lower_bound(rows.flatten(), starts, own, n, strict=True)
    ranks = (below + up_to + 1).double() / 2
    positives = _counts(y, n_classes)
    sums = torch.zeros(k, n_classes, dtype=torch.float64, device=y.device).scatter_add_(1, y, ranks)
    areas = (sums - positives * (positives + 1) / 2) / (positives * (n - positives))
    known = scores.isfinite().flatten(1).all(1)
    return torch.where(known, row_sums(areas) / n_classes, torch.nan).float()


def _lower_bound(values: Tensor, starts: Tensor, wanted: Tensor, n: int, strict: bool) -> Tensor:
    """How many of the n sorted values from `starts` on are less than `wanted`; if `strict`, or equal to it."""
    low, high = torch.zeros_like(starts), torch.full_like(starts, n)
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        value = values[starts + middle.clamp(max=n - 1)]
        right = ((value <= wanted) if strict else (value < wanted)) & (low < high)
        low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
    return low

"""Checks of the data and batches: input scale, class imbalance, batches too small for batch norm."""

import torch

from .findings import Finding, Level, above, below, worst
from .subject import Subject
from .trace import BATCH_NORMS

MEAN, STD = (1.0, 3.0), (5.0, 10.0)  # above the first a remark, above the second broken
SMALL_STD = 0.1
IMBALANCE = 0.1
SMALL_BATCH, TINY_BATCH = 16, 4


def input_scale(s: Subject) -> Finding:
    """Inputs should have mean 0 and standard deviation 1: per channel of an image, else per feature.

    Measured on the training split; constant features are ignored. broken: a feature with |mean| > 3 or std > 10. The
    gradient of a layer's weights is proportional to its inputs, and the curvature to their square (LeCun et al. 1998,
    Efficient BackProp, section 4.3), so features whose scales differ by a factor of 10 need learning rates that differ
    by 100. Pixels in [0, 1] (mean .1 to .5, std .2 to .4) pass. remark: |mean| > 1, std > 5, or std < .1, since such a
    feature is learned last.
    """
    x = s.all_x
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    mean, std = x.mean(axes).flatten(), x.std(axes, correction=0).flatten()
    varying = std > 1e-6 * mean.abs().clamp(min=1)
    if not varying.any():
        return Finding(
            "input_scale", "broken", "All inputs are constant.", {}, "There is nothing to learn from.", _LOAD
        )
    largest_mean = float(mean.abs().max())
    low, high = float(std[varying].min()), float(std.max())
    level = worst(above(largest_mean, *MEAN), above(high, *STD), "ok" if low >= SMALL_STD else "remark")
    unit = "channel" if x.ndim == 4 else "feature"
    return Finding(
        "input_scale",
        level,
        f"Per {unit}: |mean| at most {largest_mean:.3g}, standard deviations from {low:.3g} to {high:.3g} "
        f"({int((~varying).sum())} constant).",
        {"largest_mean": largest_mean, "smallest_std": low, "largest_std": high},
        *(
            ()
            if level == "ok"
            else (
                "Inputs far from mean 0 and standard deviation 1 make some weights learn many times faster than others "
                "and saturate units (LeCun et al. 1998).",
                "Normalise the inputs in the data module, with the mean and standard deviation of the training split.",
            )
        ),
    )


_LOAD = "Check what the data module's `load` returns."


def class_imbalance(s: Subject) -> Finding:
    """A class is rare, and the loss has no class weights.

    remark: the rarest class has less than a tenth of the rows of the most frequent class. The mean loss is then
    dominated by the frequent class, and a net that never predicts the rare one has an accuracy above 90 % with two
    classes (Buda et al. 2018: the effect is small at a ratio of 10 and large at 50). broken: a class has no rows.
    """
    if s.num_classes == 1:
        return Finding("class_imbalance", "ok", "A regression: there are no classes.")
    counts = torch.bincount(s.all_y, minlength=s.num_classes)
    ratio = float(counts.min() / counts.max())
    weighted = s.hparams.get("class_weights") is not None or getattr(s.model, "class_weight", None) is not None
    numbers = {"rarest": float(counts.min()), "most_frequent": float(counts.max()), "ratio": ratio}
    share = float(counts.min() / counts.sum())
    text = f"The rarest class has {int(counts.min())} rows ({share:.1%}), the most frequent {int(counts.max())}"
    if counts.min() == 0:
        why = "A class that is never seen cannot be learned."
        change = "Train on more rows (--data.train_size), or remove the class."
        return Finding("class_imbalance", "broken", f"{text}.", numbers, why, change)
    if ratio >= IMBALANCE or weighted:
        return Finding("class_imbalance", "ok", f"{text}{'; the loss is weighted' if weighted else ''}.", numbers)
    return Finding(
        "class_imbalance",
        "remark",
        f"{text}, and the loss is not weighted.",
        numbers,
        "The rare class hardly affects the mean loss; accuracy hides that it is never predicted (Buda et al. 2018).",
        "Use --model.class_weights balanced, and monitor f1_macro (--callbacks.early_stopping.monitor val/f1_macro).",
    )


def batch_norm_batch(s: Subject) -> Finding:
    """Batches per device that are too small for the statistics of batch norm.

    broken below 4 samples, remark below 16: the standard error of a mean of n samples is 1/sqrt(n) of a unit's
    standard deviation, half at 4 and a quarter at 16. Wu & He 2018 (Group Normalization, figure 1) find that the error
    grows below 16 samples per device, by about ten percentage points at 2. A smaller last batch is a remark below 16,
    since it occurs only once per epoch.
    """
    norms = [name for name, module in s.model.named_modules() if isinstance(module, BATCH_NORMS)]
    numbers = {"batch": float(s.batch_size), "last_batch": float(s.last_batch), "batch_norms": float(len(norms))}
    if not norms:
        return Finding("batch_norm_batch", "ok", "No batch norm.", numbers)
    level: Level = below(s.batch_size, SMALL_BATCH, TINY_BATCH)
    if s.last_batch < SMALL_BATCH:
        level = worst(level, "remark")
    text = f"Batch norm gets {s.batch_size} samples per batch, and {s.last_batch} in the last batch of an epoch."
    if level == "ok":
        return Finding("batch_norm_batch", level, text, numbers)
    change = f"Use --data.batch_size {4 * SMALL_BATCH}, or --model.norm layer."
    if s.batch_size >= SMALL_BATCH:
        change = "Use another --data.batch_size, with a larger last batch, or --model.norm layer."
    why = "Statistics of few samples are noisy, and differ from those used in evaluation (Wu & He 2018)."
    return Finding("batch_norm_batch", level, text, numbers, why, change)

"""Checks of the data and the batches: scale of the inputs, imbalance, batches too small for batch norm."""

import torch

from .findings import Finding, Level, above, below, worst
from .subject import Subject
from .trace import BATCH_NORMS

MEAN, STD = (1.0, 3.0), (5.0, 10.0)  # above the first a remark, above the second broken
SMALL_STD = 0.1
IMBALANCE = 0.1
SMALL_BATCH, TINY_BATCH = 16, 4


def input_scale(s: Subject) -> Finding:
    """Inputs near mean 0 and deviation 1, by channel of an image, else by feature, over the training split.

    Broken: a feature with |mean| > 3 or a deviation > 10. The gradient of a layer's weights is proportional to its
    inputs, and the curvature to their square (LeCun et al. 1998, Efficient BackProp, section 4.3): features whose size
    differs by 10 make directions whose best learning rates differ by 100. Pixels in [0, 1] (mean .1 to .5, deviation
    .2 to .4) are fine by it. Remark: |mean| > 1, a deviation > 5 or < .1, a tenth of the others, which is learned last.
    Constant features are left out.
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
        f"By {unit}: |mean| at most {largest_mean:.3g}, standard deviations from {low:.3g} to {high:.3g} "
        f"({int((~varying).sum())} constant).",
        {"largest_mean": largest_mean, "smallest_std": low, "largest_std": high},
        *(
            ()
            if level == "ok"
            else (
                "Inputs far from mean 0 and deviation 1 make some weights learn many times faster than others and "
                "saturate units (LeCun et al. 1998).",
                "Normalise in the data module with the training split's mean and standard deviation, as those of this "
                "project do.",
            )
        ),
    )


_LOAD = "Look at what the data module's `load` returns."


def class_imbalance(s: Subject) -> Finding:
    """Classes of which one is rare, without class weights.

    Remark: the rarest class has under a tenth of the rows of the most frequent. From there on the mean loss is that of
    the frequent class, and a net that never names the rare one is over 90 % right with two classes (Buda et al. 2018
    find the harm growing with the ratio, small at 10, large at 50). Broken: a class without a row.
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
        change = "Give more data (--data.train_size), or leave the class out."
        return Finding("class_imbalance", "broken", f"{text}.", numbers, why, change)
    if ratio >= IMBALANCE or weighted:
        return Finding("class_imbalance", "ok", f"{text}{'; the loss is weighted' if weighted else ''}.", numbers)
    return Finding(
        "class_imbalance",
        "remark",
        f"{text}, and the loss is not weighted.",
        numbers,
        "The mean loss hardly sees the rare class, and accuracy hides that it is never named (Buda et al. 2018).",
        "--model.class_weights balanced; watch f1_macro (--callbacks.early_stopping.monitor val/f1_macro).",
    )


def batch_norm_batch(s: Subject) -> Finding:
    """Batches too small for the statistics of batch norm, on each device.

    Broken below 4 samples, a remark below 16: the deviation of a mean of n is 1/sqrt(n) of a unit's own, half at 4, a
    quarter at 16. Wu & He 2018 (Group Normalization, figure 1) find the error growing from 16 samples a device down and
    by a tenth (absolute) at 2. A last batch that is smaller gets a remark below 16: it happens once an epoch.
    """
    norms = [name for name, module in s.model.named_modules() if isinstance(module, BATCH_NORMS)]
    numbers = {"batch": float(s.batch_size), "last_batch": float(s.last_batch), "batch_norms": float(len(norms))}
    if not norms:
        return Finding("batch_norm_batch", "ok", "No batch norm.", numbers)
    level: Level = below(s.batch_size, SMALL_BATCH, TINY_BATCH)
    if s.last_batch < SMALL_BATCH:
        level = worst(level, "remark")
    text = f"Batch norm sees {s.batch_size} samples a batch, and {s.last_batch} in an epoch's last."
    if level == "ok":
        return Finding("batch_norm_batch", level, text, numbers)
    change = f"--data.batch_size {4 * SMALL_BATCH}, or --model.norm layer."
    if s.batch_size >= SMALL_BATCH:
        change = "Another --data.batch_size, which leaves a larger rest, or --model.norm layer."
    why = "Statistics of so few samples are noise, and differ from those used in evaluation (Wu & He 2018)."
    return Finding("batch_norm_batch", level, text, numbers, why, change)

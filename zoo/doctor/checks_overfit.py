"""Can the net learn at all: one batch, by heart."""

import math

import torch
from torch import Tensor

from .findings import Finding, Level
from .subject import Subject, adam

RATES, OVERFIT_STEPS, GIVE_UP, BATCH, FEW = (3e-3, 3e-2, 3e-4), 300, 100, 32, 4
LOSS, SHARE = 0.1, 0.05


def overfit_batch(s: Subject) -> Finding:
    """A net must be able to learn a batch by heart: loss near zero, and accuracy 1.

    Karpathy 2019, "overfit one batch". 32 samples, no two alike, classes in turn; up to 300 steps of Adam at each of 3
    learning rates (given up after 100 that gained under 2 % on knowing nothing); no dropout, smoothing or weights.
    Learned is a loss below .1 with every sample right, or in a regression below 5 % of the batch's variance. Broken:
    not even 4 samples can be learned, or the loss of 32 stays above half of what knowing nothing costs. Between, a
    remark: a linear net cannot learn any 32 points, but much of them.
    """
    batch = pick(s, BATCH)
    reference = _knowing_nothing(s, *batch)
    loss, accuracy, rate = _overfit(s, *batch)
    numbers = {"loss": loss, "accuracy": accuracy, "lr": rate, "reference": reference}
    right = "" if accuracy is None else f", {accuracy:.0%} right"
    text = f"{len(batch[0])} samples are learned to a loss of {loss:.2g}{right}, best at lr {rate:g} of Adam."
    if _learned(s, loss, accuracy, reference):
        return Finding("overfit_batch", "ok", text, numbers)
    few = pick(s, FEW)
    loss_of_few, accuracy_of_few, _ = _overfit(s, *few)
    learned_few = _learned(s, loss_of_few, accuracy_of_few, _knowing_nothing(s, *few))
    level: Level = "remark" if learned_few and loss < reference / 2 else "broken"
    numbers["loss_of_few"] = loss_of_few
    text += f" Of {len(few[0])} samples: {loss_of_few:.2g}. Knowing nothing costs {reference:.2g}."
    if level == "remark":
        why = "The net learns, but is too small or too slow to learn one batch by heart (Karpathy 2019)."
        change = (
            "More units or layers: --model.hidden_dims"
            + ("" if "hidden_dims" in s.hparams else " of --model mlp")
            + "."
        )
        return Finding("overfit_batch", level, text, numbers, why, change)
    why = "A net that cannot learn one batch by heart will not learn the rest: it is a fault, or too small a net."
    change = "Mend what else is broken here; if nothing is, more units or layers (--model mlp, --model.hidden_dims)."
    return Finding("overfit_batch", level, text, numbers, why, change)


def pick(s: Subject, n: int) -> tuple[Tensor, Tensor]:
    """Up to n training samples of which no two have the same input, classes taking turns."""
    queues: dict[int, list[int]] = {}
    seen: set[bytes] = set()
    for i, (x, y) in enumerate(zip(s.x, s.y, strict=True)):
        if (key := x.numpy().tobytes()) not in seen:
            seen.add(key)
            queues.setdefault(0 if s.num_classes == 1 else int(y), []).append(i)
    order = sorted((turn, label, i) for label, rows in queues.items() for turn, i in enumerate(rows))
    rows = [i for _, _, i in order[:n]]
    return s.x[rows], s.y[rows]


def _knowing_nothing(s: Subject, x: Tensor, y: Tensor) -> float:
    """The loss of a batch to whoever knows its mean, or its shares of classes, alone."""
    if s.num_classes == 1:
        return float(y.var(correction=0))
    shares = torch.bincount(y, minlength=s.num_classes) / len(y)
    return float(-(shares * shares.clamp(min=1e-12).log()).sum())


def _learned(s: Subject, loss: float, accuracy: float | None, reference: float) -> bool:
    return loss < LOSS and accuracy == 1 if accuracy is not None else loss < SHARE * reference


def _overfit(s: Subject, x: Tensor, y: Tensor) -> tuple[float, float | None, float]:
    """The lowest loss of a batch at the best of a few learning rates, with its accuracy and the rate."""
    best: tuple[float, float | None, float] = (math.inf, None if s.num_classes == 1 else 0.0, RATES[0])
    reference = _knowing_nothing(s, x, y)
    for rate in RATES:
        model = s.calm_copy()
        if not any(p.requires_grad for p in model.parameters()):
            break
        lowest = math.inf
        for step, loss in enumerate(s.train(model, adam(model, rate), ((x, y) for _ in range(OVERFIT_STEPS)))):
            lowest = min(lowest, loss)
            hopeless = step == GIVE_UP and lowest > 0.98 * reference
            # The loss says when it is worth looking; it may hold more than the plain one.
            if (
                loss < LOSS
                or hopeless
                or step == OVERFIT_STEPS - 1
                or (s.num_classes == 1 and loss < SHARE * reference)
            ):
                with torch.no_grad():
                    outputs = model(x)
                plain = float(s.sample_losses(outputs, y).mean())
                accuracy = None if s.num_classes == 1 else float((outputs.argmax(1) == y).float().mean())
                best = min(best, (plain, accuracy, rate), key=lambda found: found[0])
                if _learned(s, plain, accuracy, reference):
                    return plain, accuracy, rate
            if hopeless:
                break
    return best

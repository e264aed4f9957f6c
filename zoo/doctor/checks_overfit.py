"""Check that the net can overfit a single batch."""

import math

import torch
from torch import Tensor

from .findings import Finding, Level
from .subject import Subject, adam

RATES, OVERFIT_STEPS, GIVE_UP, BATCH, FEW = (3e-3, 3e-2, 3e-4), 300, 100, 32, 4
LOSS, SHARE = 0.1, 0.05


def overfit_batch(s: Subject) -> Finding:
    """The net must be able to overfit a single batch, to a loss near zero and an accuracy of 1.

    Karpathy 2019, "overfit one batch". Uses 32 distinct samples, balanced by class, and up to 300 steps of Adam at each
    of 3 learning rates, without dropout, label smoothing or class weights; stops after 100 steps if the loss is not at
    least 2 % below that of a constant prediction. ok: a loss below .1 with every sample correct, or for a regression
    below 5 % of the batch's variance. broken: the net cannot even fit 4 samples, or the loss on 32 stays above half of
    that of a constant prediction. Otherwise remark: a linear net cannot fit all of 32 points, but most of them.
    """
    batch = pick(s, BATCH)
    reference = _knowing_nothing(s, *batch)
    loss, accuracy, rate = _overfit(s, *batch)
    numbers = {"loss": loss, "accuracy": accuracy, "lr": rate, "reference": reference}
    right = "" if accuracy is None else f" and an accuracy of {accuracy:.0%}"
    text = f"Overfitting {len(batch[0])} samples reaches a loss of {loss:.2g}{right} (Adam, lr {rate:g})."
    if _learned(s, loss, accuracy, reference):
        return Finding("overfit_batch", "ok", text, numbers)
    few = pick(s, FEW)
    loss_of_few, accuracy_of_few, _ = _overfit(s, *few)
    learned_few = _learned(s, loss_of_few, accuracy_of_few, _knowing_nothing(s, *few))
    level: Level = "remark" if learned_few and loss < reference / 2 else "broken"
    numbers["loss_of_few"] = loss_of_few
    text += f" With {len(few[0])} samples: {loss_of_few:.2g}. A constant prediction has {reference:.2g}."
    if level == "remark":
        why = "The net learns, but it is too small or too slow to overfit a single batch (Karpathy 2019)."
        change = (
            "Use more units or layers: --model.hidden_dims"
            + ("" if "hidden_dims" in s.hparams else " of --model mlp")
            + "."
        )
        return Finding("overfit_batch", level, text, numbers, why, change)
    why = "A net that cannot overfit a single batch cannot fit all data: it has a bug, or is too small."
    change = "Fix the other broken findings; if there are none, use more units or layers (--model.hidden_dims)."
    return Finding("overfit_batch", level, text, numbers, why, change)


def pick(s: Subject, n: int) -> tuple[Tensor, Tensor]:
    """Up to n training samples with distinct inputs, alternating between classes."""
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
    """Loss of predicting the batch's mean target or class frequencies for every sample."""
    if s.num_classes == 1:
        return float(y.var(correction=0))
    shares = torch.bincount(y, minlength=s.num_classes) / len(y)
    return float(-(shares * shares.clamp(min=1e-12).log()).sum())


def _learned(s: Subject, loss: float, accuracy: float | None, reference: float) -> bool:
    return loss < LOSS and accuracy == 1 if accuracy is not None else loss < SHARE * reference


def _overfit(s: Subject, x: Tensor, y: Tensor) -> tuple[float, float | None, float]:
    """Lowest loss on a batch at the best of a few learning rates, with its accuracy and the learning rate."""
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
            # The training loss only decides when to evaluate; it may contain more terms than the plain loss.
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

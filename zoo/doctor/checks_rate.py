"""Check of the learning rate: a range test with the run's optimizer, and a few steps at the configured rate."""

import math
from statistics import mean, stdev

import torch

from .checks_output import first_line
from .findings import Finding, Level
from .subject import Subject

LOWEST, HIGHEST, STEPS = 1e-6, 100.0, 140
SMOOTH = 0.8
DIVERGED = 4.0
ABOVE_EDGE, BELOW_SUGGESTION = 10.0, 30.0
OWN_STEPS, LAST = 60, 10
SMALLEST_BATCH, LARGEST_BATCH = 16, 256  # smaller batches are too noisy for a curve, larger ones too slow
RAMPED = ("warmup_cosine", "one_cycle")


def learning_rate(s: Subject) -> Finding:
    """Compares the configured learning rate with the result of a range test.

    Smith 2017 (Cyclical Learning Rates, section 3.3): the learning rate grows exponentially, here from 1e-6 to 100
    over 140 batches (17 per decade), with the run's optimizer, gradient clipping and dropout; batches have 16 to 256
    samples. The loss is smoothed exponentially (factor .8, about five batches). The divergence point is where it
    exceeds both 4 times its minimum (the rule of fastai's finder) and half of its initial value (4 times a loss near
    zero is still near zero). The suggestion is the rate at which half of the decrease was reached, but at most a tenth
    of the rate at the minimum. Then 60 steps are taken at the configured rate (increasing over the first half if the
    schedule warms up).

    broken: the configured rate is more than 10 times the divergence point, which is more than the smoothing can
    explain, or the mean loss of the last 10 of the 60 steps exceeds the initial loss by more than a tenth and two
    standard errors. remark: the rate is above half of the divergence point, which the smoothing delays by about five
    batches, a factor of two; or it is below a thirtieth of the suggestion, so that training takes tens of times longer
    than necessary; or the loss decreases at no learning rate.
    """
    model = s.copy()
    try:
        optimizer, *_ = s.own_optimizers(model)
    except Exception as raised:  # user code may raise anything
        text = f"configure_optimizers raises {type(raised).__name__}: {first_line(raised)}"
        why = "The model's optimizer cannot be created without a trainer, so its learning rate is unknown."
        change = "Do not use self.trainer in configure_optimizers; `zoo doctor` has no trainer."
        return Finding("learning_rate", "remark", text, {}, why, change)
    own = float(optimizer.param_groups[0]["lr"])
    size = min(max(s.batch_size, SMALLEST_BATCH), LARGEST_BATCH)
    with torch.no_grad():
        start = float(s.loss(s.copy(), *s.look))

    def grow(step: int) -> float:
        return LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))

    curve: list[float] = []
    edge, average, weight = HIGHEST, 0.0, 0.0
    for step, loss in enumerate(s.train(model, optimizer, s.batches(size, STEPS), lr=grow, clip=s.clip)):
        average, weight = SMOOTH * average + (1 - SMOOTH) * loss, SMOOTH * weight + 1 - SMOOTH
        curve.append(average / weight)
        if not curve[-1] <= max(DIVERGED * min(curve), start / 2):
            edge = grow(step)
            break
    finite = [value if math.isfinite(value) else math.inf for value in curve]
    lowest = min(finite)
    falls = lowest <= 0.98 * start
    half = next((i for i, value in enumerate(finite) if value <= (start + lowest) / 2), 0)
    suggestion = min(grow(half), grow(finite.index(lowest)) / 10)
    end, error = _at_own_rate(s, own, size)
    numbers = {
        "lr": own,
        "suggestion": suggestion if falls else None,
        "edge": edge,
        "loss_at_start": start,
        "loss_after_own_steps": end,
    }
    limit = f"diverges at {edge:.1g}" if edge < HIGHEST else "does not diverge"
    text = (
        f"lr {own:g}; the range test {f'suggests {suggestion:.1g}' if falls else 'finds no decrease'} and {limit}. "
        f"{OWN_STEPS} steps at {own:g} change the loss from {start:.3g} to {end:.3g}."
    )
    change = f"Use --model.lr {suggestion:.1g}." if falls else "Use a smaller --model.lr."
    if own > ABOVE_EDGE * edge or not end <= 1.1 * start + 2 * error:
        why = "The loss increases at this learning rate (Smith 2017)."
        return Finding("learning_rate", "broken", text, numbers, why, change)
    level: Level = "ok"
    why = ""
    if own > edge / 2:
        level, why = "remark", "The learning rate is near or above the point where the loss diverges (Smith 2017)."
    elif not falls:
        level, why = "remark", "The loss decreases at no learning rate."
        change = "Fix the other findings first."
    elif own < suggestion / BELOW_SUGGESTION:
        level, why = "remark", "Training takes many times longer than necessary (Smith 2017)."
    return Finding("learning_rate", level, text, numbers, why, change if why else "")


def _at_own_rate(s: Subject, own: float, size: int) -> tuple[float, float]:
    """Mean loss of the last of some steps at the configured rate and its standard error; infinite if it diverges."""
    model = s.copy()
    ramp = OWN_STEPS // 2 if s.hparams.get("schedule") in RAMPED else 1

    def rate(step: int) -> float:
        return own * min(1.0, (step + 1) / ramp)

    losses = list(s.train(model, s.own_optimizers(model)[0], s.batches(size, OWN_STEPS), lr=rate, clip=s.clip))
    if len(losses) < OWN_STEPS or not math.isfinite(losses[-1]):
        return math.inf, 0.0
    return mean(losses[-LAST:]), stdev(losses[-LAST:]) / math.sqrt(LAST)

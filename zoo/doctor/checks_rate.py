"""The learning rate: a range test with the run's own optimizer, and a few steps at the rate itself."""

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
SMALLEST_BATCH, LARGEST_BATCH = 16, 256  # fewer are too noisy for a curve, more too slow
RAMPED = ("warmup_cosine", "one_cycle")


def learning_rate(s: Subject) -> Finding:
    """The config's learning rate against what a range test suggests.

    Smith 2017 (Cyclical Learning Rates, section 3.3): the rate grows exponentially, here from 1e-6 to 100 over 140
    batches (17 a decade), with the run's optimizer, clipping and dropout; batches have 16 to 256 samples. The loss is
    an exponential mean (.8, five batches). The edge is where it exceeds 4 times its lowest, the rule of fastai's
    finder, and half of its start, as where it had come near zero 4 times is still nothing. The suggestion is the rate
    at which half of the fall was done, but at most a tenth of the rate at the lowest. Then 60 steps are taken at the
    config's own rate (rising over the first half where the schedule warms up).

    Broken: the rate is over 10 times the edge, which a smoothed test cannot be off by, or the own steps end (mean of
    the last 10) above the loss at the start by more than a tenth and two standard errors. Remark: it is above half the
    edge, which the mean shows five batches, a factor of two, late; or under a thirtieth of the suggestion, where
    training takes tens of times as long as it need; or the loss falls at no rate.
    """
    model = s.copy()
    try:
        optimizer, *_ = s.own_optimizers(model)
    except Exception as raised:  # whatever the patient does
        text = f"configure_optimizers raises {type(raised).__name__}: {first_line(raised)}"
        why = "Without a trainer the model's own optimizer cannot be made, and its learning rate is not known."
        change = "Let configure_optimizers do without self.trainer while the doctor looks."
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
        f"lr {own:g}; the range test {f'suggests {suggestion:.1g}' if falls else 'sees no fall'} and {limit}. "
        f"{OWN_STEPS} steps at {own:g} take the loss from {start:.3g} to {end:.3g}."
    )
    change = f"--model.lr {suggestion:.1g}" if falls else "A smaller --model.lr."
    if own > ABOVE_EDGE * edge or not end <= 1.1 * start + 2 * error:
        why = "At this rate the loss grows (Smith 2017)."
        return Finding("learning_rate", "broken", text, numbers, why, change)
    level: Level = "ok"
    why = ""
    if own > edge / 2:
        level, why = "remark", "The rate is near or above that at which the loss begins to grow (Smith 2017)."
    elif not falls:
        level, why = "remark", "The loss falls at no rate: see the other checks."
        change = "Mend what else is broken first."
    elif own < suggestion / BELOW_SUGGESTION:
        level, why = "remark", "Training takes many times as long as it need (Smith 2017)."
    return Finding("learning_rate", level, text, numbers, why, change if why else "")


def _at_own_rate(s: Subject, own: float, size: int) -> tuple[float, float]:
    """The mean loss of the last of some steps at the config's own rate, and its error; infinite where it diverges."""
    model = s.copy()
    ramp = OWN_STEPS // 2 if s.hparams.get("schedule") in RAMPED else 1

    def rate(step: int) -> float:
        return own * min(1.0, (step + 1) / ramp)

    losses = list(s.train(model, s.own_optimizers(model)[0], s.batches(size, OWN_STEPS), lr=rate, clip=s.clip))
    if len(losses) < OWN_STEPS or not math.isfinite(losses[-1]):
        return math.inf, 0.0
    return mean(losses[-LAST:]), stdev(losses[-LAST:]) / math.sqrt(LAST)

"""Do the inputs teach anything: the net against itself on zeros."""

import math

import torch
from torch import Tensor, nn

from .checks_overfit import BATCH
from .findings import Finding
from .subject import Subject, adam, clip_by

BASELINE_STEPS, BASELINE_RATE, LOOK_EVERY = 150, 3e-3, 50
FEW_VALIDATED = 20
ASSOCIATED, PERMUTATIONS = 4.0, 200


def zero_input(s: Subject) -> Finding:
    """Real inputs must teach more than zeros do.

    Karpathy 2019, "input-independent baseline". The net is trained for 150 steps of Adam on training inputs, and again
    on zeros in their place, which teach the shares of classes alone (those shares themselves, where they do better);
    each is measured on validation every 50 steps, and its best counts. Fine is a loss that is better by two standard
    errors of the paired difference over validation samples. Else a remark where outputs go with targets all the same
    (their covariance over samples is 4 deviations above that under 200 permutations), as with few rows, a rare class or
    outputs that are too sure. Else broken, or a remark below 20 validation samples. A plain net of 64 ReLUs on the same
    data then tells whether data or net is to blame.
    """
    n = len(s.val[0])
    real, outputs = _learn(s, s.calm_copy(), 1.0)
    zeros = min(_learn(s, s.calm_copy(), 0.0)[0], _shares_alone(s), key=lambda losses: float(losses.mean()))
    gain, error = _gain(zeros, real)
    association = _association(s, outputs)
    numbers = {
        "loss": float(real.mean()),
        "loss_of_zeros": float(zeros.mean()),
        "gain": gain,
        "standard_error": error,
        "association": association,
    }
    text = (
        f"Validation loss {real.mean():.3g} after {BASELINE_STEPS} steps, {zeros.mean():.3g} on zeros: "
        f"a gain of {gain:.2g} ± {error:.1g}."
    )
    if gain > 2 * error:
        return Finding("zero_input", "ok", text, numbers)
    if association > ASSOCIATED:
        text += f" Outputs go with targets ({association:.1f} deviations from chance)."
        why = "Inputs tell something, but the loss does not show it yet: few rows, a rare class or too sure outputs."
        change = "More rows, --model.class_weights balanced, or what else is said here of weights and learning rate."
        return Finding("zero_input", "remark", text, numbers, why, change)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(s.x[0].numel(), 64), nn.ReLU(), nn.Linear(64, s.num_classes))
    plain_gain, plain_error = _gain(zeros, _learn(s, plain, 1.0)[0])
    numbers["gain_of_plain_net"] = plain_gain
    text += f" A plain net gains {plain_gain:.2g} ± {plain_error:.1g}."
    if plain_gain > 2 * plain_error:
        why, change = "The data can be learned, but not by this net.", "Mend the net, or take another (--model mlp)."
    else:
        why = "Inputs say nothing about the targets (Karpathy 2019): labels shuffled, misaligned or pure noise?"
        change = "Look at rows of the data beside their labels; see that both are shuffled and split together."
    return Finding("zero_input", "broken" if n >= FEW_VALIDATED else "remark", text, numbers, why, change)


def _learn(s: Subject, model: nn.Module, factor: float) -> tuple[Tensor, Tensor]:
    """Train on inputs times a factor; losses (n,) and outputs (n, C) on validation at the best of a few looks."""
    best: tuple[Tensor, Tensor] | None = None
    if not any(p.requires_grad for p in model.parameters()):
        return _validate(s, model, factor)
    batches = ((x * factor, y) for x, y in s.batches(BATCH, BASELINE_STEPS))
    for step, _ in enumerate(s.train(model, adam(model, BASELINE_RATE), batches, clip=clip_by(1.0)), start=1):
        if step % LOOK_EVERY == 0:
            found = _validate(s, model, factor)
            if best is None or found[0].mean() < best[0].mean():
                best = found
    return best or _validate(s, model, factor)


def _validate(s: Subject, model: nn.Module, factor: float) -> tuple[Tensor, Tensor]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.no_grad():
        outputs = model(s.val[0] * factor)
    for module, mode in modes:
        module.training = mode
    return s.sample_losses(outputs, s.val[1]), outputs


def _association(s: Subject, outputs: Tensor) -> float:
    """The covariance of outputs with targets over validation samples, in deviations of what permuted targets give."""
    y = s.val[1]
    targets = y.reshape(-1, 1) if s.num_classes == 1 else nn.functional.one_hot(y, s.num_classes)
    centred = (targets - targets.float().mean(0)).double()
    scores = (outputs if s.num_classes == 1 else outputs.log_softmax(1)).double()
    generator = torch.Generator().manual_seed(s.seed)
    orders = [torch.randperm(len(y), generator=generator) for _ in range(PERMUTATIONS)]
    chance = torch.stack([(scores * centred[order]).sum() for order in orders])
    deviation = float(chance.std())
    return float((scores * centred).sum() - chance.mean()) / deviation if deviation > 0 else 0.0


def _shares_alone(s: Subject) -> Tensor:
    """The losses of validation samples, (n,), to whoever names the mean, or the shares of classes, each time."""
    y = s.val[1]
    if s.num_classes == 1:
        return (y.flatten() - s.all_y.mean()).square()
    shares = torch.bincount(s.all_y, minlength=s.num_classes) / len(s.all_y)
    return -shares[y].clamp(min=1e-12).log()


def _gain(zeros: Tensor, real: Tensor) -> tuple[float, float]:
    """The mean of the paired difference, and its standard error."""
    difference = zeros - real
    if not difference.isfinite().all():
        return -math.inf, 0.0
    error = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return float(difference.mean()), error

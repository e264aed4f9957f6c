"""Input-independent baseline: training on real inputs compared with training on zeros."""

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
    """Real inputs must give a lower validation loss than zeros.

    Karpathy 2019, "input-independent baseline". The net is trained for 150 steps of Adam on training inputs, and again
    on zeros, from which only the class frequencies can be learned (if predicting those frequencies directly is better,
    that is used instead). Both are evaluated on validation every 50 steps, and the best result counts. ok: the loss on
    real inputs is lower by more than two standard errors of the paired difference over validation samples. Otherwise
    remark, if outputs are still associated with targets (their covariance over samples is 4 standard deviations above
    that of 200 permutations), as happens with few rows, a rare class or overconfident outputs. Otherwise broken, or
    remark with fewer than 20 validation samples. A plain net of 64 ReLUs on the same data then shows whether the data
    or the net is the cause.
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
        f"Validation loss {real.mean():.3g} after {BASELINE_STEPS} steps, {zeros.mean():.3g} with all inputs set to "
        f"zero: an improvement of {gain:.2g} ± {error:.1g}."
    )
    if gain > 2 * error:
        return Finding("zero_input", "ok", text, numbers)
    if association > ASSOCIATED:
        text += f" Outputs are associated with targets ({association:.1f} standard deviations above chance)."
        why = (
            "Inputs are informative, but the loss does not show it yet: there are few rows, a rare class or "
            "overconfident outputs."
        )
        change = "Add rows, use --model.class_weights balanced, or fix the other findings first."
        return Finding("zero_input", "remark", text, numbers, why, change)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(s.x[0].numel(), 64), nn.ReLU(), nn.Linear(64, s.num_classes))
    plain_gain, plain_error = _gain(zeros, _learn(s, plain, 1.0)[0])
    numbers["gain_of_plain_net"] = plain_gain
    text += f" A plain MLP improves by {plain_gain:.2g} ± {plain_error:.1g}."
    if plain_gain > 2 * plain_error:
        why, change = "The data can be learned, but not by this net.", "Fix the net, or use another (--model mlp)."
    else:
        why = "Inputs do not predict the targets (Karpathy 2019): labels may be shuffled, misaligned or pure noise."
        change = "Compare some rows with their labels; check that inputs and labels are shuffled and split together."
    return Finding("zero_input", "broken" if n >= FEW_VALIDATED else "remark", text, numbers, why, change)


def _learn(s: Subject, model: nn.Module, factor: float) -> tuple[Tensor, Tensor]:
    """Train on inputs times a factor; return the best validation losses (n,) and the outputs (n, C)."""
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
    """Covariance of outputs and targets on validation, in standard deviations of that of permuted targets."""
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
    """Validation losses, (n,), of always predicting the mean target or the class frequencies."""
    y = s.val[1]
    if s.num_classes == 1:
        return (y.flatten() - s.all_y.mean()).square()
    shares = torch.bincount(s.all_y, minlength=s.num_classes) / len(s.all_y)
    return -shares[y].clamp(min=1e-12).log()


def _gain(zeros: Tensor, real: Tensor) -> tuple[float, float]:
    """Mean of the paired difference and its standard error."""
    difference = zeros - real
    if not difference.isfinite().all():
        return -math.inf, 0.0
    error = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return float(difference.mean()), error

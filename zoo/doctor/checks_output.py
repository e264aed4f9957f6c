"""Checks of the outputs before training: shape, loss, softmax, leaks between samples."""

import math

import torch

from .findings import Finding, above, worst
from .subject import Subject
from .trace import SQUASHING, trace

EXCESS = (1.0, 4.0)
RATIO = (3.0, 10.0)
LEAK_SAMPLES = 6


def forward(s: Subject) -> Finding:
    """Outputs are finite and have shape (B, C), for two batch sizes, and targets are valid; other checks need this.

    broken: `forward` or `training_step` raises an exception, outputs have another shape or are not finite, or targets
    are not valid class indices.
    """
    why, change = "The other checks cannot run.", "Fix the model's forward."
    if wrong := _wrong_targets(s):
        change = "Use integer class indices starting at 0 as targets, one per sample."
        return Finding("forward", "broken", wrong, {}, why, change)
    for n in dict.fromkeys((min(len(s.x), 8), min(len(s.x), 5))):
        try:
            with torch.no_grad():
                outputs = s.copy()(s.x[:n])
        except Exception as error:  # user code may raise anything
            text = f"The forward pass of {n} samples raises {type(error).__name__}: {first_line(error)}"
            return Finding("forward", "broken", text, {}, why, change)
        if tuple(outputs.shape) != (n, s.num_classes):
            text = f"The outputs of {n} samples have shape {tuple(outputs.shape)}, not {(n, s.num_classes)}."
            return Finding("forward", "broken", text, {}, why, change)
        if not outputs.isfinite().all():
            text = f"{int((~outputs.isfinite()).sum())} of {outputs.numel()} outputs are not finite."
            return Finding("forward", "broken", text, {}, why, "Reduce --model.init_scale; check the inputs.")
    try:
        s.loss(s.copy(), s.x[:8], s.y[:8])
    except Exception as error:  # user code may raise anything
        text = f"The training step raises {type(error).__name__}: {first_line(error)}"
        change = "Fix training_step; it gets a batch (x, y), and cannot use self.trainer in `zoo doctor`."
        return Finding("forward", "broken", text, {}, why, change)
    return Finding("forward", "ok", f"Outputs have shape (batch, {s.num_classes}) and are finite.")


def first_line(error: Exception) -> str:
    """First line of an exception's message."""
    return next(iter(str(error).splitlines()), "no message")


def _wrong_targets(s: Subject) -> str:
    """Describe what is wrong with the targets; empty if they are valid."""
    for y in (s.all_y, s.val[1]) if s.num_classes > 1 else ():
        if y.ndim != 1 or y.is_floating_point():
            return f"Targets have shape {tuple(y.shape)} and type {str(y.dtype).removeprefix('torch.')}."
        if len(y) and (y.min() < 0 or y.max() >= s.num_classes):
            return f"Targets range from {int(y.min())} to {int(y.max())}, but there are {s.num_classes} classes."
    return ""


def initial_loss(s: Subject) -> Finding:
    """The loss before training should be that of a uniform prediction: ln C, or the targets' variance.

    Karpathy 2019, "verify loss @ init". Classification: an excess over ln C above 1 is a remark, above 4 broken. The
    true class then gets, in the geometric mean, less than e^-4 = 1/55 of its uniform probability, and the first epochs
    are spent on unlearning that. Logits of standard deviation s cost about s²/2; a Kaiming-initialized last layer
    costs .5. Regression: above 3 times the variance is a remark, above 10 broken, which corresponds to outputs (or a
    mean of the targets) of 1.4 and 3 standard deviations; Kaiming initialization gives 1.
    """
    x, y = s.look
    with torch.no_grad():
        outputs = s.calm_copy()(x)
        loss = float(s.sample_losses(outputs, y).mean())
    if s.num_classes == 1:
        variance = float(s.all_y.var(correction=0))
        ratio = loss / variance if variance > 0 else math.inf
        level = above(ratio, *RATIO)
        text = f"Loss {loss:.3g} before training; the targets' variance is {variance:.3g}."
        numbers = {"loss": loss, "reference": variance, "ratio": ratio}
        change = "Standardise targets and inputs, reduce --model.init_scale, or use another --model.initializer."
    else:
        shares = torch.bincount(s.all_y, minlength=s.num_classes) / len(s.all_y)
        entropy = float(-(shares * shares.clamp(min=1e-12).log()).sum())
        reference = math.log(s.num_classes)
        level = above(loss - reference, *EXCESS)
        text = (
            f"Loss {loss:.3g} before training; ln {s.num_classes} is {reference:.3g}, "
            f"the entropy of the class frequencies is {entropy:.3g}."
        )
        numbers = {"loss": loss, "reference": reference, "prior_entropy": entropy}
        change = (
            "Use smaller weights in the last layer: --model.initializer kaiming_normal or xavier_normal, or a smaller "
            "--model.init_scale; normalise the inputs."
        )
    if level == "ok":
        return Finding("initial_loss", level, text, numbers)
    why = "The initial predictions are confident and wrong; the first epochs only unlearn that (Karpathy 2019)."
    return Finding("initial_loss", level, text, numbers, why, change)


def softmax(s: Subject) -> Finding:
    """Outputs should be logits, not probabilities to which the loss applies softmax again.

    broken: the outputs of every sample are ≥ 0 and sum to 1 within 1e-4, which does not happen for logits. The loss
    then cannot fall below -ln(e/(e + C - 1)) (.31 with 2 classes, 1.46 with 10), and gradients are scaled down. Also
    broken: a user's `training_step` whose loss is that of the outputs after a second softmax. remark: the last layer
    is an activation that bounds the outputs.
    """
    if s.num_classes == 1:
        return Finding("softmax", "ok", "A regression: there is no softmax.")
    model = s.calm_copy()
    with torch.no_grad():
        outputs = model(s.look[0])
    off = float((outputs.sum(1) - 1).abs().max())
    lowest, floor = float(outputs.min()), -math.log(math.e / (math.e + s.num_classes - 1))
    numbers = {"lowest_output": lowest, "largest_distance_of_sum_from_1": off}
    text = f"The lowest output is {lowest:.3g}; the outputs of a sample sum to 1 within {off:.3g}."
    if lowest >= 0 and off < 1e-4:
        return Finding(
            "softmax",
            "broken",
            text,
            numbers | {"loss_floor": floor},
            f"cross_entropy applies softmax itself; applied twice, the loss cannot fall below {floor:.2f}.",
            "Return logits from forward: remove the softmax.",
        )
    with torch.no_grad():
        loss = float(s.loss(model, *s.look))
        once, twice = (float(s.sample_losses(z, s.look[1]).mean()) for z in (outputs, outputs.softmax(1)))
    if abs(loss - twice) < 1e-4 * twice < 0.1 * abs(once - twice):
        text = f"Loss {loss:.5g}; cross_entropy of the outputs is {once:.5g}, and {twice:.5g} after another softmax."
        why = f"The training step applies softmax twice; the loss cannot fall below {floor:.2f}."
        numbers |= {"loss": loss, "loss_of_logits": once, "loss_floor": floor}
        return Finding("softmax", "broken", text, numbers, why, "Pass logits to cross_entropy in training_step.")
    steps = trace(model, s.x[:8])
    with torch.no_grad():
        ends = bool(steps) and torch.equal(steps[-1].output, model(s.x[:8]))
    if ends and isinstance(steps[-1].module, SQUASHING) and not isinstance(steps[-1].module, torch.nn.LogSoftmax):
        last = type(steps[-1].module).__name__
        why = f"Logits for cross_entropy can be any real numbers; {last} after the last layer bounds them."
        text = f"{text} The last layer is {last}."
        return Finding("softmax", "remark", text, numbers, why, "End the net with a linear layer.")
    return Finding("softmax", "ok", text, numbers)


def batch_leak(s: Subject) -> Finding:
    """In eval mode, the outputs of a sample depend on that sample only.

    Karpathy 2019, "use backprop to chart dependencies": the gradient of output i with respect to the inputs must be
    exactly zero for all other samples. broken: it is not, for example after a wrong reshape or transpose. remark: it
    is zero for sample i as well, for every i.
    """
    model = s.copy().eval()
    x = s.x[:LEAK_SAMPLES].clone().requires_grad_()
    outputs = model(x)
    leaks, own = 0.0, 0.0
    # Random weights, since the sum of a sample's outputs may be constant, with zero gradient.
    mix = torch.randn(outputs.shape[1])
    for i in range(len(x)):
        if not outputs.requires_grad:
            break
        (gradient,) = torch.autograd.grad((outputs[i] * mix).sum(), x, retain_graph=True, allow_unused=True)
        sizes = torch.zeros(len(x)) if gradient is None else gradient.nan_to_num().abs().flatten(1).amax(1)
        own = max(own, float(sizes[i]))
        leaks = max(leaks, float(torch.cat([sizes[:i], sizes[i + 1 :]]).max()) if len(x) > 1 else 0.0)
    level = worst("broken" if leaks > 0 else "ok", "remark" if own == 0 else "ok")
    numbers = {"gradient_at_own_input": own, "gradient_at_other_inputs": leaks}
    text = f"The gradient of an output is up to {own:.3g} at its own sample and up to {leaks:.3g} at other samples."
    if level == "ok":
        return Finding("batch_leak", level, text, numbers)
    if leaks > 0:
        why = "Samples of a batch are mixed, so predictions depend on the other samples in it (Karpathy 2019)."
        change = "Look for a view, reshape or transpose that moves the batch axis; flatten with x.flatten(1)."
    else:
        why = "The outputs do not depend on the inputs."
        change = "Use another --model.initializer; look for detach, and for layers whose units are all dead."
    return Finding("batch_leak", level, text, numbers, why, change)

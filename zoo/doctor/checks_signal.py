"""Checks of how signals and gradients pass through the net before training."""

import math

import torch
from torch import nn

from ..parts.layers import is_weighted, weights_by_output
from .findings import Finding, above, below, worst
from .subject import Subject, adam
from .trace import ACTIVATIONS, BOUNDED, NORMS, ZERO_BELOW, by_unit, trace, weights

GRADIENT_STEPS = 5
FLOW = (1e-2, 1e-5)
ABSOLUTE = 1e-8
EXPLODING = (1e3, 1e5)
DEAD = (0.25, 0.5)
SATURATED = 0.97
SIGNAL = (1e-1, 1e-5)
DEEP = 5
KAIMING, XAVIER = ("kaiming_uniform", "kaiming_normal"), "xavier_"
RECTIFIERS = ("relu", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish")
SIGMOIDAL = ("tanh", "sigmoid", "softsign")
_CLEAR = "--model.activation relu --model.initializer kaiming_normal --model.norm batch"


def gradients(s: Subject) -> Finding:
    """Every parameter is trained: `requires_grad` is set and its gradient is not zero over a few steps.

    Broken: a frozen parameter (nothing here starts from trained weights), one that the model's own optimizers leave
    out, one without a gradient, or one whose gradient is exactly zero in each of 5 steps of Adam. Steps are taken so
    that a last layer which starts at zero, a common choice that hides all others for one step, is no fault.
    """
    model = s.calm_copy()
    names = [name for name, _ in model.named_parameters()]
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    reached: set[str] = set()
    if len(frozen) < len(names):
        for _ in s.train(model, adam(model, 1e-3), s.batches(64, GRADIENT_STEPS)):
            reached |= {n for n, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}
    left_out = [name for name in _left_out(s) if name not in frozen]
    idle = [name for name in names if name not in reached and name not in frozen]
    numbers = {
        "parameters": len(names),
        "frozen": len(frozen),
        "without_gradient": len(idle),
        "left_out": len(left_out),
    }
    if not frozen and not idle and not left_out:
        text = f"All {len(names)} parameter tensors get a gradient."
        return Finding("gradients", "ok", text, numbers)
    groups = (("frozen", frozen), ("no gradient", idle), ("in no optimizer", left_out))
    parts = [f"{title}: {', '.join(found)}" for title, found in groups if found]
    change = "Another --model.initializer than zeros; use the layer, or drop it."
    if frozen or left_out:
        change = "Set requires_grad to True." if frozen else "Give configure_optimizers all of self.parameters()."
    why = "What gets no gradient, or no step, stays as it was drawn."
    return Finding("gradients", "broken", f"Not trained: {'; '.join(parts)}.", numbers, why, change)


def _left_out(s: Subject) -> list[str]:
    """The parameters that no optimizer of the model's own has; none where those cannot be made here."""
    model = s.copy()
    try:
        groups = [group for optimizer in s.own_optimizers(model) for group in optimizer.param_groups]
    except Exception:  # whatever the patient does; `learning_rate` says so
        return []
    there = {id(p) for group in groups for p in group["params"]}
    return [name for name, p in model.named_parameters() if id(p) not in there]


def gradient_flow(s: Subject) -> Finding:
    """The gradient of the first layer against that of the last, each relative to the norm of its weights.

    Chapter, section B: "log gradient magnitude per layer". Relative, since a step matters by what it changes. Broken: a
    ratio below 1e-5, the first layer's gradient below 1e-8 (Adam's own epsilon: such gradients no longer set the size
    of its steps), a ratio above 1e5, or gradients that are not finite. Remark: below 1e-2, above 1e3. Case study 2 of
    the chapter, 12 sigmoid layers, lies many orders below; the mended net near 1.
    """
    model = s.calm_copy()
    layers = weights(model, s.x[:8])
    if layers and not layers[-1][1].any() and any(bool(w.any()) for _, w in layers):
        # A last layer that starts at zero hides all others for one step alone: measure with torch's own weights in it.
        nn.init.kaiming_uniform_(layers[-1][1], a=math.sqrt(5))
    model.zero_grad()
    loss = s.loss(model, *s.look)
    if loss.requires_grad:
        loss.backward()
    norms = [(name, float(w.grad.norm()), float(w.detach().norm())) for name, w in layers if w.grad is not None]
    if len(norms) < 2:
        return Finding("gradient_flow", "ok", "One layer: its gradient passes through no other.")
    relative = [gradient / (weight or 1.0) for _, gradient, weight in norms]
    first, smallest = norms[0][1], min(gradient for _, gradient, _ in norms)
    ratio = relative[0] / relative[-1] if relative[-1] > 0 else math.nan
    level = worst(below(ratio, *FLOW), above(ratio, *EXPLODING), "ok" if first >= ABSOLUTE else "broken")
    numbers = {"ratio": ratio, "first": first, "last": norms[-1][1], "smallest": smallest}
    text = (
        f"Gradient norm {first:.2g} in {norms[0][0]}, {norms[-1][1]:.2g} in {norms[-1][0]}; relative to the weights, "
        f"the first is {ratio:.2g} of the last."
    )
    if level == "ok":
        return Finding("gradient_flow", level, text, numbers)
    if ratio > 1:
        why = "Gradients explode on their way back, or the first weights are tiny: one rate cannot suit all layers."
        change = f"--model.initializer {_advice(s.hparams.get('activation'))}, --model.norm batch."
    else:
        why = "Gradients vanish on their way back: the first layers hardly learn (Glorot & Bengio 2010; chapter, D2)."
        change = f"{_CLEAR}, or fewer layers (--model.hidden_dims)."
    return Finding("gradient_flow", level, text, numbers, why, change)


def dead_units(s: Subject) -> Finding:
    """Units that output zero for every training sample, and the share of sigmoid and tanh outputs near their bounds.

    Broken: more than half of a layer, whose width is then halved, or gradients through it cut to a tenth and less (at
    |a| = .97 of tanh its slope is .06). Remark: more than a quarter; a fresh layer of the zoo loses under a fifth, and
    that only on inputs of two features. A unit of an image is a channel. Up to 512 samples are looked at.
    """
    worst_share, where, what = 0.0, "", ""
    for step in trace(s.calm_copy(), s.look[0]):
        activations = by_unit(step)
        bounds = next((b for cls, b in BOUNDED.items() if isinstance(step.module, cls)), None)
        if isinstance(step.module, ZERO_BELOW):
            share, kind = float((activations.abs() < 1e-6).all(0).float().mean()), "units output zero for every sample"
        elif bounds is not None:
            low, high = bounds
            unit = (2 * activations - low - high) / (high - low)
            share, kind = float((unit.abs() > SATURATED).float().mean()), "outputs are saturated"
        else:
            continue
        if share > worst_share or not what:
            worst_share, where, what = share, f" in {step.name} ({type(step.module).__name__})", kind
    if not what:
        return Finding("dead_units", "ok", "No activation whose units could die or saturate.", {"share": 0.0})
    level, text = above(worst_share, *DEAD), f"At most {worst_share:.0%} of a layer's {what}{where}."
    if level == "ok":
        return Finding("dead_units", level, text, {"share": worst_share})
    why = "No gradient passes through a unit that is dead, and hardly any through one that is saturated."
    change = "--model.activation leaky_relu or gelu" if "zero" in what else "--model.initializer xavier_normal"
    change += ", --model.norm batch, --model.bias_init 0, normalised inputs."
    return Finding("dead_units", level, text, {"share": worst_share}, why, change)


def initializer(s: Subject) -> Finding:
    """Weights that suit the activation: by name, and by what is left at the end of the differences between samples.

    The signal is the deviation over samples of a unit's output, root mean square over units; its ratio from the first
    to the last activation says what depth does to it. Broken: below 1e-5 or above 1e5, where little of the inputs is
    left in single precision (1e-7). Remark: below .1 or above 10, or a known mismatch by name without a norm between:
    Kaiming with tanh or sigmoid, Xavier with ReLU and its kin from 5 layers on (its signal falls like 2^(-L/2):
    chapter, D6), torch's default with sigmoid or tanh from 5 layers on (Glorot & Bengio 2010). Also broken: a layer but
    the last whose units all start alike, since they then never part (Goodfellow et al. 2016, 8.4).
    """
    model = s.calm_copy()
    steps = trace(model, s.look[0])
    signals = [float(by_unit_deviation(step.output)) for step in steps if isinstance(step.module, ACTIVATIONS)]
    name, activation = s.hparams.get("initializer"), s.hparams.get("activation")
    normed = any(isinstance(step.module, NORMS) for step in steps)
    weighted = [step for step in steps if is_weighted(step.module)]
    alike = [step.name for step in weighted[:-1] if _alike(step.module)]
    ratio = 1.0 if len(signals) < 2 else signals[-1] / signals[0] if signals[0] > 0 else math.nan
    numbers = {"signal_ratio": ratio, "activations": len(signals)}
    carried = f"the last carries {ratio:.2g} of the signal of the first"
    text = f"{len(signals)} activations; {'the first carries no signal' if math.isnan(ratio) else carried}."
    if alike:
        text += f" All units start alike in {', '.join(alike)}."
        why = "Units that start alike get the same gradient and stay alike."
        return Finding("initializer", "broken", text, numbers, why, f"--model.initializer {_advice(activation)}")
    level = worst(below(ratio, *SIGNAL), above(ratio, 1 / SIGNAL[0], 1 / SIGNAL[1]))
    mismatch = "" if normed else _mismatch(name, activation, len(signals))
    if level == "ok" and not mismatch:
        return Finding("initializer", "ok", text, numbers)
    why = mismatch or "Differences between samples are lost, or blown up, on their way through the net."
    change = f"--model.initializer {_advice(activation)}"
    if level == "broken" and activation in SIGMOIDAL:
        change = _CLEAR
    return Finding("initializer", worst(level, "remark"), text, numbers, why, change)


def by_unit_deviation(output: torch.Tensor) -> torch.Tensor:
    """The deviation over samples of each output, root mean square over outputs."""
    return output.flatten(1).var(0, correction=0).mean().sqrt()


def _alike(layer: nn.Module) -> bool:
    units = torch.cat([weight.flatten(1) for weight in weights_by_output(layer)])
    return len(units) > 1 and bool((units == units[:1]).all())


def _advice(activation: str | None) -> str:
    if activation == "selu":
        return "lecun_normal"
    return "xavier_normal" if activation in SIGMOIDAL else "kaiming_normal"


def _mismatch(name: str | None, activation: str | None, depth: int) -> str:
    if activation in SIGMOIDAL and name in KAIMING:
        return f"{name} is made for ReLU; with {activation} Xavier is the usual choice (Glorot & Bengio 2010)."
    if depth < DEEP or name is None:
        return ""
    if activation in RECTIFIERS and name.startswith(XAVIER):
        return f"{name} with {activation}: the signal falls like 2^(-L/2) over L layers (He et al. 2015)."
    if activation in SIGMOIDAL and name == "default":
        return f"torch's default weights are too small for {depth} layers of {activation} (Glorot & Bengio 2010)."
    return ""

"""Checks of how signals and gradients propagate through the net before training."""

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
_CLEAR = "Use --model.activation relu --model.initializer kaiming_normal --model.norm batch"


def gradients(s: Subject) -> Finding:
    """Every parameter is trained: `requires_grad` is set and its gradient is not always zero.

    broken: a parameter is frozen (no model here starts from trained weights), is missing from the model's optimizers,
    gets no gradient, or has a gradient of exactly zero in each of 5 steps of Adam. Several steps are needed because a
    last layer initialized to zero, a common and valid choice, makes all other gradients zero in the first step.
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
        text = f"All {len(names)} parameter tensors get gradients."
        return Finding("gradients", "ok", text, numbers)
    groups = (("frozen", frozen), ("no gradient", idle), ("in no optimizer", left_out))
    parts = [f"{title}: {', '.join(found)}" for title, found in groups if found]
    change = "Use another --model.initializer than zeros; use the layer in forward, or remove it."
    if frozen or left_out:
        change = "Set requires_grad to True." if frozen else "Pass all of self.parameters() in configure_optimizers."
    why = "Parameters without gradients or optimizer steps keep their initial values."
    return Finding("gradients", "broken", f"Not trained: {'; '.join(parts)}.", numbers, why, change)


def _left_out(s: Subject) -> list[str]:
    """Parameters that are in none of the model's optimizers; empty if those cannot be created here."""
    model = s.copy()
    try:
        groups = [group for optimizer in s.own_optimizers(model) for group in optimizer.param_groups]
    except Exception:  # user code may raise anything; `learning_rate` reports it
        return []
    there = {id(p) for group in groups for p in group["params"]}
    return [name for name, p in model.named_parameters() if id(p) not in there]


def gradient_flow(s: Subject) -> Finding:
    """Ratio of the gradients of the first and the last layer, each relative to the norm of its weights.

    Chapter, section B: "log gradient magnitude per layer". Gradients are relative to weights because the relative
    change of the weights is what matters. broken: a ratio below 1e-5 or above 1e5, a gradient of the first layer below
    1e-8 (Adam's epsilon, below which gradients no longer determine its step sizes), or gradients that are not finite.
    remark: below 1e-2 or above 1e3. Case study 2 of the chapter, 12 sigmoid layers, is many orders of magnitude below;
    the corrected net is near 1.
    """
    model = s.calm_copy()
    layers = weights(model, s.x[:8])
    if layers and not layers[-1][1].any() and any(bool(w.any()) for _, w in layers):
        # A last layer of zeros makes the other gradients zero in the first step only: use torch's default weights here.
        nn.init.kaiming_uniform_(layers[-1][1], a=math.sqrt(5))
    model.zero_grad()
    loss = s.loss(model, *s.look)
    if loss.requires_grad:
        loss.backward()
    norms = [(name, float(w.grad.norm()), float(w.detach().norm())) for name, w in layers if w.grad is not None]
    if len(norms) < 2:
        return Finding("gradient_flow", "ok", "There is only one layer, so its gradient passes through no other.")
    relative = [gradient / (weight or 1.0) for _, gradient, weight in norms]
    first, smallest = norms[0][1], min(gradient for _, gradient, _ in norms)
    ratio = relative[0] / relative[-1] if relative[-1] > 0 else math.nan
    level = worst(below(ratio, *FLOW), above(ratio, *EXPLODING), "ok" if first >= ABSOLUTE else "broken")
    numbers = {"ratio": ratio, "first": first, "last": norms[-1][1], "smallest": smallest}
    text = (
        f"Gradient norm {first:.2g} in {norms[0][0]}, {norms[-1][1]:.2g} in {norms[-1][0]}; their ratio relative to "
        f"the weights is {ratio:.2g}."
    )
    if level == "ok":
        return Finding("gradient_flow", level, text, numbers)
    if ratio > 1:
        why = "Gradients explode towards the input, or the first weights are tiny: no learning rate suits all layers."
        change = f"Use --model.initializer {_advice(s.hparams.get('activation'))}, --model.norm batch."
    else:
        why = "Gradients vanish towards the input: the first layers hardly learn (Glorot & Bengio 2010; chapter, D2)."
        change = f"{_CLEAR}, or fewer layers (--model.hidden_dims)."
    return Finding("gradient_flow", level, text, numbers, why, change)


def dead_units(s: Subject) -> Finding:
    """Dead units (zero for every training sample) and saturated outputs (of sigmoid and tanh, near their bounds).

    broken: more than half of a layer, which halves its width, or reduces gradients through it to a tenth or less (the
    slope of tanh at |a| = .97 is .06). remark: more than a quarter; a newly initialized layer of this zoo has less than
    a fifth, and only on inputs of two features. A unit of an image is a channel. Uses up to 512 samples.
    """
    worst_share, where, what = 0.0, "", ""
    for step in trace(s.calm_copy(), s.look[0]):
        activations = by_unit(step)
        bounds = next((b for cls, b in BOUNDED.items() if isinstance(step.module, cls)), None)
        if isinstance(step.module, ZERO_BELOW):
            share, kind = float((activations.abs() < 1e-6).all(0).float().mean()), "units are dead (always zero)"
        elif bounds is not None:
            low, high = bounds
            unit = (2 * activations - low - high) / (high - low)
            share, kind = float((unit.abs() > SATURATED).float().mean()), "outputs are saturated"
        else:
            continue
        if share > worst_share or not what:
            worst_share, where, what = share, f" in {step.name} ({type(step.module).__name__})", kind
    if not what:
        return Finding("dead_units", "ok", "There is no activation whose units could die or saturate.", {"share": 0.0})
    level, text = above(worst_share, *DEAD), f"At most {worst_share:.0%} of a layer's {what}{where}."
    if level == "ok":
        return Finding("dead_units", level, text, {"share": worst_share})
    why = "No gradient passes through dead units, and hardly any through saturated ones."
    change = "Use --model.activation leaky_relu or gelu" if "zero" in what else "Use --model.initializer xavier_normal"
    change += ", --model.norm batch, or --model.bias_init 0; normalise the inputs."
    return Finding("dead_units", level, text, {"share": worst_share}, why, change)


def initializer(s: Subject) -> Finding:
    """The initializer suits the activation, and the signal neither vanishes nor explodes with depth.

    The signal is the standard deviation over samples of a unit's output, as a root mean square over units; its ratio
    between the last and the first activation is measured. broken: below 1e-5 or above 1e5, where little information
    about the inputs is left in single precision (1e-7), or all units of a layer other than the last have identical
    weights, since they then stay identical (Goodfellow et al. 2016, 8.4). remark: below .1 or above 10, or a known
    mismatch without a norm layer: Kaiming with tanh or sigmoid; Xavier with ReLU-like activations from 5 layers on
    (the signal decreases as 2^(-L/2): chapter, D6); torch's default with sigmoid or tanh from 5 layers on (Glorot &
    Bengio 2010).
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
    ratios = f"the signal of the last is {ratio:.2g} times that of the first"
    text = f"{len(signals)} activations; {'the first has no signal' if math.isnan(ratio) else ratios}."
    if alike:
        text += f" All units have identical weights in {', '.join(alike)}."
        why = "Units with identical weights get identical gradients and stay identical."
        return Finding("initializer", "broken", text, numbers, why, f"Use --model.initializer {_advice(activation)}.")
    level = worst(below(ratio, *SIGNAL), above(ratio, 1 / SIGNAL[0], 1 / SIGNAL[1]))
    mismatch = "" if normed else _mismatch(name, activation, len(signals))
    if level == "ok" and not mismatch:
        return Finding("initializer", "ok", text, numbers)
    why = mismatch or "Differences between samples vanish or explode on their way through the net."
    change = f"Use --model.initializer {_advice(activation)}."
    if level == "broken" and activation in SIGMOIDAL:
        change = f"{_CLEAR}."
    return Finding("initializer", worst(level, "remark"), text, numbers, why, change)


def by_unit_deviation(output: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each output over samples, as a root mean square over outputs."""
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
        return f"{name} is designed for ReLU; Xavier is the usual choice for {activation} (Glorot & Bengio 2010)."
    if depth < DEEP or name is None:
        return ""
    if activation in RECTIFIERS and name.startswith(XAVIER):
        return f"With {name} and {activation}, the signal decreases as 2^(-L/2) over L layers (He et al. 2015)."
    if activation in SIGMOIDAL and name == "default":
        return f"torch's default weights are too small for {depth} layers of {activation} (Glorot & Bengio 2010)."
    return ""

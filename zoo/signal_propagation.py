"""Propagation of signals and gradients through an untrained net, and the singular values of its Jacobians.

The net is `mlp`: `depth` hidden layers of `width` units, on `width` inputs drawn from N(0, 1). In the following, z^0 is
the input, z^i = f(W z^(i-1) + b) the activation of hidden layer i, and L the depth.

- `signal_ratio`: root mean square of z^L divided by that of z^0, over samples and units (He et al. 2015, sec. 2.2),
  including the effect of biases; `signal_ratio/layer_i` is the same for z^i.
- `gradient_ratio`: for a function whose gradient at z^L is N(0, 1) in each element, the root mean square of the
  gradient at z^0 divided by that at z^L (He et al. 2015, sec. 2.2, "Backward Propagation Case").
- `signal_change` and `gradient_change`: absolute log10 of these two ratios, whose best value is 1.
- `singular_value/mean`, `/median`, `/min` and `/max`: statistics of the singular values of a layer's Jacobian
  dz^i/dz^(i-1), averaged over layers and some samples (Glorot & Bengio 2010, sec. 4.2). For weights N(0, σ²/width) and
  slopes of 1, the singular values follow the quarter-circle law on [0, 2σ], whose mean is 8σ/(3π).
- `jacobian/mean_singular_value`: mean singular value of dz^L/dz^0, averaged over the same samples (Saxe et al. 2014).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.errors import choose, require

from .models.create import create_model
from .parts.initializers import INITIALIZERS
from .parts.layers import ACTIVATIONS
from .parts.seeding import derive_seeds
from .plain import Config, is_number

DEFAULTS: Config = {
    "depth": 10,
    "width": 256,
    "activation": "relu",
    "initializer": "default",
    "init_scale": 0.05,
    "n_samples": 256,
    "n_jacobians": 1,
}
STATISTICS = ("mean", "median", "min", "max")
Layers = list[tuple[nn.Linear, nn.Module]]  # each hidden layer with its activation


def resolve_signal_propagation(config: Mapping[str, Any]) -> Config:
    """Complete a config with defaults; it has no seed.

    Args:
        config: The keys of `DEFAULTS`, all optional: depth, width, activation, initializer and init_scale of the net,
            n_samples, and n_jacobians, the number of samples for which Jacobians are computed (0 saves time).

    Raises:
        InputError: If a key or name is unknown, or a value is out of range.
    """
    for key in config:
        choose("key of a signal_propagation trial", key, DEFAULTS)
    complete = {**DEFAULTS, **config}
    for key, least in (("depth", 1), ("width", 1), ("n_samples", 1), ("n_jacobians", 0)):
        good = type(complete[key]) is int and complete[key] >= least
        require(good, f"{key} must be a whole number of at least {least}, got {complete[key]!r}.")
    few, many = complete["n_jacobians"], complete["n_samples"]
    require(few <= many, f"n_jacobians must be at most n_samples ({many}), got {few}.")
    choose("activation", complete["activation"], ACTIVATIONS)
    choose("initializer", complete["initializer"], INITIALIZERS)
    scale = complete["init_scale"]
    good = is_number(scale) and scale > 0
    require(good, f"init_scale must be a positive finite number, got {scale!r}.")
    return {**complete, "init_scale": float(scale)}


def names(config: Config) -> list[str]:
    """Names of the metrics that a complete config measures."""
    found = ["signal_ratio", "signal_change", "gradient_ratio", "gradient_change"]
    found += [f"signal_ratio/layer_{n}" for n in range(1, config["depth"] + 1)]
    if config["n_jacobians"]:
        found += [*(f"singular_value/{name}" for name in STATISTICS), "jacobian/mean_singular_value"]
    return found


def measure(config: Config) -> dict[str, float]:
    """Measure all metrics of `names` for a complete config with its `seed_everything`.

    Weights have one derived seed, inputs and the gradient at the output another, so that nets of the same seed and
    shape differ only in what varies. Everything is computed in float64.
    """
    seeds = derive_seeds(config["seed_everything"])
    layers = fresh_layers(config, seeds.init)
    draw = torch.Generator().manual_seed(seeds.split)
    x, gradient = torch.randn(2, config["n_samples"], config["width"], generator=draw, dtype=torch.float64)
    values, slopes = forward(layers, x)
    sizes = [_rms(z) / _rms(x) for z in values[1:]]
    signal, back = sizes[-1], _rms(backward(layers, slopes, gradient)) / _rms(gradient)
    metrics = {"signal_ratio": signal, "signal_change": signal.log10().abs()}
    metrics |= {"gradient_ratio": back, "gradient_change": back.log10().abs()}
    metrics |= {f"signal_ratio/layer_{n}": size for n, size in enumerate(sizes, 1)}
    if config["n_jacobians"]:
        metrics |= _singular_values(jacobians(layers, [slope[: config["n_jacobians"]] for slope in slopes]))
    return {name: float(value) for name, value in metrics.items()}


def fresh_layers(config: Config, seed: int) -> Layers:
    """Hidden layers of a new `mlp`, initialized in float32 as by `zoo fit` and then converted to float64."""
    width = config["width"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(
            "mlp",
            input_shape=(width,),
            num_classes=2,
            hidden_dims=[width] * config["depth"],
            **{name: config[name] for name in ("activation", "initializer", "init_scale")},
        )
    hidden = list(model.net.double().children())[1:-1]  # without flatten and the last layer
    return [(linear, f) for linear, f in zip(hidden[::2], hidden[1::2], strict=True) if isinstance(linear, nn.Linear)]


def forward(layers: Layers, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Compute z^0 to z^L for inputs (N, width), and the slopes f'(W z + b) of each layer, all (N, width)."""
    values, slopes = [x], []
    for linear, activation in layers:
        summed = linear(values[-1]).detach().requires_grad_()
        z = activation(summed)
        # Activations are elementwise, so the gradient of the sum contains the slope of each element.
        slopes += torch.autograd.grad(z.sum(), summed)
        values.append(z.detach())
    return values, slopes


@torch.no_grad()
def backward(layers: Layers, slopes: list[Tensor], gradient: Tensor) -> Tensor:
    """Propagate the gradient at the last activation (N, width) back to the input (N, width)."""
    for (linear, _), slope in zip(reversed(layers), reversed(slopes), strict=True):
        gradient = (gradient * slope) @ linear.weight
    return gradient


@torch.no_grad()
def jacobians(layers: Layers, slopes: list[Tensor]) -> list[Tensor]:
    """Compute the Jacobian dz^i/dz^(i-1) of each layer for each sample, (N, width, width)."""
    return [slope[:, :, None] * linear.weight for (linear, _), slope in zip(layers, slopes, strict=True)]


def _singular_values(layers: list[Tensor]) -> dict[str, Tensor]:
    of_layers = torch.stack([torch.linalg.svdvals(jacobian) for jacobian in layers])  # (depth, N, width)
    # Units whose slope is 0 have singular values of 0, which rounding turns into tiny numbers.
    rounding = of_layers.amax(2, keepdim=True) * of_layers.shape[2] * torch.finfo(of_layers.dtype).eps
    of_layers = torch.where(of_layers > rounding, of_layers, 0)
    whole = layers[0]
    for jacobian in layers[1:]:
        whole = jacobian @ whole
    statistics = (of_layers.mean(2), of_layers.median(2).values, of_layers.amin(2), of_layers.amax(2))
    found = {f"singular_value/{name}": value.mean() for name, value in zip(STATISTICS, statistics, strict=True)}
    return found | {"jacobian/mean_singular_value": torch.linalg.svdvals(whole).mean()}


def _rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()

"""Signals through fresh nets, against closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from datamodules.errors import InputError
from zoo.parts.layers import ACTIVATIONS
from zoo.signal_propagation import (
    DEFAULTS,
    backward,
    forward,
    fresh_layers,
    jacobians,
    measure,
    names,
    resolve_signal_propagation,
)


def measured(seed: int = 0, **config) -> dict[str, float]:
    return measure({"seed_everything": seed, **resolve_signal_propagation(config)})


def mean_square(seeds: int, metric: str = "signal_ratio", **config) -> tuple[float, float]:
    """The mean over seeds of the squared metric, and its standard error."""
    squares = np.array([measured(seed, **config)[metric] ** 2 for seed in range(seeds)])
    return squares.mean(), squares.std(ddof=1) / math.sqrt(seeds)


def test_a_relu_halves_the_mean_square():
    mean, error = mean_square(20, depth=1, initializer="xavier_normal", n_jacobians=0, n_samples=32)
    assert error < 0.02
    assert mean == pytest.approx(0.5, abs=4 * error)


@pytest.mark.parametrize("depth", [4, 8])
def test_under_xavier_the_mean_square_falls_like_2_to_the_minus_depth(depth):
    # Exact at every width: given z, each unit is W z ~ N(0, |z|²/n), and E[relu(u)²] = E[u²]/2.
    mean, error = mean_square(25, depth=depth, width=128, initializer="xavier_normal", n_jacobians=0, n_samples=32)
    assert error < 0.15 * 2.0**-depth
    assert mean == pytest.approx(2.0**-depth, abs=4 * error)


def test_under_kaiming_it_stays():
    mean, error = mean_square(25, depth=8, width=128, initializer="kaiming_normal", n_jacobians=0, n_samples=32)
    assert mean == pytest.approx(1, abs=4 * error)


def test_gradients_of_linear_nets_fall_like_3_to_the_minus_half_a_layer_under_torchs_default():
    mean, error = mean_square(
        25, "gradient_ratio", depth=4, width=128, activation="identity", n_jacobians=0, n_samples=32
    )
    assert mean == pytest.approx(3.0**-4, abs=4 * error)


@pytest.mark.parametrize(("initializer", "sigma"), [("default", 1 / math.sqrt(3)), ("xavier_normal", 1)])
def test_singular_values_follow_the_quarter_circle_law(initializer, sigma):
    found = measured(depth=2, width=384, activation="identity", initializer=initializer, n_samples=2)
    assert found["singular_value/mean"] == pytest.approx(8 / (3 * math.pi) * sigma, rel=0.005)
    assert found["singular_value/max"] == pytest.approx(2 * sigma, rel=0.05)
    assert 0 < found["singular_value/min"] < 0.01 * sigma
    # The law's median m: (m √(4 - m²)/2 + 2 asin(m/2)) / π = 1/2.
    assert found["singular_value/median"] == pytest.approx(0.8079 * sigma, rel=0.02)


def test_units_that_are_off_leave_singular_values_of_zero():
    found = measured(depth=2, width=32, initializer="kaiming_normal")
    assert found["singular_value/min"] == 0
    assert found["singular_value/mean"] > 0


def test_singular_values_of_an_orthogonal_linear_net_are_all_one():
    found = measured(depth=6, width=64, activation="identity", initializer="orthogonal", n_jacobians=2)
    for name, value in found.items():
        if not name.endswith("_change"):
            assert value == pytest.approx(1, abs=1e-6), name
    assert found["signal_change"] == pytest.approx(0, abs=1e-6)


def test_signal_ratios_of_a_linear_net_are_numpys():
    config = resolve_signal_propagation({"depth": 3, "width": 16, "activation": "identity"})
    layers = fresh_layers(config, seed=5)
    x = np.random.default_rng(0).standard_normal((7, 16))
    values, slopes = forward(layers, torch.from_numpy(x))
    z = x
    for (linear, _), found, slope in zip(layers, values[1:], slopes, strict=True):
        z = z @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
        np.testing.assert_allclose(found, z, rtol=1e-12, atol=1e-14)
        assert (slope == 1).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jacobians_and_gradients_are_those_of_autograd(activation):
    config = resolve_signal_propagation({"depth": 3, "width": 5, "activation": activation})
    layers = fresh_layers(config, seed=1)
    net = nn.Sequential(*[module for layer in layers for module in layer])
    x, gradient = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values, slopes = forward(layers, x)
    torch.testing.assert_close(values[-1], net(x).detach())
    first, second, third = jacobians(layers, slopes)
    for n in range(4):
        whole = torch.autograd.functional.jacobian(net, x[n])
        torch.testing.assert_close((third @ second @ first)[n], whole)
        torch.testing.assert_close(backward(layers, slopes, gradient)[n], gradient[n] @ whole)


def test_everything_named_is_measured_and_nothing_else():
    for config in ({"depth": 2, "width": 4}, {"depth": 1, "width": 4, "n_jacobians": 0}):
        complete = resolve_signal_propagation(config)
        assert sorted(measured(**config)) == sorted(names(complete))
    assert "singular_value/mean" not in names(complete)


def test_a_seed_gives_the_same_numbers_whatever_ran_before_and_shares_its_inputs():
    first = measured(3, depth=2, width=8)
    torch.manual_seed(99)
    torch.randn(5)
    state = torch.get_rng_state()
    assert measured(3, depth=2, width=8) == first != measured(4, depth=2, width=8)
    assert torch.equal(torch.get_rng_state(), state)


def test_zero_weights_give_no_signal_at_all():
    found = measured(depth=2, width=8, initializer="zeros")
    assert found["signal_ratio"] == 0
    assert math.isinf(found["signal_change"])


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"depht": 3}, "unknown key of a signal_propagation trial 'depht'. Did you mean 'depth'?"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0."),
        ({"width": 2.5}, "width must be a whole number of at least 1, got 2.5."),
        ({"n_samples": True}, "n_samples must be a whole number of at least 1, got True."),
        ({"n_jacobians": 9, "n_samples": 8}, "n_jacobians must be at most n_samples (8), got 9."),
        ({"activation": "rely"}, "unknown activation 'rely'. Did you mean 'relu'?"),
        ({"initializer": None}, "unknown initializer None."),
        ({"init_scale": 0}, "init_scale must be a positive finite number, got 0."),
    ],
)
def test_bad_configs_get_a_sentence(config, sentence):
    with pytest.raises(InputError) as refusal:
        resolve_signal_propagation(config)
    assert str(refusal.value).startswith(sentence)


def test_defaults_are_filled_in():
    assert resolve_signal_propagation({"init_scale": 1}) == {**DEFAULTS, "init_scale": 1.0}

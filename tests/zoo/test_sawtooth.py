"""The sawtooth, and the nets that draw it exactly (Telgarsky 2015)."""

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from benchmarks.study.file import load_study
from datamodules import InputError, create_datamodule
from datamodules.synthetic import sawtooth

KS = range(1, 9)


def tent(x):
    return np.where(x <= 0.5, 2 * x, 2 - 2 * x)


def grid(k):
    """Points of [0, 1] that hold all corners and, like all that is computed of them, are exact in binary."""
    return np.arange(2 ** (k + 3) + 1) / 2 ** (k + 3)


def pieces(y):
    """Straight pieces of values on an even grid that holds all corners."""
    return 1 + int((np.diff(y, 2) != 0).sum())


def net_of(hidden_dims):
    return zoo.create_model("mlp", input_shape=(1,), num_classes=1, hidden_dims=hidden_dims).double()


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


def set_weights(model, *layers):
    """Set weights and biases of the linear layers, in order."""
    for linear, (weight, bias) in zip((m for m in model.net if isinstance(m, nn.Linear)), layers, strict=True):
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weight))
            linear.bias.copy_(torch.tensor(bias))


def deep(k):
    """k layers of two units: tent(x) = 2 relu(x) - 4 relu(x - 1/2)."""
    model = net_of([2] * k)
    inner = ([[2.0, -4.0], [2.0, -4.0]], [0.0, -0.5])
    set_weights(model, ([[1.0], [1.0]], [0.0, -0.5]), *[inner] * (k - 1), ([[2.0, -4.0]], [0.0]))
    return model


def wide(k):
    """One layer of 2^k units, one for each piece: a corner at its left end, where the slope turns by ±2^(k+1)."""
    n = 2**k
    out = [2.0**k] + [(-1) ** j * 2.0 ** (k + 1) for j in range(1, n)]
    model = net_of([n])
    set_weights(model, ([[1.0]] * n, [-j / n for j in range(n)]), ([out], [0.0]))
    return model


def drawn(model, x):
    with torch.no_grad():
        return model(torch.from_numpy(x)[:, None])[:, 0].numpy()


@pytest.mark.parametrize("k", KS)
def test_it_is_the_tent_map_composed_k_times_with_2_to_the_k_pieces(k):
    x = expected = grid(k)
    for _ in range(k):
        expected = tent(expected)
    np.testing.assert_array_equal(sawtooth(x, k), expected)
    assert pieces(expected) == 2**k


@pytest.mark.parametrize("k", KS)
def test_k_layers_of_two_relu_units_draw_it_exactly_with_6k_plus_1_parameters(k):
    np.testing.assert_array_equal(drawn(deep(k), grid(k)), sawtooth(grid(k), k))
    assert n_parameters(deep(k)) == 6 * k + 1


@pytest.mark.parametrize("k", KS)
def test_one_layer_of_2_to_the_k_units_draws_it_exactly_too(k):
    np.testing.assert_array_equal(drawn(wide(k), grid(k)), sawtooth(grid(k), k))
    assert n_parameters(wide(k)) == 3 * 2**k + 1
    # At k of 1 and 2 both cost the same; from there on depth is cheaper.
    assert (n_parameters(wide(k)) > n_parameters(deep(k))) == (k > 2)


@pytest.mark.parametrize("units", [1, 3, 8])
def test_one_layer_has_at_most_one_piece_more_than_units(units):
    # So 2^k pieces take at least 2^k - 1 units, of three parameters each, and a bias.
    x = np.linspace(-20, 20, 20_001)
    found = []
    for seed in range(15):
        torch.manual_seed(seed)
        bends = np.abs(np.diff(drawn(net_of([units]), x), 2)) > 1e-9
        # A corner between two points of the grid bends at both.
        found.append(1 + int((np.diff(bends.astype(int), prepend=0) == 1).sum()))
    assert max(found) <= units + 1
    assert max(found) >= min(units, 3)  # the count does see corners
    lower_bound = [3 * (2**k - 1) + 1 for k in KS]
    assert all(n_parameters(net_of([2**k - 1])) == bound for k, bound in zip(KS, lower_bound, strict=True))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_data_are_points_of_it(k):
    source = create_datamodule("sawtooth", k=k, n_samples=500).load()
    assert source.x.shape == (500, 1)
    assert 0 <= source.x.min() < 0.01 < 0.99 < source.x.max() < 1
    expected = source.x[:, 0]
    for _ in range(k):
        expected = tent(expected)
    np.testing.assert_allclose(source.y, expected, rtol=0, atol=1e-12)


def test_noise_is_on_the_target_alone():
    plain, noisy = (create_datamodule("sawtooth", n_samples=4000, noise=noise).load() for noise in (0.0, 0.1))
    np.testing.assert_array_equal(plain.x, noisy.x)
    assert (noisy.y - plain.y).std() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("k", [0, 51])
def test_a_k_out_of_range_is_refused(k):
    with pytest.raises(InputError, match=f"data.k must be between 1 and 50, got {k}"):
        create_datamodule("sawtooth", k=k)


def test_the_nets_of_the_study_of_depth_have_equal_parameters():
    study = load_study("depth_vs_width")
    dims = [setting["model.hidden_dims"] for axis in study.axes if axis.name == "net" for setting in axis.settings]
    counts = [n_parameters(net_of(hidden_dims)) for hidden_dims in dims]
    assert [len(hidden_dims) for hidden_dims in dims] == [1, 2, 4, 8]
    assert max(counts) <= 1.02 * min(counts)
    most = max(setting["data.k"] for axis in study.axes if axis.name == "data.k" for setting in axis.settings)
    assert dims[0] >= [2**most], "the wide one has units enough to draw each target exactly"

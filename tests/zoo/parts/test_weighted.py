"""Layers with weights: one definition for initializers, weight decay, diagnosis and the doctor."""

import math

import pytest
import torch
from torch import nn

from datamodules import create_datamodule
from zoo import ZooModule
from zoo.callbacks.layers import layers_of
from zoo.doctor import examine
from zoo.doctor.trace import by_unit, trace, weights
from zoo.models.registry import MODELS
from zoo.parts.initializers import fans_of, initialize
from zoo.parts.layers import weights_by_output
from zoo.parts.optim import parameter_groups
from zoo.train import fit


class Conv1dNet(ZooModule):
    """Digits as 8 channels of 8 positions: a convolution, a transposed one, then logits."""

    def __init__(self, input_shape, num_classes, **kwargs):
        super().__init__(input_shape, num_classes, **kwargs)
        self.net = nn.Sequential(
            nn.Flatten(1, 2),
            nn.Conv1d(8, 16, 3),
            nn.ReLU(),
            nn.ConvTranspose1d(16, 6, 2, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 12, num_classes),
        )
        self.init_weights("relu")


LAYERS = {
    "linear": (nn.Linear(40, 30), 40, 30),
    "conv1d": (nn.Conv1d(12, 30, 3), 36, 90),
    "conv2d": (nn.Conv2d(6, 30, 3, stride=2), 54, 270),
    "conv3d": (nn.Conv3d(4, 16, 3), 108, 432),
    "grouped conv2d": (nn.Conv2d(24, 32, 3, groups=4), 54, 72),
    "transposed 1d": (nn.ConvTranspose1d(30, 12, 3), 90, 36),
    "transposed 2d": (nn.ConvTranspose2d(24, 16, 2, stride=2), 24, 64),
    "transposed 3d": (nn.ConvTranspose3d(16, 4, 3), 432, 108),
    "grouped transposed 1d": (nn.ConvTranspose1d(64, 32, 4, stride=2, groups=4), 32, 32),
}


@pytest.fixture
def conv1d_model(monkeypatch):
    monkeypatch.setitem(MODELS._targets, "conv1d_net", Conv1dNet)
    return Conv1dNet((1, 8, 8), 10, initializer="kaiming_normal", weight_decay=0.1, bias_init=0.25)


@pytest.mark.parametrize("name", LAYERS)
def test_fans_count_what_an_output_sums_and_what_an_input_reaches(name):
    layer, n_in, n_out = LAYERS[name]
    assert fans_of(layer) == (n_in, n_out)


@pytest.mark.parametrize("name", LAYERS)
def test_lecun_normal_keeps_the_variance_of_the_signal(name):
    # What the fan-in is for: outputs of unit inputs have a second moment of 1, in whatever layer. At the borders of an
    # image a transposed convolution sums fewer inputs; the inner part is looked at.
    layer, _, _ = LAYERS[name]
    torch.manual_seed(0)
    initialize(layer, "lecun_normal", "relu", 0.05)
    ndim = layer.weight.ndim - 2
    x = torch.randn(64, layer.in_features) if ndim == 0 else torch.randn(64, layer.in_channels, *[10] * ndim)
    with torch.no_grad():
        y = layer(x)[(slice(None), slice(None), *[slice(3, 7)] * ndim)]
    assert y.square().mean().sqrt() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("name", ["normal", "uniform", "xavier_uniform", "kaiming_uniform", "orthogonal", "zeros"])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_initializer_draws_every_layer_and_zeroes_its_bias(name, layer):
    module = LAYERS[layer][0]
    before = module.weight.detach().clone()
    nn.init.ones_(module.bias)
    initialize(module, name, "relu", 0.05)
    assert not torch.equal(module.weight, before) or name == "zeros"
    assert module.weight.any() == (name != "zeros")
    assert not module.bias.any()


def test_orthogonal_makes_the_outputs_of_each_group_orthogonal():
    layer = nn.ConvTranspose1d(64, 32, 4, groups=4)
    initialize(layer, "orthogonal", "identity", 0.05)
    groups = weights_by_output(layer)
    assert [tuple(group.shape) for group in groups] == [(8, 16, 4)] * 4
    for group in groups:
        rows = group.flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(8))


def test_other_layers_are_neither_drawn_nor_decayed():
    others = [nn.Embedding(5, 4), nn.LayerNorm(4), nn.PReLU(), nn.Bilinear(3, 3, 2), nn.GRU(2, 3)]
    net = nn.Sequential(*others, nn.Linear(4, 2))
    before = [p.detach().clone() for p in net[:-1].parameters()]
    initialize(net, "zeros", "relu", 0.05)
    assert all(torch.equal(p, old) for p, old in zip(net[:-1].parameters(), before, strict=True))
    decayed, _ = parameter_groups(net, 0.1)
    assert [id(p) for p in decayed["params"]] == [id(net[-1].weight)]


def test_a_conv1d_net_gets_its_initializer_and_its_bias(conv1d_model):
    _, conv, _, transposed, _, _, linear = conv1d_model.net
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / 24), rel=0.15)
    assert transposed.weight.std().item() == pytest.approx(math.sqrt(2 / 16), rel=0.2)
    assert (conv.bias == 0.25).all()
    assert (transposed.bias == 0.25).all()
    assert not linear.bias.any()


def test_the_weights_of_a_conv1d_net_decay(conv1d_model):
    decayed, others = parameter_groups(conv1d_model, 0.1)
    net = conv1d_model.net
    assert {id(p) for p in decayed["params"]} == {id(net[n].weight) for n in (1, 3, 6)}
    assert {id(p) for p in others["params"]} == {id(net[n].bias) for n in (1, 3, 6)}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_a_conv1d_net_is_diagnosed(conv1d_model, tmp_path):
    assert layers_of(conv1d_model).weighted == [conv1d_model.net[n] for n in (1, 3, 6)]
    config = {
        "model": {"name": "conv1d_net", "initializer": "kaiming_normal", "weight_decay": 0.1},
        "data": {"name": "digits", "train_size": 128},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
        "callbacks": {"gradient_flow": True, "dead_units": True},
    }
    metrics = fit(config, tmp_path).metrics
    assert all(metrics[f"init/gradient_norm/layer_{n}"] > 0 for n in (1, 2, 3))
    assert all(0 < metrics[f"update_ratio/layer_{n}"] < 1 for n in (1, 2, 3))
    assert {name for name in metrics if name.startswith("dead_units/")} == {"dead_units/layer_1", "dead_units/layer_2"}


def test_a_conv1d_net_is_doctored(conv1d_model):
    data = create_datamodule("digits", train_size=256)
    found = {f.check: f for f in examine(conv1d_model, data, checks=("initializer", "gradient_flow", "dead_units"))}
    assert {name: f.level for name, f in found.items()} == dict.fromkeys(found, "ok")
    assert found["gradient_flow"].numbers["ratio"] > 0
    x = torch.randn(4, 1, 8, 8)
    assert [name for name, _ in weights(conv1d_model, x)] == ["net.1.weight", "net.3.weight", "net.6.weight"]
    relu = [step for step in trace(conv1d_model, x) if isinstance(step.module, nn.ReLU)]
    assert [by_unit(step).shape for step in relu] == [(4 * 6, 16), (4 * 12, 6)]  # channels are units, positions not


def test_the_doctor_sees_units_of_a_transposed_convolution_that_start_alike(conv1d_model):
    with torch.no_grad():
        transposed = conv1d_model.net[3]
        transposed.weight[:] = transposed.weight[:, :1]
    _, finding = examine(conv1d_model, create_datamodule("digits", train_size=256), checks=("initializer",))
    assert (finding.level, "net.3" in finding.measured) == ("broken", True)

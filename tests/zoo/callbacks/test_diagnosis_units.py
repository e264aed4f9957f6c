"""Which units and layers the diagnosis callbacks count: dead and saturated units, shared activations, conv nets."""

import math

import pytest
import torch
from torch import nn

import zoo
from tests.zoo.callbacks.diagnosis_runs import ALL, config
from zoo import train
from zoo.callbacks.layers import layers_of
from zoo.config import resolve
from zoo.models.base import ZooModule
from zoo.models.registry import MODELS
from zoo.pack import Pack
from zoo.trainer import make_trainer, quiet

# --- dead and saturated units -----------------------------------------------------------------------------------------


def planted(given, plant):
    """Runs of a net into which units were planted, as a pack and by Lightning; at a rate so low that they stay."""
    from zoo.pack.member import Member

    member = Member(given, *train.prepare(given))
    model, data = train.prepare(given)
    for own in (member.model, model):
        with torch.no_grad():
            plant([m for m in own.net if isinstance(m, nn.Linear)])
    pack = Pack([member], torch.device("cpu"))
    pack.fit()
    with quiet():
        trainer, logger = make_trainer(given, ".", progress=False)
        trainer.fit(model, datamodule=data)
    callbacks = {name: value for c in trainer.callbacks for name, value in getattr(c, "initial", {}).items()}
    return [(member.course.rows[-1], member.initial), (logger.rows[max(logger.rows)], callbacks)]


STILL = {"optimizer": "sgd", "lr": 1e-12}
NO_NETS = {"early_stopping": False, "model_checkpoint": False, "dead_units": True}


def test_units_with_a_large_negative_bias_are_dead():
    def plant(layers):
        layers[0].bias[:] = 100.0
        layers[0].bias[:4] = -100.0
        layers[1].bias[:] = 1000.0
        layers[1].bias[3] = -1000.0

    for row, before in planted(config({**STILL, "hidden_dims": [16, 8]}, NO_NETS), plant):
        for found, prefix in ((row, ""), (before, "init/")):
            assert [found[f"{prefix}dead_units/layer_{n}"] for n in (1, 2)] == [4 / 16, 1 / 8]
            assert [found[f"{prefix}saturated_units/layer_{n}"] for n in (1, 2)] == [0, 0]


def test_a_unit_that_one_sample_wakes_is_alive():
    given = config({**STILL, "hidden_dims": [2]}, NO_NETS)
    x = train.prepare(given)[1].arrays("val")[0][:, 0]
    high = x.sort().values[-2:].mean().item()  # above it lies one sample alone

    def plant(layers):
        layers[0].weight.zero_()
        layers[0].weight[:, 0] = 1.0
        layers[0].bias[:] = -torch.tensor([high, x.max().item() + 1])

    assert int((x > high).sum()) == 1
    for row, _ in planted(given, plant):
        assert row["dead_units/layer_1"] == 0.5


@pytest.mark.parametrize(("activation", "edge"), [("sigmoid", math.log(99)), ("tanh", math.atanh(0.98))])
def test_units_near_an_asymptote_for_most_samples_are_saturated(activation, edge):
    # z is the bias, but for one unit that is saturated for some of the samples only.
    given = config({**STILL, "activation": activation, "hidden_dims": [6]}, NO_NETS)
    x = train.prepare(given)[1].arrays("val")[0][:, 0]
    assert 0.3 < (x > 0).float().mean() < 0.7

    def plant(layers):
        layers[0].weight.zero_()
        layers[0].weight[5, 0] = 1e4
        layers[0].bias[:] = torch.tensor([1.01 * edge, -1.01 * edge, 0.99 * edge, -0.99 * edge, 0.0, -1e4 * x.median()])

    # Of the unit cut at the median, all but the one or two samples there are saturated, on either side.
    for row, before in planted(given, plant):
        assert row["saturated_units/layer_1"] == before["init/saturated_units/layer_1"] == 3 / 6
        assert row["dead_units/layer_1"] == 0
    strict = config(given["model"], {**NO_NETS, "dead_units": {"share": 1.0, "threshold": 0.02}})
    for row, _ in planted(strict, plant):
        assert row["saturated_units/layer_1"] == pytest.approx(4 / 6)


class Reusing(ZooModule):
    """One ReLU behind layers of several widths, one of which is used twice."""

    def __init__(self, input_shape, num_classes, **kwargs):
        super().__init__(input_shape, num_classes, **kwargs)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.shared, self.last = nn.Linear(13, 8), nn.Linear(8, 8), nn.Linear(8, num_classes)
                self.narrow, self.act = nn.Linear(8, 5), nn.ReLU()
                self.wide = nn.Linear(5, 8)

            def forward(self, x):
                x = self.act(self.first(x))
                x = self.act(self.shared(self.act(self.shared(x))))
                return self.last(self.act(self.wide(self.act(self.act(self.narrow(x))))))

        self.net = Net()


def test_an_activation_used_again_is_told_apart_by_its_calls(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS._targets, "reusing", Reusing)
    sections = {"model": {"name": "reusing"}, "data": {"name": "wine", "batch_size": 16}, "callbacks": dict(ALL)}
    given = resolve({**sections, "trainer": {"max_epochs": 2, "accelerator": "cpu"}})
    model, data = train.prepare(given)
    net, layers = model.net, layers_of(model)
    assert layers.weighted == [net.first, net.shared, net.narrow, net.wide, net.last]
    assert layers.widths == {1: 8, 2: 8, 3: 5, 4: 8}
    assert layers.calls == {net.act: [1, None, 2, None, 3, 4]}
    found = train.fit(given, tmp_path).metrics
    x = data.arrays("val")[0]
    with torch.no_grad():
        outputs = [x := net.first(x).relu(), x := net.shared(net.shared(x).relu()).relu()]
        outputs += [x := net.narrow(x).relu(), net.wide(x).relu()]
    for number, out in enumerate(outputs, 1):
        dead = sum(bool((unit == 0).all()) for unit in out.T) / out.shape[1]
        assert found[f"init/dead_units/layer_{number}"] == pytest.approx(dead)
    assert len({found[f"activation_std/layer_{n}"] for n in (1, 2, 3, 4)}) == 4


class Unweighted(ZooModule):
    """No linear or conv layer, only a matrix."""

    def __init__(self, input_shape, num_classes, **kwargs):
        super().__init__(input_shape, num_classes, **kwargs)
        self.net = nn.Bilinear(13, 13, num_classes)

    def forward(self, x):
        return self.net(x, x)


def test_a_net_of_other_layers_has_nothing_to_measure_by_layer(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS._targets, "unweighted", Unweighted)
    callbacks = {"gradient_flow": True, "gradient_clipping": True, "dead_units": True}
    sections = {"model": {"name": "unweighted"}, "data": "wine", "callbacks": callbacks}
    found = train.fit(resolve({**sections, "trainer": {"max_epochs": 1, "accelerator": "cpu"}}), tmp_path).metrics
    assert found["gradient_norm/before_clipping"] > 0
    assert not [name for name in found if "layer_" in name]


# --- conv nets --------------------------------------------------------------------------------------------------------


def test_conv_layers_are_counted_from_the_input_and_channels_are_units(tmp_path):
    given = config({"name": "cnn", "channels": [4, 6], "hidden_dims": [10]}, data={"name": "digits"}, max_epochs=1)
    result = train.fit(given, tmp_path)
    assert result.status == "done"
    model = zoo.load(tmp_path)
    layers = layers_of(model)
    assert [tuple(layer.weight.shape[:2]) for layer in layers.weighted] == [(4, 1), (6, 4), (10, 24), (10, 10)]
    assert layers.widths == {1: 4, 2: 6, 3: 10}
    x, outputs = train.prepare(given)[1].arrays("val")[0], []
    hooks = [
        layer.register_forward_hook(lambda m, i, out: outputs.append(out)) for layer in layers.activations.values()
    ]
    with torch.no_grad():
        model(x)
    assert len(hooks) == 3
    for n, out in enumerate(outputs, 1):
        dead = sum(bool((out[:, unit] == 0).all()) for unit in range(out.shape[1])) / out.shape[1]
        assert result.metrics[f"dead_units/layer_{n}"] == pytest.approx(dead)
        assert result.metrics[f"activation_std/layer_{n}"] == pytest.approx(out.std(correction=0).item(), rel=1e-4)


def test_layers_are_found_in_the_order_in_which_they_compute():
    class Backwards(zoo.ZooModule):
        def __init__(self, input_shape, num_classes):
            super().__init__(input_shape, num_classes)
            self.net = nn.ModuleDict({"last": nn.Linear(5, 3), "act": nn.ReLU(), "first": nn.Linear(4, 5)})
            self.spare = nn.Linear(1, 1)

        def forward(self, x):
            return self.net["last"](self.net["act"](self.net["first"](x)))

    model = Backwards((4,), 3).train()
    state = torch.get_rng_state()
    layers = layers_of(model)
    assert layers.weighted == [model.net["first"], model.net["last"]]
    assert list(layers.activations) == [1]
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)

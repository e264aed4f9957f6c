"""The diagnosis callbacks: numbers against autograd by hand; packs against Lightning; off, they are not there."""

import csv
import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from benchmarks.cli import main
from benchmarks.running.plan import trial_key
from datamodules import DATAMODULES
from zoo import train
from zoo.callbacks.layers import layers_of
from zoo.config import resolve
from zoo.models.base import ZooModule
from zoo.models.registry import MODELS
from zoo.pack import Pack
from zoo.parts.metric_names import DIAGNOSIS, callback_of, diagnosis_names, direction, has_direction
from zoo.trainer import make_trainer, quiet

ALL = {**dict.fromkeys(DIAGNOSIS, True), "gradient_flow": {"every_n_steps": 1}}
PACKED = pytest.mark.parametrize("pack", [True, False])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(model=None, callbacks=ALL, seed=0, data=None, **trainer):
    return resolve(
        {
            "seed_everything": seed,
            "model": {"name": "mlp", "hidden_dims": [16, 8], **(model or {})},
            "data": {"name": "wine", "batch_size": 16, **(data or {})},
            "trainer": {"max_epochs": 3, "accelerator": "cpu", **trainer},
            "callbacks": dict(callbacks),
        }
    )


def rows_of(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


class ByHand:
    """The same run, step by step in plain torch."""

    def __init__(self, given):
        self.model, self.data = train.prepare(given)
        self.clip = given["trainer"]["gradient_clip_val"]
        h = self.model.hparams
        self.optimizer = torch.optim.SGD(self.model.parameters(), h["lr"], h["momentum"])
        self.linear = [m for m in self.model.net if isinstance(m, nn.Linear)]
        self.active = [m for m in self.model.net if isinstance(m, nn.ReLU | nn.Sigmoid | nn.Tanh)]
        self.loader = self.data.train_dataloader()

    def epoch(self, accumulate=1):
        """The columns of each optimizer step."""
        steps = []
        for number, (x, y) in enumerate(self.loader):
            (F.cross_entropy(self.model(x), y) / accumulate).backward()
            if (number + 1) % accumulate and number + 1 < len(self.loader):
                continue
            step = {f"gradient_norm/layer_{n}": size(m.weight.grad) for n, m in enumerate(self.linear, 1)}
            grads = [p.grad for p in self.model.parameters()]
            total = math.sqrt(sum(size(g) ** 2 for g in grads))
            step["gradient_norm/before_clipping"] = total
            step["clipped_steps"] = float(self.clip is not None and total > self.clip)
            if step["clipped_steps"]:
                for grad in grads:
                    grad *= self.clip / total
            step["gradient_norm/after_clipping"] = math.sqrt(sum(size(g) ** 2 for g in grads))
            before = [m.weight.detach().clone() for m in self.linear]
            self.optimizer.step()
            self.optimizer.zero_grad()
            for n, (m, old) in enumerate(zip(self.linear, before, strict=True), 1):
                step[f"update_ratio/layer_{n}"] = size(m.weight - old) / size(old)
            steps.append(step)
        return steps

    def outputs(self, x):
        found = []
        hooks = [m.register_forward_hook(lambda module, inputs, out: found.append(out)) for m in self.active]
        with torch.no_grad():
            self.model(x)
        for hook in hooks:
            hook.remove()
        return found

    def activations(self, x):
        outputs, columns = self.outputs(x), {}
        for n, out in enumerate(outputs, 1):
            columns[f"activation_mean/layer_{n}"] = out.double().mean().item()
            columns[f"activation_std/layer_{n}"] = out.double().std(correction=0).item()
        rms = [values.double().square().mean().sqrt() for values in (outputs[-1], x)]
        return columns | {"signal_ratio": (rms[0] / rms[1]).item()}

    def dead(self, x):
        return {
            f"dead_units/layer_{n}": sum(bool((unit == 0).all()) for unit in out.T) / out.shape[1]
            for n, out in enumerate(self.outputs(x), 1)
        }


def size(x):
    return x.detach().double().norm().item()


def means(steps):
    return {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}


def initial(columns):
    return {f"init/{name}": value for name, value in columns.items() if name != "clipped_steps"}


SGD = {"optimizer": "sgd", "lr": 0.05, "hidden_dims": [12, 9, 7]}


@PACKED
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("clip", [None, 0.6])
def test_numbers_are_those_of_the_run_by_hand(tmp_path, pack, activation, clip):
    given = config({**SGD, "activation": activation}, gradient_clip_val=clip)
    result = train.fit(given, tmp_path, pack=pack)
    assert (result.environment["pack_size"] == 1) is pack
    hand = ByHand(given)
    x = hand.data.arrays("val")[0]
    expected = initial(hand.dead(x) | hand.activations(next(iter(hand.data.train_dataloader()))[0]))
    rows, clipped = rows_of(tmp_path), []
    for epoch, row in enumerate(rows):
        steps = hand.epoch()
        if epoch == 0:
            expected |= initial(steps[0])
        columns = means(steps) | hand.activations(x) | hand.dead(x)
        assert {name: row[name] for name in columns} == pytest.approx(columns, rel=2e-4, abs=1e-7)
        if epoch == result.best_epoch:
            expected |= columns
        clipped.append(columns["clipped_steps"])
    assert {name: result.metrics[name] for name in expected} == pytest.approx(expected, rel=2e-4, abs=1e-7)
    assert any(0 < share < 1 for share in clipped) is (clip is not None)
    norms = [rows[0][f"gradient_norm/layer_{n}"] for n in (1, 2, 3, 4)]
    assert len({round(norm, 4) for norm in norms}) == 4  # or a wrong order of layers could pass


@PACKED
def test_steps_are_sampled_from_the_first_of_each_epoch_on(tmp_path, pack):
    callbacks = {"gradient_flow": {"every_n_steps": 3}, "gradient_clipping": {"every_n_steps": 5}}
    given = config(SGD, callbacks, gradient_clip_val=0.6)
    train.fit(given, tmp_path, pack=pack)
    hand = ByHand(given)
    for row in rows_of(tmp_path):
        steps = hand.epoch()
        assert len(steps) == 8  # so that the first step of the next epoch is not in turn
        flow, clip = means(steps[::3]), means(steps[::5])
        for name in ("gradient_norm/layer_1", "update_ratio/layer_4"):
            assert row[name] == pytest.approx(flow[name], rel=2e-4)
        for name in ("gradient_norm/before_clipping", "clipped_steps"):
            assert row[name] == pytest.approx(clip[name], rel=2e-4)


def test_a_step_of_several_batches_has_the_gradient_of_all(tmp_path):
    given = config(SGD, accumulate_grad_batches=3, gradient_clip_val=0.6)
    result = train.fit(given, tmp_path)
    assert result.environment["pack_size"] is None
    hand = ByHand(given)
    for row in rows_of(tmp_path):
        steps = hand.epoch(accumulate=3)
        assert len(steps) == 3
        columns = means(steps)
        assert {name: row[name] for name in columns} == pytest.approx(columns, rel=2e-4, abs=1e-7)


def test_clipping_by_value_is_measured_too(tmp_path):
    given = config(SGD, {"gradient_clipping": True}, gradient_clip_val=1e-3, gradient_clip_algorithm="value")
    metrics = train.fit(given, tmp_path).metrics
    n = sum(p.numel() for p in train.prepare(given)[0].parameters())
    assert metrics["clipped_steps"] == 1
    assert 0 < metrics["gradient_norm/after_clipping"] <= 1e-3 * math.sqrt(n)
    assert metrics["gradient_norm/before_clipping"] > metrics["gradient_norm/after_clipping"]


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
        trainer, logger = make_trainer(given, model.num_classes, ".", progress=False)
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


# --- packs and Lightning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        {"norm": "layer", "activation": "gelu"},
        {"dropout": 0.3, "activation": "sigmoid"},
        {"hidden_dims": []},
        {"activation": "prelu", "weight_decay": 0.1},
        {"activation": "identity", "optimizer": "rmsprop"},
    ],
    ids=str,
)
def test_a_pack_measures_what_lightning_does(tmp_path, model):
    given = config(model)
    packed, alone = (train.fit(given, tmp_path / str(pack), pack=pack) for pack in (True, False))
    assert (packed.environment["pack_size"], alone.environment["pack_size"]) == (1, None)
    assert packed.metrics == pytest.approx(alone.metrics, rel=1e-3, abs=1e-5)
    for mine, lightnings in zip(rows_of(tmp_path / "True"), rows_of(tmp_path / "False"), strict=True):
        assert mine == pytest.approx(lightnings, rel=1e-3, abs=1e-5)
    n = len(given["model"]["hidden_dims"])
    named = diagnosis_names(DIAGNOSIS, n + 1, range(1, n + 1))
    assert {name for name in packed.metrics if callback_of(name)} == set(named)


def test_with_batch_norm_the_first_values_agree(tmp_path):
    given = config({"norm": "batch", "activation": "relu"}, max_epochs=1)
    packed, alone = (train.fit(given, tmp_path / str(pack), pack=pack).metrics for pack in (True, False))
    names = [name for name in packed if name.startswith("init/") and "update" not in name]
    assert {n: packed[n] for n in names} == pytest.approx({n: alone[n] for n in names}, rel=1e-4, abs=1e-6)


MEMBERS = {
    "relu and sigmoid": [{"activation": a} for a in ("relu", "sigmoid", "tanh")],
    "odd widths": [{"hidden_dims": [17, 5], "lr": lr} for lr in (1e-3, 0.03)],
    "one unit": [{"hidden_dims": [1]}],
    "batch norm, dropout": [{"norm": "batch", "dropout": d} for d in (0.0, 0.3)],
    "divergence": [{"optimizer": "sgd", "activation": "identity", "lr": lr} for lr in (1e30, 0.01)],
    "no hidden layer": [{"hidden_dims": []}],
}


@pytest.mark.parametrize("case", MEMBERS)
@pytest.mark.parametrize("clip", [None, 0.7])
def test_numbers_do_not_depend_on_the_pack(case, clip):
    configs = [
        config({"hidden_dims": [16, 8], **model}, {**ALL, "early_stopping": {"patience": 1}}, seed, gradient_clip_val=c)
        for number, model in enumerate(MEMBERS[case])
        for seed in range(3 * number, 3 * number + 3)
        for c in (clip, 5.0)
    ]

    def trained(configs):
        members = [train.make_member(c, {}) for c in configs]
        Pack(members, torch.device("cpu")).fit()
        return [repr((m.course.rows, m.initial, m.tested)) for m in members], [len(m.course.rows) for m in members]

    together, epochs = trained(configs)
    assert "init/gradient_norm/layer_1" in together[0]
    assert case != "divergence" or set(epochs) == {1, 3}  # so that those that go on have moved up
    assert [trained([c])[0][0] for c in configs] == together
    assert trained(configs[1:4])[0] == together[1:4]


def test_members_that_measure_something_else_share_no_pack():
    callbacks = [{}, {"dead_units": True}, {"dead_units": {"share": 0.5}}, {"gradient_flow": True}]
    signatures = [train.make_member(config(callbacks=c), {}).signature() for c in callbacks]
    assert len(set(signatures)) == 4
    assert train.make_member(config({"activation": "tanh"}, callbacks[1]), {}).signature() == signatures[1]


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


# --- off, they are not there; on, all else is as it was ---------------------------------------------------------------


@PACKED
@pytest.mark.parametrize("name", [*DIAGNOSIS, "all"])
def test_all_other_numbers_are_those_of_a_run_without_it(tmp_path, pack, name):
    model = {"norm": "batch", "dropout": 0.3, "schedule": "warmup_cosine", "lr": 0.02}
    callbacks = {"off": {}, "on": ALL if name == "all" else {name: True}}
    results = {state: train.fit(config(model, c), tmp_path / state, pack=pack) for state, c in callbacks.items()}
    on, off = results["on"].metrics, results["off"].metrics
    assert {n: v for n, v in on.items() if not callback_of(n)} == off
    own = {callback_of(n) for n in on} - {""}
    assert own == (set(DIAGNOSIS) if name == "all" else {name})
    rows = {state: rows_of(tmp_path / state) for state in callbacks}
    assert [{n: v for n, v in row.items() if not callback_of(n)} for row in rows["on"]] == rows["off"]
    assert not any(n.startswith("init/") for n in rows["on"][0])
    weights = [zoo.load(tmp_path / state).state_dict() for state in callbacks]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_they_are_off_by_default_and_keys_of_trials_stay():
    plain = {"model": "mlp", "data": "iris"}
    assert list(resolve(plain)["callbacks"]) == ["early_stopping", "model_checkpoint", "learning_rate_monitor"]
    off = {**plain, "callbacks": dict.fromkeys(DIAGNOSIS, False)}
    assert resolve(off) == resolve(plain)
    given = resolve(off)
    seed = given.pop("seed_everything")
    identity = DATAMODULES.load("iris").identity(given["data"])
    assert trial_key("fit", given, identity, seed) == "c82efba27017acbf"


@PACKED
def test_a_run_that_diverged_has_none(tmp_path, pack):
    given = config({"optimizer": "sgd", "lr": 1e30, "activation": "identity"}, gradient_clip_val=None)
    result = train.fit(given, tmp_path, pack=pack)
    assert (result.status, result.metrics) == ("diverged", {})


@pytest.mark.parametrize(
    ("callbacks", "sentence"),
    [
        ({"gradient_flow": {"every_n_steps": 0}}, r"gradient_flow\.every_n_steps must be at least 1, got 0"),
        ({"gradient_clipping": {"every_n_steps": -1}}, r"gradient_clipping\.every_n_steps must be at least 1, got -1"),
        ({"dead_units": {"threshold": 0.0}}, r"dead_units\.threshold must lie in \(0, \.5\], got 0\.0"),
        ({"dead_units": {"share": 1.5}}, r"dead_units\.share must lie in \(0, 1\], got 1\.5"),
        ({"gradient_flow": {"every": 3}}, r"unknown option of the callback 'gradient_flow' 'every'"),
        ({"dead_unit": True}, r"unknown callback 'dead_unit'\. Did you mean 'dead_units'\?"),
    ],
    ids=str,
)
def test_bad_options_are_refused_and_nothing_is_written(tmp_path, callbacks, sentence):
    with pytest.raises(zoo.InputError, match=sentence):
        train.fit(config(callbacks=callbacks), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["dead_units", "activation_statistics"])
def test_a_compiled_net_is_not_looked_into(tmp_path, name):
    with pytest.raises(zoo.InputError, match=f"{name} looks between layers, which model.compile fuses"):
        train.fit(config({"compile": True}, {name: True}), tmp_path / "out")


def test_options_stand_on_the_command_line(tmp_path, capsys):
    from zoo.cli import main

    words = "fit --model mlp --data wine --trainer.max_epochs 1 --callbacks.gradient_flow.every_n_steps 50"
    assert main([*words.split(), "--callbacks.dead_units", "true", "--out", str(tmp_path / "run")]) == 0
    assert "update_ratio" in (said := capsys.readouterr().out)
    assert "init/" not in said
    config = json.loads((tmp_path / "run/result.json").read_text())["metrics"]
    assert {"gradient_norm/layer_3", "init/dead_units/layer_2"} <= config.keys()


# --- studies ----------------------------------------------------------------------------------------------------------


def test_names_say_which_way_is_better_where_there_is_one():
    assert (direction("dead_units/layer_1"), direction("init/saturated_units/layer_12")) == ("min", "min")
    assert has_direction("init/dead_units/layer_1")
    assert not has_direction("init/gradient_norm/layer_1")
    assert not has_direction("clipped_steps")
    assert has_direction("test/accuracy")
    assert callback_of("gradient_norm/before_clipping") == "gradient_clipping"
    assert callback_of("init/gradient_norm/layer_1") == "gradient_flow"
    assert callback_of("dead_units") == callback_of("test/loss") == ""


STUDY = """
base:
  model: {name: mlp, hidden_dims: [8]}
  data: wine
  trainer: {max_epochs: 2, accelerator: cpu}
  callbacks: CALLBACKS
vary:
  model.activation: [relu, tanh]
seeds: 2
baseline: {model.activation: relu}
metric: METRIC
margin: 0.1
"""


def bench(folder, metric, callbacks="{gradient_flow: true}", options=(), **changes):
    text = STUDY.replace("METRIC", metric).replace("CALLBACKS", callbacks)
    for old, new in changes.values():
        text = text.replace(old, new)
    (folder / "flow.yaml").write_text(text)
    return main(["run", str(folder / "flow.yaml"), "--out", str(folder / "runs"), "--workers", "1", *options])


UNDIRECTED = "{name: gradient_norm/layer_1, mode: max}"


def test_a_study_compares_such_a_metric(tmp_path):
    assert bench(tmp_path, "{name: init/gradient_norm/layer_1, mode: max}") == 0
    with (tmp_path / "runs/flow/trials.csv").open() as file:
        values = {row["key"]: float(row["value"]) for row in csv.DictReader(file)}
    for key, value in values.items():
        record = json.loads((tmp_path / f"runs/flow/trials/{key}/result.json").read_text())
        assert record["metrics"]["init/gradient_norm/layer_1"] == value > 0
        assert record["environment"]["pack_size"] == 4


@pytest.mark.parametrize(
    ("metric", "callbacks", "sentence"),
    [
        ("gradient_norm/layer_1", "{gradient_flow: true}", "which way is 'gradient_norm/layer_1' better?"),
        (UNDIRECTED.replace("_1", "_3"), "{gradient_flow: true}", "All variants must have the layer."),
        (UNDIRECTED, "{dead_units: true}", "With callbacks.gradient_flow true in all trials, its metrics are, too."),
        ("dead_units/layer_2", "{dead_units: true}", "Did you mean 'dead_units/layer_1'?"),
    ],
)
def test_a_metric_that_is_not_measured_is_refused_with_those_that_are(tmp_path, capsys, metric, callbacks, sentence):
    assert bench(tmp_path, metric, callbacks) == 2
    said = capsys.readouterr().err
    assert sentence in said
    if "which way" not in sentence:
        on = "gradient_flow" if "flow" in callbacks else "dead_units"
        assert all(name in said for name in diagnosis_names([on], 2, [1]))
    assert not (tmp_path / "runs").exists()


def test_a_layer_that_one_variant_lacks_is_refused(tmp_path, capsys):
    metric = UNDIRECTED.replace("_1", "_3")
    changes = {"vary": ("model.activation: [relu, tanh]", "model.hidden_dims: [[8, 8], [8]]")}
    changes["baseline"] = ("baseline: {model.activation: relu}", "baseline: {model.hidden_dims: [8, 8]}")
    assert bench(tmp_path, metric, **changes) == 2
    assert "All variants must have the layer." in capsys.readouterr().err


def test_explain_keeps_those_apart_that_measure_something_else(tmp_path, capsys):
    changes = {
        "vary": ("model.activation: [relu, tanh]", "callbacks.dead_units: [true, false]"),
        "baseline": ("baseline: {model.activation: relu}", "baseline: {callbacks.dead_units: true}"),
    }
    assert bench(tmp_path, "test/accuracy", "{gradient_clipping: true}", ["--explain"], **changes) == 0
    said = capsys.readouterr().err
    assert said.count("one pack of 2 trials") == 2
    assert "alone, since" not in said
    records = [json.loads(file.read_text()) for file in (tmp_path / "runs/flow/trials").glob("*/result.json")]
    assert [record["environment"]["pack_size"] for record in records] == [2] * 4
    bare = [{n: v for n, v in r["metrics"].items() if callback_of(n) != "dead_units"} for r in records]
    assert len({json.dumps(metrics, sort_keys=True) for metrics in bare}) == 2  # by seed alone

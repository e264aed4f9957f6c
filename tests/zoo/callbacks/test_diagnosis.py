"""The diagnosis callbacks: numbers agree with autograd by hand, and packs agree with Lightning."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.callbacks.diagnosis_runs import ALL, PACKED, config, rows_of
from zoo import train
from zoo.pack import Pack
from zoo.parts.metric_names import DIAGNOSIS, callback_of, diagnosis_names


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
        whole = len(self.loader) // accumulate * accumulate
        for number, (x, y) in enumerate(self.loader):
            gathered = accumulate if number < whole else len(self.loader) - whole
            (F.cross_entropy(self.model(x), y) / gathered).backward()
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

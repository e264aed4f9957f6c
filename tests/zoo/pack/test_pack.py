"""None"""

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from tests.zoo.pack.pack_runs import BASE, config, rows_of, state
from zoo import train
from zoo.pack import Member, Pack
from zoo.parts.layers import ACTIVATIONS
from zoo.parts.optim import OPTIMIZERS, SCHEDULES

REGRESSION = {"data": {"name": "diabetes", "batch_size": 13}}


# --- a member against the same run through Lightning ------------------------------------------------------------------

SAME = {
    **{name: {"model": {"activation": name}} for name in ACTIVATIONS},
    **{name: {"model": {"schedule": name}} for name in SCHEDULES},
    **{name: {"model": {"optimizer": name, "weight_decay": 1e-2}} for name in OPTIMIZERS},
    "no hidden layer": {"model": {"hidden_dims": []}},
    "layer norm": {"model": {"norm": "layer"}},
    "biases": {"model": {"bias_init": 0.3}},
    "dropout": {"model": {"dropout": 0.3}},
    "smoothing, weights": {"model": {"label_smoothing": 0.1, "class_weights": "balanced"}},
    "fixed weights": {"model": {"class_weights": [1, 2, 0.5]}},
    "sgd, higher rate": {"model": {"optimizer": "sgd", "lr": 0.05}},
    "sgd without momentum": {"model": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.0}},
    "steps": {"model": {"schedule": "step", "step_size": 2}},
    "warm-up": {"model": {"schedule": "warmup_cosine", "warmup_epochs": 1.5}},
    "impatient plateau": {"model": {"schedule": "plateau", "plateau_patience": 0, "lr": 0.1}},
    "clipped": {"trainer": {"gradient_clip_val": 0.05}},
    "not clipped": {"trainer": {"gradient_clip_val": None}},
    "clipped at 0, which is off": {"trainer": {"gradient_clip_val": 0}},
    "adamw without decay": {"model": {"optimizer": "adamw", "lr": 0.03}},
    "regression": REGRESSION,
    "batches of one": {"data": {"batch_size": 1}, "trainer": {"max_epochs": 2}},
    "odd widths": {"model": {"hidden_dims": [17, 5]}},
    "no callbacks": {
        "callbacks": {"early_stopping": None, "model_checkpoint": None, "learning_rate_monitor": None},
    },
    "another monitor": {
        "callbacks": {n: {"monitor": "val/accuracy"} for n in ("early_stopping", "model_checkpoint")},
    },
}


@pytest.mark.parametrize("case", SAME)
def test_a_member_learns_as_it_would_through_lightning(tmp_path, case):
    given = config(3, **SAME[case])
    packed, alone = (train.fit(given, tmp_path / str(pack), pack=pack) for pack in (True, False))
    assert packed.environment["pack_size"] == 1
    assert alone.environment["pack_size"] is None
    for mine, lightnings in zip(rows_of(tmp_path / "True"), rows_of(tmp_path / "False"), strict=True):
        assert list(mine) == list(lightnings)
        assert mine == pytest.approx(lightnings, rel=2e-4, abs=2e-5)
    assert packed.metrics == pytest.approx(alone.metrics, rel=2e-4, abs=2e-5)
    for fact in ("status", "best_epoch", "epochs_run", "n_parameters", "sizes"):
        assert getattr(packed, fact) == getattr(alone, fact)
    files = ({file.name for file in (tmp_path / str(pack)).iterdir()} for pack in (True, False))
    assert next(files) == next(files)


@pytest.mark.parametrize("data", [{"name": "digits", "batch_size": 62}, {"name": "diabetes", "batch_size": 40}])
def test_with_batch_norm_the_first_steps_agree(data):
    # Biases ahead of the norm have no gradient but rounding errors, which Adam blows up to whole steps: not for long.
    given = config(1, {"norm": "batch", "dropout": 0.2}, data=data)
    member = train.make_member(given, {})
    alone, _ = train.prepare(given, member.data)
    steps = Steps(alone, member)
    for step in range(3):
        mine, lightnings = steps.next()
        assert mine == pytest.approx(lightnings, rel=1e-5)
        if step == 0:
            statistics, norm = steps.stack.statistics[0], alone.net[2]
            assert statistics[:32].tolist() == pytest.approx(norm.running_mean.tolist(), rel=1e-5, abs=1e-6)
            assert statistics[32:64].tolist() == pytest.approx(norm.running_var.tolist(), rel=1e-5)


SEEDS, MARGIN = 20, 0.005
BLOCKS = {
    "plain": {},
    "batch norm": {"norm": "batch"},
    "dropout": {"dropout": 0.3},
    "batch norm, dropout": {"norm": "batch", "dropout": 0.3},
    "layer norm": {"norm": "layer"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BLOCKS)
def test_packed_and_unpacked_runs_are_statistically_equivalent(case):
    base = {"data": {"name": "digits"}, "trainer": {"max_epochs": 15}}
    configs = [config(seed, {"hidden_dims": [64, 64], **BLOCKS[case]}, **base) for seed in range(SEEDS)]
    members = [train.make_member(c, {}) for c in configs]
    Pack(members, torch.device("cpu")).fit()
    for metric, margin in (("test/accuracy", MARGIN), ("test/loss", 2 * MARGIN)):
        packed = np.array([member.tested[metric] for member in members])
        alone = np.array([lightnings(json.dumps(c))[metric] for c in configs])
        assert packed.std() > 0
        differences = packed - alone
        print(case, metric, differences.mean(), differences.std(ddof=1))
        if differences.std() == 0:
            assert abs(differences.mean()) < margin
            continue
        low = scipy.stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        high = scipy.stats.ttest_1samp(differences, margin, alternative="less").pvalue
        assert max(low, high) < 0.05  # two one-sided tests (Schuirmann 1987)


@cache
def lightnings(text):
    with tempfile.TemporaryDirectory() as folder:
        return train.fit(json.loads(text), folder, pack=False).metrics


class Steps:
    """The training losses of a model and of the same model as a pack of one, step by step."""

    def __init__(self, model, member):
        from zoo.pack.feed import Split, target_masses
        from zoo.pack.optim import StackedOptimizer
        from zoo.pack.stack import Stack
        from zoo.parts.optim import make_optimizer

        self.model, self.member = model.train(), member
        h, cpu = model.hparams, torch.device("cpu")
        self.optimizer = make_optimizer(h["optimizer"], model, h["lr"], h["momentum"], h["weight_decay"])
        generator = torch.Generator().manual_seed(member.seeds.dropout)
        self.stack = Stack([(member.model.net, member.blocks)], [generator], cpu)
        self.masses = target_masses(member.model, member.data.arrays("train")[1])
        self.feed = Split("train", [member.data], member.blocks, cpu, [self.masses])
        self.stacked = StackedOptimizer([h], self.stack.n_decaying, self.stack.parameters)
        self.stacked.set_lrs([h["lr"]])
        self.pack = Pack([member], cpu)
        self.batches = iter(member.data.train_dataloader())
        self.orders = iter(self.member.bounds)
        from datamodules.loader import epoch_order

        self.order = epoch_order(member.seeds.order, 0, self.feed.n)[0]
        torch.manual_seed(member.seeds.dropout)

    def next(self):
        start, stop = next(self.orders)
        rows = self.feed.pad(self.order[None, start:stop], len(self.feed.x) - 1)
        mass = self.feed.masses[rows].transpose(1, 2)
        out = self.stack.net.forward(self.feed.inputs(rows), stop - start, training=True)
        loss, gradient = self.pack._loss(out, mass)
        self.stack.net.backward(gradient)
        self.stacked.step(self.stack.parameters, self.stack.gradients)
        own = self.model.training_step(next(self.batches), 0)
        self.optimizer.zero_grad()
        own.backward()
        self.optimizer.step()
        return float(loss), own.item()


# --- the promise: a member's numbers do not depend on its pack --------------------------------------------------------


def trained(configs):
    members = [train.make_member(c, {}) for c in configs]
    Pack(members, torch.device("cpu")).fit()
    # As text: a NaN equals itself there, and all digits are compared.
    return [repr((m.course.rows, m.course.best_epoch, m.tested, state(m.model))) for m in members], members


def models(seeds=(0, 1), **axes):
    """A config for each combination of seeds and the values of the axes."""
    cells = [{}]
    for name, values in axes.items():
        cells = [{**cell, name: value} for cell in cells for value in values]
    return [(seed, cell) for seed in seeds for cell in cells]


SOME = ("relu", "gelu", "tanh")
ONE = str(Path(__file__).parent / "one_feature.csv")
TOGETHER = {
    "activations": [config(s, m) for s, m in models(activation=[a for a in ACTIVATIONS if a != "prelu"])],
    "prelu": [config(s, m) for s, m in models(range(5), activation=["prelu"])],
    "optimizers, rates, decay": [
        config(0, m)
        for _, m in models([0], optimizer=["sgd", "adam", "adamw", "rmsprop"], lr=[1e-3, 1e-2], weight_decay=[0.0, 0.1])
    ],
    "biases": [config(s, m) for s, m in models(bias_init=[None, 0.0, -1.0], initializer=["default", "orthogonal"])],
    "initializers": [config(s, m) for s, m in models(initializer=["zeros", "orthogonal", "xavier_uniform", "normal"])],
    "batch norm, dropout": [
        config(s, {"norm": "batch", **m}) for s, m in models(dropout=[0.0, 0.3, 0.5], activation=SOME)
    ],
    "layer norm": [config(s, {"norm": "layer", **m}) for s, m in models(activation=SOME)],
    "odd widths": [config(s, {"hidden_dims": [17, 5], **m}) for s, m in models(activation=SOME)],
    "odd widths, batch norm": [
        config(s, {"hidden_dims": [17, 5], "norm": "batch", **m}) for s, m in models(activation=SOME)
    ],
    "odd widths, layer norm": [
        config(s, {"hidden_dims": [17, 5], "norm": "layer", **m}) for s, m in models(activation=SOME)
    ],
    "wide": [
        config(s, {"hidden_dims": [256, 256], **m}, data={"name": "digits"}, trainer={"max_epochs": 1})
        for s, m in models(activation=SOME)
    ],
    "regression": [config(s, m, **REGRESSION) for s, m in models(activation=SOME)],
    "no hidden layer": [config(s, {"hidden_dims": []}) for s in range(5)],
    "a layer of one unit": [
        config(s, {"hidden_dims": [1, 8]}, data={"name": "digits"}, trainer={"max_epochs": 2}) for s in range(4)
    ],
    "an input of one feature": [config(s, data={"name": "csv", "path": ONE, "target": "y"}) for s in range(3)],
    "overflow beside clipping": [
        config(0, {"hidden_dims": [16, 16, 16], "lr": 1e6}, trainer={"gradient_clip_val": c}) for c in (None, 1.0)
    ],
    "batches of one, one unit": [
        config(s, {"hidden_dims": [1]}, data={"name": "iris", "batch_size": 1}, trainer={"max_epochs": 1})
        for s in range(3)
    ],
    "losses": [config(s, m) for s, m in models(label_smoothing=[0.0, 0.1], class_weights=[None, "balanced"])],
    "clipping": [config(s, trainer={"gradient_clip_val": c}) for s in range(3) for c in (0.05, None, 1.0)],
    "schedules": [config(0, m) for _, m in models([0], schedule=["plateau", "warmup_cosine", "step"], lr=[0.01, 0.1])],
    "early stopping": [
        config(s, m, {"early_stopping": {"patience": 1}}, trainer={"max_epochs": 12})
        for s, m in models(lr=[1e-3, 0.03, 0.3], activation=SOME)
    ],
    "divergence": [config(s, {"optimizer": "sgd", **m}) for s, m in models(lr=[1e-3, 1e30], activation=SOME)],
}


@pytest.mark.parametrize("case", TOGETHER)
def test_a_members_numbers_do_not_depend_on_its_pack(case):
    configs = TOGETHER[case]
    together, _ = trained(configs)
    assert [trained([c])[0][0] for c in configs] == together
    some = torch.randperm(len(configs), generator=torch.Generator().manual_seed(1)).tolist()[
        : max(2, len(configs) // 2)
    ]
    assert trained([configs[k] for k in some])[0] == [together[k] for k in some]


def test_the_cases_stop_early_and_diverge():
    assert len({len(member.course.rows) for member in trained(TOGETHER["early stopping"])[1]}) > 2
    steps = [member.course.diverged_step for member in trained(TOGETHER["divergence"])[1]]
    assert None in steps
    assert any(step is not None for step in steps)


def test_members_of_a_pack_share_the_data_of_their_seed():
    shared = {}
    members = [train.make_member(config(s, m), shared) for s, m in models(activation=SOME)]
    assert len({id(m.data) for m in members}) == 2


def test_initial_weights_are_those_of_the_run_alone():
    given = config(7, {"initializer": "orthogonal"})
    torch.manual_seed(99)
    assert state(train.make_member(given, {}).model) == state(train.prepare(given)[0])


def test_members_of_a_fixed_split_share_its_data():
    shared = {}
    members = [train.make_member(config(s, data={**BASE["data"], "seed": 5}), shared) for s in (0, 1)]
    assert members[0].data is members[1].data
    assert members[0].seeds.order != members[1].seeds.order


def test_member_refuses_nothing_that_was_checked():
    given = config()
    assert isinstance(Member(given, *train.prepare(given)), Member)

import csv
import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

import zoo
from datamodules import create_datamodule
from zoo import train
from zoo.config import merge, resolve
from zoo.outputs.checkpoint import read_checkpoint
from zoo.pack import Member, Pack, largest_pack, metrics, reason_to_run_alone, run
from zoo.pack.shape import blocks_of
from zoo.parts.layers import ACTIVATIONS
from zoo.parts.metrics import make_metrics
from zoo.parts.optim import OPTIMIZERS, SCHEDULES

BASE = {
    "model": {"name": "mlp", "hidden_dims": [32, 32], "schedule": "cosine", "lr": 3e-3},
    "data": {"name": "wine", "batch_size": 32},
    "trainer": {"max_epochs": 4, "accelerator": "cpu"},
}
REGRESSION = {"data": {"name": "diabetes", "batch_size": 13}}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(seed=0, model=(), callbacks=(), **sections):
    over = {"model": dict(model), "callbacks": dict(callbacks), **sections}
    return resolve({**merge(merge(BASE, {"data": over.pop("data", BASE["data"])}), over), "seed_everything": seed})


def rows_of(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


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


def state(model):
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}


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


# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_classes"), [(2, 2), (50, 2), (333, 10), (1500, 4)])
@pytest.mark.parametrize("ties", [False, True])
def test_metrics_are_torchmetrics_own(n, n_classes, ties):
    generator = torch.Generator().manual_seed(n)
    logits = torch.randn(3, n_classes, n, generator=generator)
    logits = logits.round() if ties else logits
    y = torch.randint(n_classes, (3, n), generator=generator)
    y[:, :n_classes] = torch.arange(n_classes)[:n]
    y[2] = y[2].clamp(max=max(n_classes - 2, 0))  # a class that is not there
    mine = metrics.classification(logits, y)
    for member in range(3):
        theirs = make_metrics(n_classes)
        theirs.update(logits.softmax(1)[member].T, y[member])  # of another layout, rounding breaks other ties
        own = {name: float(values[member]) for name, values in mine.items()}
        assert own == pytest.approx({k: float(v) for k, v in theirs.compute().items()}, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("unit", [1.0, 1e-6])
@pytest.mark.parametrize("n", [1, 2, 77])
def test_metrics_of_a_regression_are_those_of_a_run_alone(unit, n):
    generator = torch.Generator().manual_seed(n)
    out, y = (unit * (30 * torch.randn(3, n, generator=generator) + 90) for _ in range(2))
    y[2] = 7 * unit
    mine = metrics.regression(out, y)
    for member in range(3):
        theirs = make_metrics(1)
        theirs.update(out[member], y[member])
        own = {name: float(values[member]) for name, values in mine.items()}
        assert own == pytest.approx({k: float(v) for k, v in theirs.compute().items()}, rel=1e-4, nan_ok=True)


# --- what cannot be packed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"model": {"name": "cnn"}, "data": {"name": "digits"}}, "Conv2d cannot be stacked"),
        ({"model": {"name": "lenet5"}, "data": {"name": "digits"}}, "ZeroPad2d cannot be stacked"),
        ({"trainer": {"precision": "bf16-mixed"}}, "trainer.precision is given"),
        ({"trainer": {"devices": 2}}, "other devices"),
        ({"trainer": {"max_epochs": -1}}, "how many epochs"),
        ({"trainer": {"max_epochs": 0}}, "how many epochs"),
        ({"trainer": {"accumulate_grad_batches": 2}}, "trainer.accumulate_grad_batches is given"),
    ],
)
def test_what_cannot_be_packed_says_why(over, reason):
    given = resolve(merge(BASE, over))
    assert reason in reason_to_run_alone(given, *train.prepare(given))


def test_a_model_with_steps_of_its_own_runs_alone():
    class Mine(zoo.ZooModule):
        def __init__(self, input_shape, num_classes):
            super().__init__(input_shape, num_classes)
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(13, num_classes))

        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx)

    data = create_datamodule("wine", seed=0)
    data.setup()
    assert "training_step of its own" in reason_to_run_alone(config(), Mine((13,), 3), data)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.Linear(4, 3), nn.LeakyReLU(0.3)], "LeakyReLU cannot be stacked"),
        ([nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3)], "BatchNorm1d cannot be stacked"),
        ([nn.Linear(4, 3), nn.Dropout(1.0)], "Dropout cannot be stacked"),
        ([layer := nn.Linear(4, 4), nn.ReLU(), layer], "share weights"),
        ([nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=0.5)], "BatchNorm1d cannot be stacked"),
        ([nn.Linear(4, 3), nn.Dropout(0.1), nn.ReLU()], "ReLU cannot be stacked"),
        ([nn.ReLU(), nn.Linear(4, 3)], "ReLU cannot be stacked"),
        ([nn.Linear(4, 3).double()], "single precision"),
        ([nn.Linear(4, 3).requires_grad_(False)], "frozen"),
        ([nn.Linear(4, 3), nn.Flatten()], "flattens between"),
        ([nn.Flatten()], "no linear layer"),
    ],
)
def test_other_nets_are_not_stacked(layers, reason):
    assert reason in blocks_of(nn.Sequential(*layers))


def test_hooks_keep_a_net_out():
    net = nn.Sequential(nn.Linear(4, 3))
    net[0].register_forward_hook(lambda *args: None)
    assert "cannot be stacked" in blocks_of(net)


def test_what_pays_and_what_fits_bound_a_pack():
    small, wide = (blocks_of(nn.Sequential(nn.Linear(w, w), nn.ReLU(), nn.Linear(w, 10))) for w in (32, 2048))
    assert largest_pack(small, batch_size=64, n_rows=1000) == 100
    assert largest_pack(wide, batch_size=64, n_rows=1000) == 1
    assert largest_pack(small, batch_size=64, n_rows=1_000_000) == 8  # of 128 MB each, twice
    assert largest_pack(small, batch_size=50_000, n_rows=1000) < 2
    assert largest_pack(small, batch_size=64, n_rows=10**9) == 1


def test_a_checkpoint_of_a_packed_run_is_like_any_other(tmp_path):
    result = train.fit(config(2, {"norm": "batch"}), tmp_path)
    model = zoo.load(tmp_path)
    assert model.config["seed_everything"] == 2
    data = create_datamodule(**model.config["data"])
    x, y = data.arrays("test")
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean()
    assert result.metrics["test/accuracy"] == pytest.approx(float(accuracy))
    assert type(model).load_from_checkpoint(tmp_path / "best.ckpt").hparams == model.hparams


def test_a_diverged_run_leaves_the_weights_of_its_best_epoch(tmp_path):
    over = {"trainer": {"max_epochs": 60, "gradient_clip_val": None}, "data": {"name": "diabetes"}}
    given = config(0, {"hidden_dims": [16], "optimizer": "sgd", "lr": 0.3, "schedule": "constant"}, **over)
    results = [train.fit(given, tmp_path / str(pack), pack=pack) for pack in (True, False)]
    assert {result.status for result in results} == {"diverged"}
    packed, alone = (read_checkpoint(tmp_path / str(pack)) for pack in (True, False))
    assert packed["epoch"] == alone["epoch"]
    assert packed["state_dict"].keys() == alone["state_dict"].keys()
    for name, weights in packed["state_dict"].items():
        assert weights.isfinite().all()
        assert torch.allclose(weights, alone["state_dict"][name], rtol=1e-3, atol=1e-4), name


def test_a_run_that_is_ended_leaves_its_best_epoch_so_far(tmp_path, monkeypatch):
    def end(bar, member):
        if len(member.course.rows) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "SAVE_EVERY", -1)
    monkeypatch.setattr(run._Bar, "show", end)
    given = config(0, {"norm": "batch"})
    with pytest.raises(KeyboardInterrupt):
        train.fit(given, tmp_path)
    assert [row["epoch"] for row in rows_of(tmp_path)] == [0, 1]
    saved = read_checkpoint(tmp_path)
    assert saved["epoch"] in (0, 1)
    assert int(saved["state_dict"]["net.2.num_batches_tracked"]) == saved["global_step"] > 0
    assert not torch.equal(saved["state_dict"]["net.1.weight"], train.prepare(given)[0].state_dict()["net.1.weight"])


def test_no_bar_where_none_is_wanted(tmp_path, capsys):
    train.fit(config(trainer={"enable_progress_bar": False}), tmp_path / "off", progress=True)
    assert "epochs" not in capsys.readouterr().err
    train.fit(config(), tmp_path / "on", progress=True)
    assert "epochs" in capsys.readouterr().err


def test_members_of_a_fixed_split_share_its_data():
    shared = {}
    members = [train.make_member(config(s, data={**BASE["data"], "seed": 5}), shared) for s in (0, 1)]
    assert members[0].data is members[1].data
    assert members[0].seeds.order != members[1].seeds.order


def test_member_refuses_nothing_that_was_checked():
    given = config()
    assert isinstance(Member(given, *train.prepare(given)), Member)

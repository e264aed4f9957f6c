"""`zoo doctor`: planted faults are found by the check meant for them, and what is sound passes it."""

import copy
from collections.abc import Callable

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import zoo
from datamodules import create_datamodule, list_datamodules
from datamodules.base import ArrayDataModule
from datamodules.tabular import Digits
from zoo.config import read_config, resolve
from zoo.doctor import CHECKS, Finding, diagnose, examine
from zoo.doctor.trace import trace
from zoo.models.base import ZooModule
from zoo.train import prepare

DEEP = [32] * 11
TABLES = ("mammography", "polish_bankruptcy", "california_housing")
NEED_FILES = ("csv", *TABLES, "text", "nlu_home", "mnist", "fashion_mnist", "cifar10")


class Raw(Digits):
    """Grey values from 0 to 16, as they come."""

    def setup(self, stage: str | None = None) -> None:
        fresh = not self._arrays
        super().setup(stage)
        if fresh:
            self._arrays = {split: (x * 6.0 + 4.9, y) for split, (x, y) in self._arrays.items()}


class Shuffled(Digits):
    """Labels that have nothing to do with the images."""

    def load(self):
        source = super().load()
        order = torch.randperm(len(source.y), generator=torch.Generator().manual_seed(3)).numpy()
        return type(source)(source.x, source.y[order], source.class_names)


class Wrongly(nn.Module):
    """Images (B, 1, 8, 8) as (B, 64), which mixes them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(64, -1).t()


@pytest.fixture(scope="module")
def digits() -> ArrayDataModule:
    return create_datamodule("digits")


def mlp(**hparams) -> ZooModule:
    torch.manual_seed(0)
    return zoo.create_model("mlp", input_shape=(1, 8, 8), num_classes=10, **{"hidden_dims": [32, 32], **hparams})


def of(*layers: nn.Module) -> ZooModule:
    model = mlp()
    model.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), *layers, nn.Linear(32, 10))
    return model


def changed(change: Callable[[nn.Sequential], object], **hparams) -> ZooModule:
    model = mlp(**hparams)
    with torch.no_grad():
        change(model.net)
    return model


def look(check: str, model: L.LightningModule, data: L.LightningDataModule, **options) -> Finding:
    findings = examine(model, data, checks=(check,), **options)
    assert [finding.check for finding in findings] == ["forward", check]
    return findings[1]


class Functional(L.LightningModule):
    """A net whose forward calls functions, and whose training step is its own."""

    def __init__(self, act=F.relu, before=nn.Identity(), last=nn.Identity(), first=0.0, scale=1.0):  # noqa: B008
        super().__init__()
        torch.manual_seed(0)
        self.one, self.norm, self.two = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 10)
        nn.init.constant_(self.norm.bias, first)
        nn.init.constant_(self.norm.weight, scale)
        self.act, self.before, self.last = act, before, last

    def forward(self, x):
        return self.two(self.act(self.norm(self.before(self.one(x.flatten(1))))))

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.last(self(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


# Fault: the check meant for it, the model, the data where those are at fault, and the clean twin of the model.
FAULTS = {
    "double softmax": ("softmax", lambda: changed(lambda net: net.append(nn.Softmax(1))), None, mlp),
    "frozen layer": ("gradients", lambda: changed(lambda net: net[1].requires_grad_(False)), None, mlp),
    "batch leak": ("batch_leak", lambda: changed(lambda net: net.__setitem__(0, Wrongly())), None, mlp),
    "lr 10 of adam": ("learning_rate", lambda: mlp(lr=10.0), None, mlp),
    "lr 10 of sgd": (
        "learning_rate",
        lambda: mlp(lr=10.0, optimizer="sgd"),
        None,
        lambda: mlp(lr=0.1, optimizer="sgd"),
    ),
    "zero init": ("gradients", lambda: mlp(initializer="zeros"), None, mlp),
    "dead relus": ("dead_units", lambda: changed(lambda net: net[3].bias.fill_(-100.0)), None, mlp),
    "labels shuffled": ("zero_input", mlp, Shuffled, mlp),
    "dropout before norm": (
        "dropout_before_norm",
        lambda: of(nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(32)),
        None,
        lambda: of(nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)),
    ),
    "dropout before layer norm": (
        "dropout_before_norm",
        lambda: of(nn.Dropout(0.5), nn.ReLU(), nn.LayerNorm(32)),
        None,
        lambda: of(nn.LayerNorm(32), nn.ReLU(), nn.Dropout(0.5)),
    ),
    "saturated sigmoids": (
        "dead_units",
        lambda: changed(lambda net: net[1].weight.mul_(100.0), activation="sigmoid"),
        None,
        lambda: mlp(activation="sigmoid"),
    ),
    "saturated tanh": (
        "dead_units",
        lambda: changed(lambda net: net[1].weight.mul_(100.0), activation="tanh"),
        None,
        lambda: mlp(activation="tanh"),
    ),
    "unnormalised input": ("input_scale", mlp, Raw, mlp),
    "sure from the start": ("initial_loss", lambda: changed(lambda net: net[-1].weight.mul_(300.0)), None, mlp),
    "vanishing gradients": (
        "gradient_flow",
        lambda: mlp(activation="sigmoid", hidden_dims=DEEP),
        None,
        lambda: mlp(hidden_dims=DEEP, initializer="kaiming_normal", norm="batch"),
    ),
    "exploding gradients": ("gradient_flow", lambda: changed(lambda net: net[1].weight.mul_(1e-8)), None, mlp),
    "vanishing signal": (
        "initializer",
        lambda: mlp(activation="sigmoid", hidden_dims=DEEP),
        None,
        lambda: mlp(hidden_dims=DEEP, initializer="kaiming_normal"),
    ),
    "units alike": ("initializer", lambda: changed(lambda net: net[3].weight.fill_(0.1)), None, mlp),
    "dead relus by function": ("dead_units", lambda: Functional(first=-100.0), None, lambda: Functional()),
    "saturated by function": (
        "dead_units",
        lambda: Functional(torch.sigmoid, scale=100.0),
        None,
        lambda: Functional(torch.sigmoid),
    ),
    "dropout by function before norm": (
        "dropout_before_norm",
        lambda: Functional(before=F.dropout),
        None,
        lambda: Functional(),
    ),
    "softmax in the training step": ("softmax", lambda: Functional(last=nn.Softmax(1)), None, lambda: Functional()),
    "no way to learn": ("overfit_batch", lambda: mlp(initializer="zeros"), None, mlp),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_the_check_meant_for_it_and_the_clean_twin_passes(fault, digits):
    check, faulty, data, clean = FAULTS[fault]
    found = look(check, faulty(), data() if data else digits)
    assert found.level == "broken", found
    assert found.measured
    assert found.why
    assert found.change
    sound = look(check, clean(), digits)
    assert sound.level == "ok", sound
    assert (sound.why, sound.change) == ("", "")


def test_every_check_has_a_fault_that_it_finds():
    elsewhere = {"class_imbalance", "batch_norm_batch"}
    assert {check for check, *_ in FAULTS.values()} | elsewhere == set(CHECKS)


@pytest.mark.parametrize(
    ("check", "hparams", "params", "level", "words"),
    [
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 2}, "broken", "2 samples a batch"),
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 8}, "remark", "8 samples a batch"),
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 31}, "remark", "3 in an epoch's last"),
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 32}, "ok", "30 in an epoch's last"),
        ("batch_norm_batch", {"norm": "layer"}, {"batch_size": 2}, "ok", "No batch norm"),
        ("initializer", {"hidden_dims": [32] * 8, "initializer": "xavier_normal"}, {}, "remark", "like 2^(-L/2)"),
        ("initializer", {"activation": "tanh", "initializer": "kaiming_normal"}, {}, "remark", "xavier_normal"),
        ("initializer", {"activation": "tanh", "initializer": "xavier_normal"}, {}, "ok", "2 activations"),
        ("initializer", {"activation": "tanh", "hidden_dims": [32] * 5}, {}, "remark", "too small for 5 layers"),
        ("learning_rate", {"lr": 1e-6}, {}, "remark", "many times as long"),
        ("learning_rate", {"lr": 0.3, "schedule": "one_cycle"}, {}, "remark", "near or above"),
        ("dropout_before_norm", {"norm": "batch", "dropout": 0.3}, {}, "remark", "one layer before a batch norm"),
        ("dropout_before_norm", {"norm": "layer", "dropout": 0.3}, {}, "ok", "No norm sees"),
        ("dropout_before_norm", {"norm": "batch", "dropout": [0.0, 0.3]}, {}, "ok", "No norm sees"),
        ("initial_loss", {"initializer": "normal", "init_scale": 0.4}, {}, "broken", "ln 10 is 2.3"),
        ("class_imbalance", {}, {"train_size": 5}, "broken", "0 rows"),
        ("class_imbalance", {}, {}, "ok", "rarest class has 111 rows"),
    ],
)
def test_levels_follow_what_is_measured(check, hparams, params, level, words):
    found = look(check, mlp(**hparams), create_datamodule("digits", **params))
    assert found.level == level, found
    assert words in f"{found.measured} {found.why} {found.change}"


def test_a_rare_class_without_weights_is_remarked():
    data = create_datamodule("fraud")
    torch.manual_seed(0)
    plain, weighted = (
        zoo.create_model("mlp", input_shape=(20,), num_classes=2, class_weights=w) for w in (None, "balanced")
    )
    found = look("class_imbalance", plain, data)
    assert found.level == "remark"
    assert "--model.class_weights balanced" in found.change
    assert look("class_imbalance", weighted, data).level == "ok"


@pytest.mark.parametrize(("algorithm", "learns"), [("norm", False), ("value", True)])
def test_gradients_are_clipped_as_in_the_run(algorithm, learns, digits):
    config = {"trainer": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": algorithm}}
    found = look("learning_rate", mlp(optimizer="sgd", lr=0.1), digits, config=config)
    assert (found.numbers["loss_after_own_steps"] < 0.8 * found.numbers["loss_at_start"]) is learns


@pytest.mark.parametrize(("data", "level"), [("xor", "broken"), ("moons", "remark"), ("iris", "ok")])
def test_a_perceptron_learns_a_batch_by_heart_as_far_as_a_line_can(data, level):
    assert {f.check: f.level for f in diagnose({"model": "perceptron", "data": data})}["overfit_batch"] == level


def test_a_net_that_learns_nothing_from_good_data_is_blamed_itself(digits):
    found = look("zero_input", mlp(activation="sigmoid", hidden_dims=DEEP), digits)
    assert found.level == "broken"
    assert "not by this net" in found.why
    assert "labels shuffled" in look("zero_input", mlp(), Shuffled()).why


def test_outputs_that_are_too_sure_are_not_taken_for_data_that_say_nothing(digits):
    found = look("zero_input", mlp(initializer="normal", init_scale=1.0), digits)
    assert found.level == "remark"
    assert found.numbers["gain"] < 0
    assert found.numbers["association"] > 4


def test_a_last_layer_that_starts_at_zero_is_no_fault(digits):
    model = changed(lambda net: net[-1].weight.zero_())
    findings = examine(model, digits, checks=("gradients", "gradient_flow", "initializer"))
    assert [finding.level for finding in findings] == ["ok"] * 4


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (nn.Flatten(0), "shape (80,), not (8, 10)"),
        (nn.Linear(3, 3), "raises RuntimeError"),
        (nn.Threshold(1e9, float("nan")), "not finite"),
    ],
    ids=["shape", "raises", "nan"],
)
def test_a_model_without_usable_outputs_gets_that_one_finding(last, words, digits):
    (found,) = examine(changed(lambda net: net.append(last)), digits)
    assert (found.check, found.level) == ("forward", "broken")
    assert words in found.measured


def test_a_first_layer_that_is_dead_as_a_whole_carries_no_signal(digits):
    found = look("initializer", changed(lambda net: net[1].bias.fill_(-100.0)), digits)
    assert (found.level, found.measured) == ("broken", "2 activations; the first carries no signal.")


def test_an_activation_at_the_end_is_remarked(digits):
    assert look("softmax", changed(lambda net: net.append(nn.Sigmoid())), digits).level == "remark"

    class Gated(Functional):
        def forward(self, x):
            return super().forward(x) * torch.sigmoid(x.mean((1, 2, 3)))[:, None]

    assert look("softmax", Gated(), digits).level == "ok"  # a sigmoid is the last layer to run, and not the end


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (lambda y: y + 1, "Targets run from 1 to 10, and there are 10 classes."),
        (lambda y: F.one_hot(y, 10).float(), "Targets have shape (1150, 10) and type float32."),
    ],
)
def test_targets_that_are_no_numbers_of_classes_get_one_finding(targets, words):
    data = Digits()
    data.setup()
    data._arrays = {split: (x, targets(y)) for split, (x, y) in data._arrays.items()}
    (found,) = examine(mlp(), data)
    assert (found.check, found.level, found.measured) == ("forward", "broken", words)


def test_targets_that_are_not_standardised_are_found():
    data = create_datamodule("diabetes")
    data.setup()
    torch.manual_seed(0)
    model = zoo.create_model("mlp", input_shape=(10,), num_classes=1)
    assert look("initial_loss", model, data).level == "ok"
    data._arrays = {split: (x, y * 77 + 450) for split, (x, y) in data._arrays.items()}
    assert look("initial_loss", model, data).level == "broken"


def test_features_of_very_different_size_and_constants():
    class Table(Digits):
        def setup(self, stage: str | None = None) -> None:
            fresh = not self._arrays
            super().setup(stage)
            if fresh:
                size = torch.logspace(-3, 0, 64)
                self._arrays = {split: (x.flatten(1) * size, y) for split, (x, y) in self._arrays.items()}

    torch.manual_seed(0)
    model = zoo.create_model("mlp", input_shape=(64,), num_classes=10)
    found = look("input_scale", model, Table())
    assert found.level == "remark"
    assert "constant" in found.measured
    assert found.numbers["smallest_std"] < 0.01


# --- the whole examination ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_of_the_zoo_is_sound_on_digits_as_it_comes(name):
    findings = diagnose({"model": name, "data": "digits"})
    assert [finding.check for finding in findings] == ["forward", *CHECKS]
    assert [finding for finding in findings if finding.level == "broken"] == []


@pytest.mark.parametrize(
    "config",
    [{"model": "mlp", "data": "diabetes"}, {"model": "perceptron", "data": "iris"}]
    + [read_config(name) for name in ("regression_mlp", "fraud_mlp")],
    ids=["mlp on diabetes", "perceptron on iris", "regression_mlp", "fraud_mlp"],
)
def test_other_set_ups_are_sound_too(config):
    assert [finding for finding in diagnose(config) if finding.level == "broken"] == []


def test_the_model_and_the_generators_stay_as_they_were_and_the_findings_are_the_same_again(digits):
    model = mlp(norm="batch", dropout=0.2).eval()
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    first = examine(model, digits, {"seed_everything": 5})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not model.training
    assert not model._batches["train"]
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert examine(model, digits, {"seed_everything": 5}) == first


def test_a_trained_model_and_one_attached_to_a_trainer_can_be_examined(digits):
    model, data = prepare(resolve({"model": "mlp", "data": "digits"}))
    trainer = L.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model, datamodule=data)
    findings = examine(model, data)
    assert model.trainer is trainer
    assert [f.check for f in findings if f.level == "broken"] == []


class Own(L.LightningModule):
    """None of this zoo's: its own loss, optimizer and data."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        self.faulty = faulty

    def forward(self, x):
        x = self.layers(x)
        return x.softmax(1) if self.faulty else x

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return {"loss": loss}

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


class OwnData(L.LightningDataModule):
    """Three clouds of points behind DataLoaders."""

    def setup(self, stage):
        generator = torch.Generator().manual_seed(0)
        y = torch.arange(300) % 3
        self.rows = TensorDataset(torch.randn(300, 4, generator=generator) + F.one_hot(y, 4) * 3.0 - 0.75, y)

    def train_dataloader(self):
        return DataLoader(self.rows, batch_size=32)

    def val_dataloader(self):
        return DataLoader(self.rows, batch_size=300)


def test_a_model_and_data_of_ones_own_are_examined(recwarn):
    torch.manual_seed(0)
    levels = {f.check: f.level for f in examine(Own(faulty=False), OwnData())}
    assert set(levels) == {"forward", *CHECKS}
    assert "broken" not in levels.values(), levels
    assert {f.check: f.level for f in examine(Own(faulty=True), OwnData())}["softmax"] == "broken"
    assert not [w for w in recwarn if "log" in str(w.message)]


def test_what_no_optimizer_has_is_not_trained(digits):
    class Partly(Functional):
        def configure_optimizers(self):
            return [torch.optim.SGD(self.two.parameters(), 0.1), torch.optim.SGD(self.norm.parameters(), 0.1)], []

    found = look("gradients", Partly(), digits)
    assert found.level == "broken"
    assert "in no optimizer: one.weight, one.bias" in found.measured
    assert "two.weight" not in found.measured


def test_models_that_ask_for_a_trainer_are_examined_as_far_as_they_can_be(digits):
    class Scheduled(Functional):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1 / self.trainer.estimated_stepping_batches)

    levels = {f.check: f for f in examine(Scheduled(), digits)}
    assert [f.check for f in levels.values() if f.level == "broken"] == []
    assert "configure_optimizers raises RuntimeError" in levels["learning_rate"].measured

    class Mute(Functional):
        def training_step(self, batch, batch_idx):
            raise ValueError

    (found,) = examine(Mute(), digits)
    assert (found.check, found.level) == ("forward", "broken")
    assert "The training step raises ValueError: no message" in found.measured


def test_regression_targets_may_stand_in_a_column():
    class Line(L.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, batch_idx):
            return F.mse_loss(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 3e-3)

    class Lines(OwnData):
        def setup(self, stage):
            super().setup(stage)
            x = self.rows.tensors[0]
            y = x.sum(1, keepdim=True)
            self.rows = TensorDataset(x, (y - y.mean()) / y.std())

    findings = {f.check: f for f in examine(Line(), Lines())}
    assert [f for f in findings.values() if f.level == "broken"] == []
    assert findings["zero_input"].numbers["loss"] < 0.2
    assert findings["initial_loss"].numbers["loss"] < 3


def test_layers_are_listed_in_the_order_in_which_they_run():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.last(torch.relu(self.first(x)))

    assert [step.name for step in trace(Backwards(), torch.zeros(2, 4))] == ["first", "relu()", "last"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "robust_mlp"])
@pytest.mark.parametrize("data", [n for n in list_datamodules() if n not in NEED_FILES])
def test_nets_that_take_all_data_are_sound_on_every_set_without_files(model, data):
    assert [finding for finding in diagnose({"model": model, "data": data}) if finding.level == "broken"] == []


def test_a_net_frozen_as_a_whole_and_inputs_that_are_not_finite_are_findings_too(digits):
    levels = {f.check: f.level for f in examine(mlp().requires_grad_(False), digits)}
    assert levels["gradients"] == levels["overfit_batch"] == levels["zero_input"] == "broken"

    class Holes(Raw):
        def setup(self, stage: str | None = None) -> None:
            super().setup(stage)
            for x, _ in self._arrays.values():
                x[::5] = float("nan")

    assert "broken" in {f.level for f in examine(mlp(), Holes())}

"""`zoo doctor`: the whole examination, of the models of the zoo and of the user's own."""

import copy

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import zoo
from datamodules import list_datamodules
from tests.zoo.doctor.set_ups import Functional, Raw, look, mlp
from zoo.config import read_config, resolve
from zoo.doctor import CHECKS, diagnose, examine
from zoo.doctor.trace import trace
from zoo.train import prepare

TABLES = ("mammography", "polish_bankruptcy", "california_housing")
NEED_FILES = ("csv", *TABLES, "text", "nlu_home", "mnist", "fashion_mnist", "cifar10")


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

import math

import lightning.pytorch as L
import pytest
import torch
from torch import nn

import zoo
from datamodules import create_datamodule
from zoo import train
from zoo.parts.optim import OPTIMIZERS, SCHEDULES, make_optimizer
from zoo.trainer import quiet

LR = 0.1
STEPS_AN_EPOCH = 4


class Recorder(L.Callback):
    """The learning rate of every step, and the schedule as Lightning holds it."""

    def __init__(self):
        self.rates = []

    def on_train_start(self, trainer, module):
        (self.config,) = trainer.lr_scheduler_configs

    def on_train_batch_start(self, trainer, *_):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def rates(schedule, epochs, lr=LR, **hparams):
    """The rates of a real fit on 40 rows in batches of 10, and the interval at which they change."""
    data = create_datamodule("iris", batch_size=10, train_size=10 * STEPS_AN_EPOCH)
    model = zoo.create_model("perceptron", input_shape=(4,), num_classes=3, schedule=schedule, lr=lr, **hparams)
    recorder = Recorder()
    trainer = L.Trainer(
        max_epochs=epochs,
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with quiet():
        trainer.fit(model, datamodule=data)
    assert len(recorder.rates) == epochs * STEPS_AN_EPOCH
    return recorder


def cosine(share):
    return (1 + math.cos(math.pi * share)) / 2


def one_cycle(step, total):
    """Up from 1/25 in the first 30 %, down to 1/250,000 in the rest (Smith & Topin's shape as in torch)."""
    top, last = 0.3 * total - 1, total - 1
    if step <= top:
        return 1 + (1 / 25 - 1) * cosine(step / top)
    return 1 / 250_000 + (1 - 1 / 250_000) * cosine((step - top) / (last - top))


# Schedule and its hyperparameters -> the factor on lr at an epoch (counted from 0) of ten.
BY_EPOCH = {
    ("constant",): lambda e: 1,
    ("step", ("step_size", 3)): lambda e: 0.1 ** (e // 3),
    ("step", ("step_size", 4), ("gamma", 0.5)): lambda e: 0.5 ** (e // 4),
    ("exponential",): lambda e: 0.95**e,
    ("exponential", ("gamma", 0.8)): lambda e: 0.8**e,
    ("cosine",): lambda e: cosine(e / 10),
}
# The same at a step (counted from 0) of 40.
BY_STEP = {
    ("warmup_cosine", ("warmup_epochs", 2.0)): lambda s: (s + 1) / 8 if s < 8 else cosine((s - 8) / 32),
    ("warmup_cosine", ("warmup_epochs", 0.0)): lambda s: cosine(s / 40),
    ("warmup_cosine", ("warmup_epochs", 20.0)): lambda s: (s + 1) / 80,
    ("one_cycle",): lambda s: one_cycle(s, 40),
}


def label(case):
    return "-".join(map(str, case)) if isinstance(case, tuple) else None


@pytest.mark.parametrize("case", BY_EPOCH, ids=label)
def test_schedules_that_step_by_epoch(case):
    recorder = rates(case[0], 10, **dict(case[1:]))
    assert recorder.config.interval == "epoch"
    expected = [LR * BY_EPOCH[case](step // STEPS_AN_EPOCH) for step in range(40)]
    assert recorder.rates == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("case", BY_STEP, ids=label)
def test_schedules_that_step_by_step(case):
    recorder = rates(case[0], 10, **dict(case[1:]))
    assert recorder.config.interval == "step"
    expected = [LR * BY_STEP[case](step) for step in range(40)]
    assert recorder.rates == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_plateau_drops_after_its_patience_without_a_better_val_loss():
    # A rate so small that val/loss stands still.
    recorder = rates("plateau", 6, lr=1e-6, optimizer="sgd", momentum=0.0, plateau_patience=1, gamma=0.2)
    assert (recorder.config.interval, recorder.config.monitor) == ("epoch", "val/loss")
    expected = [1e-6 * factor for factor in (1, 1, 1, 0.2, 0.2, 0.04) for _ in range(STEPS_AN_EPOCH)]
    assert recorder.rates == pytest.approx(expected, rel=1e-9)


def test_every_schedule_is_checked_here():
    assert {case[0] for case in (*BY_EPOCH, *BY_STEP)} | {"plateau"} == set(SCHEDULES)


@pytest.mark.parametrize("schedule", ["cosine", "warmup_cosine", "one_cycle"])
def test_a_schedule_without_an_end_is_refused_and_nothing_is_written(tmp_path, schedule):
    config = {
        "model": {"name": "perceptron", "schedule": schedule},
        "data": "iris",
        "trainer": {"max_epochs": -1, "max_steps": 100},
    }
    with pytest.raises(zoo.InputError, match=f"model.schedule '{schedule}' needs a fixed number of epochs"):
        train.fit(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GroupNorm(1, 2), nn.PReLU(), nn.Flatten(), nn.Linear(8, 3)]
    module = nn.Sequential(*layers, nn.LayerNorm(3))
    for parameter in module.parameters():
        parameter.data.fill_(1.0)
    return module


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_decay_and_biases_norms_and_slopes_do_not(name):
    module = net()
    optimizer = make_optimizer(name, module, lr=0.1, momentum=0.0, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {n for n, p in module.named_parameters() if not (p == 1).all()}
    assert changed == {"0.weight", "5.weight"}
    if name in ("sgd", "adamw"):
        torch.testing.assert_close(module[5].weight, torch.full((3, 8), 1 - 0.1 * 0.5))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_parameter_is_optimized_once_at_the_rate_given(name, weight_decay):
    module = net()
    optimizer = make_optimizer(name, module, lr=0.1, momentum=0.9, weight_decay=weight_decay)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, module.parameters()))
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    assert type(optimizer).__name__.lower() == name


def test_momentum_is_sgds():
    assert make_optimizer("sgd", net(), 0.1, 0.7, 0.0).param_groups[0]["momentum"] == 0.7
    assert make_optimizer("rmsprop", net(), 0.1, 0.7, 0.0).param_groups[0]["momentum"] == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_model_trains_under_every_optimizer_with_decay(tmp_path, name):
    config = {
        "model": {"name": "perceptron", "optimizer": name, "weight_decay": 1e-3, "lr": 0.05},
        "data": {"name": "iris", "batch_size": 16},
        "trainer": {"max_epochs": 10},
    }
    assert train.fit(config, tmp_path).metrics["test/accuracy"] > 0.8


def test_warmup_lasts_its_epochs_where_max_steps_ends_training_early(tmp_path):
    # wine has 114 training rows: 8 batches of 16 an epoch, 5 epochs of warmup are 40 of the 60 steps.
    steps = {"max_steps": 60, "max_epochs": 100}
    model = {"name": "mlp", "schedule": "warmup_cosine", "lr": 1.0, "optimizer": "sgd", "warmup_epochs": 5}
    train.fit({"model": model, "data": {"name": "wine", "batch_size": 16}, "trainer": steps}, tmp_path)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("lr")
    by_epoch = [float(line.split(",")[column]) for line in lines[1:]]
    assert by_epoch[:5] == sorted(by_epoch[:5])
    assert by_epoch[4] == pytest.approx(33 / 40)
    assert by_epoch[6] < by_epoch[5]

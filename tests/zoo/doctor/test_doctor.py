"""`zoo doctor`: planted faults are found by the check meant for them, and what is sound passes it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.doctor.set_ups import DEEP, Functional, Raw, Shuffled, changed, look, mlp
from zoo.doctor import CHECKS
from zoo.models.base import ZooModule


class Wrongly(nn.Module):
    """Images (B, 1, 8, 8) as (B, 64), which mixes them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(64, -1).t()


def of(*layers: nn.Module) -> ZooModule:
    model = mlp()
    model.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), *layers, nn.Linear(32, 10))
    return model


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

"""`zoo doctor`: the level and the words of a finding follow from what is measured."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from datamodules import create_datamodule
from datamodules.tabular import Digits
from tests.zoo.doctor.set_ups import DEEP, Functional, Shuffled, changed, look, mlp
from zoo.doctor import diagnose, examine


@pytest.mark.parametrize(
    ("check", "hparams", "params", "level", "words"),
    [
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 2}, "broken", "2 samples per batch"),
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 8}, "remark", "8 samples per batch"),
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 31}, "remark", "3 in the last batch of an epoch"),
        ("batch_norm_batch", {"norm": "batch"}, {"batch_size": 32}, "ok", "30 in the last batch of an epoch"),
        ("batch_norm_batch", {"norm": "layer"}, {"batch_size": 2}, "ok", "No batch norm"),
        ("initializer", {"hidden_dims": [32] * 8, "initializer": "xavier_normal"}, {}, "remark", "as 2^(-L/2)"),
        ("initializer", {"activation": "tanh", "initializer": "kaiming_normal"}, {}, "remark", "xavier_normal"),
        ("initializer", {"activation": "tanh", "initializer": "xavier_normal"}, {}, "ok", "2 activations"),
        ("initializer", {"activation": "tanh", "hidden_dims": [32] * 5}, {}, "remark", "too small for 5 layers"),
        ("learning_rate", {"lr": 1e-6}, {}, "remark", "many times longer than necessary"),
        ("learning_rate", {"lr": 0.3, "schedule": "one_cycle"}, {}, "remark", "near or above"),
        ("dropout_before_norm", {"norm": "batch", "dropout": 0.3}, {}, "remark", "one layer before a batch norm"),
        ("dropout_before_norm", {"norm": "layer", "dropout": 0.3}, {}, "ok", "No norm gets"),
        ("dropout_before_norm", {"norm": "batch", "dropout": [0.0, 0.3]}, {}, "ok", "No norm gets"),
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
def test_a_perceptron_overfits_a_batch_only_if_a_line_separates_it(data, level):
    assert {f.check: f.level for f in diagnose({"model": "perceptron", "data": data})}["overfit_batch"] == level


def test_a_net_that_learns_nothing_from_good_data_is_blamed_itself(digits):
    found = look("zero_input", mlp(activation="sigmoid", hidden_dims=DEEP), digits)
    assert found.level == "broken"
    assert "not by this net" in found.why
    assert "labels may be shuffled" in look("zero_input", mlp(), Shuffled()).why


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
    assert (found.level, found.measured) == ("broken", "2 activations; the first has no signal.")


def test_an_activation_at_the_end_is_remarked(digits):
    assert look("softmax", changed(lambda net: net.append(nn.Sigmoid())), digits).level == "remark"

    class Gated(Functional):
        def forward(self, x):
            return super().forward(x) * torch.sigmoid(x.mean((1, 2, 3)))[:, None]

    assert look("softmax", Gated(), digits).level == "ok"  # a sigmoid is the last layer to run, and not the end


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (lambda y: y + 1, "Targets range from 1 to 10, but there are 10 classes."),
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

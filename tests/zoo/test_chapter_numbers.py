"""The worked numbers of the textbook chapter, and the right figures where it prints wrong ones."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import nn

import zoo
from benchmarks.book.errata import figures, training_loop
from benchmarks.book.errata.__main__ import FILE
from benchmarks.book.errata.page import page
from zoo import train
from zoo.config import read_config
from zoo.parts.layers import make_activation
from zoo.parts.optim import make_optimizer


def neuron():
    """One ReLU neuron with w = .5 and b = .5; the output layer passes its value on."""
    model = zoo.create_model("mlp", input_shape=(1,), num_classes=1, hidden_dims=[1], activation="relu")
    hidden, out = model.net[1], model.net[3]
    for layer, weight, bias in ((hidden, 0.5, 0.5), (out, 1.0, 0.0)):
        layer.weight.data.fill_(weight)
        layer.bias.data.fill_(bias)
    return model, hidden, out


X, TARGET = torch.tensor([[2.0]]), torch.tensor([1.0])


def test_backprop_through_one_neuron():
    model, hidden, out = neuron()
    assert hidden(X).item() == 1.5
    loss = model.training_step((X, TARGET), 0)
    assert loss.item() == 0.25
    loss.backward()
    assert out.bias.grad.item() == 1.0  # dL/da, since the output is a + 0
    assert hidden.weight.grad.item() == 2.0
    assert hidden.bias.grad.item() == 1.0


@pytest.mark.parametrize(("lr", "w", "b"), [(0.1, 0.3, 0.4), (0.01, 0.48, 0.49)])
def test_one_step_of_gradient_descent_on_that_neuron(lr, w, b):
    model, hidden, _ = neuron()
    optimizer = make_optimizer("sgd", hidden, lr=lr, momentum=0.0, weight_decay=0.0)
    model.training_step((X, TARGET), 0).backward()
    optimizer.step()
    assert hidden.weight.item() == pytest.approx(w, abs=1e-6)
    assert hidden.bias.item() == pytest.approx(b, abs=1e-6)
    if lr == 0.1:
        assert model.training_step((X, TARGET), 0).item() == pytest.approx(0, abs=1e-12)


def test_numpy_mlp_example():
    hidden, output = figures.numpy_mlp()
    np.testing.assert_allclose(hidden, [0, 0.511, 1.208, 0.830], atol=5e-4)
    np.testing.assert_allclose(output, [0.291, 0.709], atol=5e-4)
    # What the chapter prints is not it, though class 1 wins either way.
    assert not np.allclose(hidden, [0, 1.085, 0, 0.257], atol=0.01)
    assert not np.allclose(output, [0.397, 0.603], atol=0.01)
    assert output.argmax() == 1


def test_numpy_mlp_example_by_numpy_alone():
    draws = np.random.RandomState(42)
    w1, w2 = draws.randn(3, 4) * 0.5, draws.randn(4, 2) * 0.5
    hidden = np.maximum(np.array([1, 2, 3]) @ w1, 0)
    logits = np.exp(hidden @ w2)
    for found, expected in zip(figures.numpy_mlp(), (hidden, logits / logits.sum()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_robust_mlp_has_5315_parameters_of_which_batch_norm_has_256():
    total, norms = figures.robust_mlp_parameters()
    assert (total, norms, total - norms) == (5315, 256, 5059)


@pytest.mark.parametrize(
    ("name", "minimum", "place"),
    [("gelu", -0.16997, -0.7518), ("silu", -0.27846, -1.27846), ("mish", -0.30884, -1.19243)],
)
def test_minima_of_gelu_silu_and_mish(name, minimum, place):
    f = make_activation(name)
    found = minimize_scalar(
        lambda z: f(torch.tensor(z, dtype=torch.float64)).item(), bounds=(-3, 0), options={"xatol": 1e-9}
    )
    assert found.fun == pytest.approx(minimum, abs=5e-6)
    digits = len(str(place).partition(".")[2])
    assert found.x == pytest.approx(place, abs=0.5 * 10**-digits)


def test_adam_under_cosine_annealing_over_50_epochs(tmp_path):
    config = {
        "model": {"name": "perceptron", "optimizer": "adam", "lr": 1e-3, "schedule": "cosine"},
        "data": {"name": "iris", "train_size": 10},
        "trainer": {"max_epochs": 50},
        "callbacks": {"early_stopping": False},
    }
    train.fit(config, tmp_path)
    rates = pd.read_csv(tmp_path / "metrics.csv")["lr"]
    expected = [1e-3 * (1 + math.cos(math.pi * epoch / 50)) / 2 for epoch in range(50)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert [f"{rate:.6f}" for rate in rates[:3]] == ["0.001000", "0.000999", "0.000996"]
    assert "0.000998" not in {f"{rate:.6f}" for rate in rates}  # as printed for epoch 0


def test_no_rate_of_cosine_annealing_over_50_epochs_is_the_printed_one():
    before, after = training_loop.learning_rates(50)
    assert [f"{rate:.6f}" for rate in (before[0], after[0], after[1])] == ["0.001000", "0.000999", "0.000996"]
    assert "0.000998" not in {f"{rate:.6f}" for rate in before + after}  # as printed for epoch 0


def test_noise_is_what_the_chapters_seed_draws():
    torch.manual_seed(42)
    expected = torch.randn(200, 10), torch.randn(200, 1), torch.randn(50, 10), torch.randn(50, 1)
    assert all(map(torch.equal, training_loop.noise(), expected))
    # To say 0 always is the best there is against noise, and the printed best loss of 1.0492 is far below it.
    assert expected[3].square().mean().item() == pytest.approx(1.524, abs=5e-4)


@pytest.mark.parametrize("batch_size", [32, 200])
def test_the_printed_best_loss_is_out_of_reach(batch_size):
    runs = training_loop.run(batch_size)
    assert runs.best.min() > 1.3
    assert runs.best.max() < 1.9


def test_early_stopping_with_a_patience_of_five():
    falls = torch.arange(50.0, 0, -1)
    stuck = torch.cat([torch.tensor([3.0, 2, 1, 2, 2, 2, 2, 2]), torch.zeros(42)])
    runs = training_loop.stop_early(torch.stack([falls, stuck]))
    assert runs.best.tolist() == [1, 1]  # never the zeros that come too late
    assert runs.epochs.tolist() == [50, 8]


def test_stacked_nets_train_as_each_alone():
    x, y, x_val, y_val = (part.double() for part in training_loop.noise())
    torch.manual_seed(1)  # the weights of the second of the stack
    net = zoo.create_model(**read_config("regression_mlp")["model"], input_shape=(10,), num_classes=1).double().net
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    losses = []
    while len(losses) < 50 and len(losses) - int(np.argmin(losses or [0])) <= 5:
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(nn.functional.mse_loss(net(x_val), y_val).item())
    runs = training_loop.run(200, n=3)
    assert runs.best[1].item() == pytest.approx(min(losses), rel=1e-9)
    assert runs.epochs[1] == len(losses)


@pytest.mark.parametrize(
    ("config", "hparams", "low", "high"),
    [
        ("deep_sigmoid_mlp", {}, 1e-14, 1e-10),
        ("deep_sigmoid_mlp", {"initializer": "xavier_normal"}, 1e-11, 1e-8),
        ("deep_sigmoid_mlp", {"initializer": "normal", "init_scale": 1.0}, 1e-3, 1e-1),
        ("deep_relu_mlp", {"norm": None}, 1e-3, 1e-1),
        ("deep_relu_mlp", {}, 1e-3, 1e-1),
    ],
)
def test_gradients_of_twelve_layers_vanish_under_torchs_default_and_not_under_weights_of_variance_1(
    config, hparams, low, high
):
    means = [gradient.mean for gradient in figures.first_gradients(config, n_draws=5, **hparams)]
    assert low < min(means)
    assert max(means) < high


def test_xavier_has_two_conventions():
    stds = figures.xavier_stds(400, 100)
    assert stds["xavier_normal"] == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    assert stds["xavier_fan_in_normal"] == pytest.approx(1 / np.sqrt(400), rel=0.02)


def test_the_errata_page_is_what_the_command_writes():
    assert FILE.read_text(encoding="utf-8") == page()


def layers(name):
    config = read_config(name)["model"]
    model = zoo.create_model(**config, input_shape=(10,), num_classes=1 if "regression" in name else 2)
    return [m for m in model.net if not isinstance(m, nn.Flatten)]


def test_regression_net_is_linear_relu_linear():
    first, relu, last = layers("regression_mlp")
    assert (first.in_features, first.out_features, last.in_features, last.out_features) == (10, 64, 64, 1)
    assert isinstance(relu, nn.ReLU)


@pytest.mark.parametrize(("name", "kind"), [("deep_sigmoid_mlp", nn.Sigmoid), ("deep_relu_mlp", nn.ReLU)])
def test_the_deep_nets_have_twelve_fully_connected_layers(name, kind):
    found = layers(name)
    assert sum(isinstance(m, nn.Linear) for m in found) == 12
    assert sum(isinstance(m, kind) for m in found) == 11
    assert sum(isinstance(m, nn.BatchNorm1d) for m in found) == (11 if kind is nn.ReLU else 0)

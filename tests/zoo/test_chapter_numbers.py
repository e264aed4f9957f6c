"""The worked numbers of the textbook chapter, and the right figures where it prints wrong ones."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import nn

import zoo
from zoo import train
from zoo.config import read_config
from zoo.layers import make_activation
from zoo.optim import make_optimizer


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
    draws = np.random.RandomState(42)  # the stream of the chapter's np.random.seed(42)
    w1, w2 = draws.randn(3, 4) * 0.5, draws.randn(4, 2) * 0.5
    model = zoo.create_model("mlp", input_shape=(3,), num_classes=2, hidden_dims=[4]).eval()
    for layer, weight in ((model.net[1], w1), (model.net[3], w2)):
        layer.weight.data = torch.from_numpy(weight.T.copy()).float()
        layer.bias.data.zero_()
    x = torch.tensor([[1.0, 2.0, 3.0]])
    hidden, output = model.net[:3](x)[0].detach(), model.predict_step((x, None), 0)[0].detach()
    np.testing.assert_allclose(hidden, [0, 0.511, 1.208, 0.830], atol=5e-4)
    np.testing.assert_allclose(output, [0.291, 0.709], atol=5e-4)
    # What the chapter prints is not it, though class 1 wins either way.
    assert not np.allclose(hidden, [0, 1.085, 0, 0.257], atol=0.01)
    assert not np.allclose(output, [0.397, 0.603], atol=0.01)
    assert output.argmax() == 1


def test_robust_mlp_has_5315_parameters_of_which_batch_norm_has_256():
    model = zoo.create_model("robust_mlp", input_shape=(10,), num_classes=3)
    norms = sum(p.numel() for m in model.modules() if isinstance(m, nn.BatchNorm1d) for p in m.parameters())
    total = sum(p.numel() for p in model.parameters())
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


def test_noise_targets_have_a_mean_square_of_1_524_on_validation():
    torch.manual_seed(42)
    torch.randn(200, 10), torch.randn(200, 1), torch.randn(50, 10)
    targets = torch.randn(50, 1)
    # To say 0 always is the best there is against noise, and the printed best loss of 1.0492 is far below it.
    assert targets.square().mean().item() == pytest.approx(1.524, abs=5e-4)


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

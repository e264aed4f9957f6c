import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

import zoo
from zoo.config import resolve
from zoo.parts.initializers import INITIALIZERS, gain, initialize
from zoo.parts.layers import ACTIVATIONS, make_activation

N_IN, N_OUT = 400, 300
RELU = math.sqrt(2)

# Variance of a weight by fan-in n, fan-out m, gain g and scale s.
VARIANCES = {
    "default": lambda n, m, g, s: 1 / (3 * n),
    "zeros": lambda n, m, g, s: 0.0,
    "normal": lambda n, m, g, s: s**2,
    "uniform": lambda n, m, g, s: s**2 / 3,
    "xavier_uniform": lambda n, m, g, s: 2 / (n + m),
    "xavier_normal": lambda n, m, g, s: 2 / (n + m),
    "xavier_fan_in_uniform": lambda n, m, g, s: 1 / n,
    "xavier_fan_in_normal": lambda n, m, g, s: 1 / n,
    "kaiming_uniform": lambda n, m, g, s: g**2 / n,
    "kaiming_normal": lambda n, m, g, s: g**2 / n,
    "lecun_normal": lambda n, m, g, s: 1 / n,
    "orthogonal": lambda n, m, g, s: g**2 / max(n, m),
}
FOLLOW_THE_ACTIVATION = {"kaiming_uniform", "kaiming_normal", "orthogonal"}
UNIFORM = {"default", "uniform", "xavier_uniform", "xavier_fan_in_uniform", "kaiming_uniform"}
NORMAL = {"normal", "xavier_normal", "xavier_fan_in_normal", "kaiming_normal", "lecun_normal"}


def drawn(name, activation="relu", scale=0.2, layer=None, seed=0):
    torch.manual_seed(seed)
    layer = nn.Linear(N_IN, N_OUT) if layer is None else layer
    initialize(layer, name, activation, scale)
    return layer


def test_every_initializer_is_checked_here():
    assert INITIALIZERS.keys() == VARIANCES.keys()


@pytest.mark.parametrize("name", VARIANCES)
def test_variance_and_mean_of_a_linear_layer(name):
    weight = drawn(name).weight.detach()
    expected = VARIANCES[name](N_IN, N_OUT, RELU, 0.2)
    # Five standard errors of a normal sample's variance and mean; uniform and orthogonal ones have smaller.
    assert weight.var().item() == pytest.approx(expected, rel=5 * math.sqrt(2 / weight.numel()), abs=0)
    assert abs(weight.mean().item()) <= 5 * math.sqrt(expected / weight.numel())


@pytest.mark.parametrize("name", VARIANCES)
def test_variance_of_a_conv_layer_counts_the_kernel_in_its_fans(name):
    weight = drawn(name, layer=nn.Conv2d(32, 64, 5)).weight.detach()
    expected = VARIANCES[name](32 * 25, 64 * 25 if "xavier" in name else 64, RELU, 0.2)
    assert weight.var().item() == pytest.approx(expected, rel=5 * math.sqrt(2 / weight.numel()), abs=0)


@pytest.mark.parametrize("name", sorted(UNIFORM))
def test_uniform_draws_fill_their_bounds_and_no_more(name):
    weight = drawn(name).weight.detach()
    bound = math.sqrt(3 * VARIANCES[name](N_IN, N_OUT, RELU, 0.2))
    assert 0.999 * bound < weight.abs().max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("name", sorted(NORMAL))
def test_normal_draws_have_the_normals_fourth_moment(name):
    weight = drawn(name).weight.detach().double()
    assert (weight**4).mean() / weight.var() ** 2 == pytest.approx(3, abs=5 * math.sqrt(24 / weight.numel()))


def test_lecun_normal_and_xavier_fan_in_normal_are_the_same_draws():
    assert torch.equal(drawn("lecun_normal").weight, drawn("xavier_fan_in_normal").weight)


@pytest.mark.parametrize("name", VARIANCES)
def test_the_same_seed_draws_the_same_and_another_seed_another(name):
    one, again, other = (drawn(name, seed=seed).weight for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (name == "zeros")


@pytest.mark.parametrize("name", VARIANCES)
def test_the_gain_follows_the_activation_for_kaiming_and_orthogonal_alone(name):
    relu, tanh = (drawn(name, activation).weight.detach() for activation in ("relu", "tanh"))
    if name in FOLLOW_THE_ACTIVATION:
        torch.testing.assert_close(tanh, relu * (5 / 3) / RELU)
    else:
        assert torch.equal(tanh, relu)


@pytest.mark.parametrize("activation", ["identity", "relu", "gelu"])
def test_orthogonal_rows_have_the_gains_length(activation):
    weight = drawn("orthogonal", activation).weight.detach().double()
    torch.testing.assert_close(weight @ weight.T, gain(activation) ** 2 * torch.eye(N_OUT).double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", VARIANCES)
def test_biases_are_zero_except_torchs_own(name):
    bias = drawn(name).bias.detach()
    assert (bias == 0).all() == (name != "default")
    if name == "default":
        assert 0.9 / math.sqrt(N_IN) < bias.abs().max() <= 1 / math.sqrt(N_IN)


def test_default_draws_nothing_anew():
    torch.manual_seed(0)
    assert torch.equal(drawn("default").weight, (torch.manual_seed(0), nn.Linear(N_IN, N_OUT))[1].weight)


def test_norms_and_prelu_slopes_keep_their_start_and_all_layers_are_drawn():
    net = drawn(
        "normal", layer=nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.PReLU(), nn.Linear(8, 50)), scale=3
    )
    assert (net[1].weight == 1).all()
    assert (net[1].bias == 0).all()
    assert net[2].weight.item() == 0.25
    assert all(2 < net[i].weight.std() < 4 for i in (0, 3))


# torch's published values, not He's condition.
TORCHS = {"tanh": 5 / 3, "sigmoid": 1.0, "selu": 3 / 4}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gain_keeps_the_second_moment(activation):
    if activation in TORCHS:
        assert gain(activation) == pytest.approx(TORCHS[activation])
        return
    f = make_activation(activation).double()

    def integrand(z):
        with torch.no_grad():
            return f(torch.tensor([z], dtype=torch.float64)).item() ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    moment = quad(integrand, -10, 0)[0] + quad(integrand, 0, 10)[0]
    assert gain(activation) ** 2 * moment == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("activation", "value"), [("identity", 1), ("relu", math.sqrt(2)), ("leaky_relu", math.sqrt(2 / 1.0001))]
)
def test_published_gains(activation, value):
    assert gain(activation) == pytest.approx(value, rel=1e-12)


def test_a_gain_draws_nothing_from_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    gain("prelu")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("hparams", "sentence"),
    [
        ({"initializer": "kaimin_normal"}, r"unknown initializer 'kaimin_normal'\. Did you mean 'kaiming_normal'\?"),
        ({"initializer": "normal", "init_scale": 0.0}, r"model\.init_scale must be positive, got 0\.0"),
        ({"initializer": "uniform", "init_scale": -1.0}, r"model\.init_scale must be positive, got -1\.0"),
        ({"bias_init": math.nan}, r"model\.bias_init must be a finite number or null, got nan"),
        ({"bias_init": -math.inf}, r"model\.bias_init must be a finite number or null, got -inf"),
    ],
)
def test_bad_values_get_a_sentence(hparams, sentence):
    with pytest.raises(ValueError, match=sentence):
        zoo.create_model("mlp", input_shape=(4,), num_classes=2, **hparams)


@pytest.mark.parametrize("name", VARIANCES)
def test_a_model_takes_every_initializer_and_its_scale(name):
    torch.manual_seed(0)
    model = zoo.create_model(
        "mlp", input_shape=(N_IN,), num_classes=3, hidden_dims=[N_OUT], initializer=name, init_scale=0.4
    )
    expected = VARIANCES[name](N_IN, N_OUT, RELU, 0.4)
    assert np.isclose(model.net[1].weight.var().item(), expected, rtol=5 * math.sqrt(2 / (N_IN * N_OUT)), atol=0)


@pytest.mark.parametrize("initializer", ["default", "kaiming_normal"])
@pytest.mark.parametrize(
    ("name", "hparams", "hidden"),
    [
        ("perceptron", {}, 0),
        ("mlp", {"hidden_dims": [8, 8, 8], "activation": "prelu", "norm": ["batch", "layer", None], "dropout": 0.1}, 3),
        ("mlp", {"activation": "identity"}, 2),
        ("robust_mlp", {}, 2),
        ("cnn", {"hidden_dims": [16], "norm": "layer"}, 3),
        ("lenet5", {}, 4),
    ],
)
def test_bias_init_sets_the_biases_of_hidden_layers_alone(name, hparams, hidden, initializer):
    def made(**more):
        torch.manual_seed(0)
        return zoo.create_model(
            name, input_shape=(1, 8, 8), num_classes=3, **{**hparams, "initializer": initializer, **more}
        )

    own, given = made(), made(bias_init=-1.5)
    assert torch.equal(torch.rand(1), (made(), torch.rand(1))[1]), "it draws nothing"
    layers = [n for n, m in own.net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(layers) == hidden + 1
    for key, value in given.net.state_dict().items():
        layer, _, kind = key.rpartition(".")
        if layer in layers[:-1] and kind == "bias":
            assert (value == -1.5).all()
        else:
            assert torch.equal(value, own.net.state_dict()[key]), key


def test_bias_init_is_in_a_config_only_where_it_is_said():
    model = resolve({"model": "mlp", "data": "digits"})["model"]
    assert "bias_init" not in model
    assert resolve({"model": {"name": "mlp", "bias_init": None}, "data": "digits"})["model"] == model
    assert resolve({"model": {"name": "mlp", "bias_init": 0}, "data": "digits"})["model"] == {**model, "bias_init": 0.0}

import pytest
import torch
from torch import nn

from zoo.parts.layers import ACTIVATIONS, block, dense_blocks, make_activation, make_norm, per_block

X = torch.linspace(-4, 4, 81, dtype=torch.float64)

FORMULAS = {
    "identity": lambda x: x,
    "relu": lambda x: x.clamp(min=0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "prelu": lambda x: torch.where(x > 0, x, 0.25 * x),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "selu": lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + (-x).exp()),
    "mish": lambda x: x * (1 + x.exp()).log().tanh(),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "softplus": lambda x: (1 + x.exp()).log(),
    "softsign": lambda x: x / (1 + x.abs()),
}


def test_the_activations_are_the_ones_promised():
    assert ACTIVATIONS.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_an_activation_is_its_formula(name):
    found = make_activation(name).double()(X)
    torch.testing.assert_close(found, FORMULAS[name](X), rtol=1e-9, atol=1e-12)


def test_each_activation_is_a_fresh_layer():
    assert make_activation("prelu") is not make_activation("prelu")


@pytest.mark.parametrize(
    ("name", "image", "kind"),
    [
        ("batch", False, nn.BatchNorm1d),
        ("batch", True, nn.BatchNorm2d),
        ("layer", False, nn.LayerNorm),
        ("layer", True, nn.GroupNorm),
    ],
)
def test_a_norm_gives_mean_zero_and_variance_one_over_its_axes(name, image, kind):
    norm = make_norm(name, 6, image)
    assert type(norm) is kind
    x = 3 + 5 * torch.randn(16, 6, *([4, 4] if image else []), generator=torch.Generator().manual_seed(0))
    axes = [a for a in range(x.ndim) if a != (1 if name == "batch" else 0)]
    y = norm(x)
    torch.testing.assert_close(y.mean(axes), torch.zeros(y.mean(axes).shape), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(axes, correction=0), torch.ones(y.mean(axes).shape), rtol=0, atol=1e-4)


def test_a_block_is_layer_norm_activation_dropout_in_this_order():
    layer = nn.Linear(3, 5)
    layers = block(layer, 5, "batch", "relu", 0.3)
    assert layers[0] is layer
    assert [type(m) for m in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert [type(m) for m in block(layer, 5, None, "tanh", 0.0)] == [nn.Linear, nn.Tanh]


def test_dropout_scales_in_training_and_is_off_in_evaluation():
    *_, dropout = block(nn.Linear(3, 5), 5, None, "relu", 0.25)
    torch.manual_seed(0)
    x = torch.ones(100_000)
    y = dropout(x)
    torch.testing.assert_close(y.unique(), torch.tensor([0, 1 / 0.75]))
    assert abs((y == 0).float().mean() - 0.25) < 0.007  # five standard deviations
    assert torch.equal(dropout.eval()(x), x)


def test_dense_blocks_join_the_widths_and_take_lists():
    net = nn.Sequential(*dense_blocks(7, [5, 3], "relu", ["layer", None], [0.0, 0.5]))
    assert [type(m) for m in net] == [nn.Linear, nn.LayerNorm, nn.ReLU, nn.Linear, nn.ReLU, nn.Dropout]
    assert net(torch.zeros(2, 7)).shape == (2, 3)
    assert dense_blocks(7, [], "relu", None, 0.0) == []


def test_per_block_repeats_a_value_and_keeps_a_list():
    assert per_block("norm", "batch", 3) == ["batch"] * 3
    assert per_block("norm", ["batch", None], 2) == ["batch", None]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: make_activation("rleu"), r"unknown activation 'rleu'\. Did you mean 'relu'\? Available: elu, gelu"),
        (lambda: make_norm("bach", 3), r"unknown norm 'bach'\. Did you mean 'batch'\? Available: batch, layer"),
        (
            lambda: per_block("dropout", [0.1], 2),
            r"model\.dropout must be a single value or a list of 2 values, one per block; got a list of 1",
        ),
        (
            lambda: dense_blocks(3, [4, 0], "relu", None, 0.0),
            r"model\.hidden_dims must contain widths of at least 1, got 0",
        ),
        (lambda: block(nn.Linear(2, 2), 2, None, "relu", 1.0), r"model\.dropout must be in \[0, 1\), got 1\.0"),
        (lambda: block(nn.Linear(2, 2), 2, None, "relu", -0.1), r"model\.dropout must be in \[0, 1\), got -0\.1"),
    ],
)
def test_bad_values_get_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_softmax_of_large_logits_is_finite():
    import zoo

    model = zoo.create_model("perceptron", input_shape=(2,), num_classes=3)
    logits = torch.tensor([[1e4, 0.0, -1e4], [1e30, 1e30, 0.0]])
    expected = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0]])
    torch.testing.assert_close(model.predictions(logits), expected)

"""The correct numbers, computed with this project's own code."""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

import zoo
from zoo.config import read_config
from zoo.parts.initializers import initialize
from zoo.parts.layers import NORMS, make_norm

N_DRAWS = 10  # draws of initial weights for gradients


def numpy_mlp() -> tuple[NDArray, NDArray]:
    """The hidden layer (4,) and the output (2,) of the chapter's NumPy MLP on (1, 2, 3), in double precision."""
    draws = np.random.RandomState(42)  # the stream of the chapter's np.random.seed(42)
    weights = draws.randn(3, 4) * 0.5, draws.randn(4, 2) * 0.5
    model = zoo.create_model("mlp", input_shape=(3,), num_classes=2, hidden_dims=[4]).double().eval()
    with torch.no_grad():
        for layer, weight in zip((model.net[1], model.net[3]), weights, strict=True):  # type: ignore[index]
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.zero_()
        x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
        hidden = model.net[:3](x)  # type: ignore[index]
        return hidden[0].numpy(), model.net(x).softmax(1)[0].numpy()


def robust_mlp_parameters() -> tuple[int, int]:
    """The number of parameters of the chapter's RobustMLP, and the number of those in its batch norms."""
    model = zoo.create_model("robust_mlp", input_shape=(10,), num_classes=3)
    norms = [m for m in model.modules() if isinstance(m, tuple(type(make_norm(name, 1)) for name in NORMS))]
    return sum(p.numel() for p in model.parameters()), sum(p.numel() for m in norms for p in m.parameters())


def xavier_stds(n_in: int, n_out: int) -> dict[str, float]:
    """The standard deviations of the weights that `xavier_normal` and `xavier_fan_in_normal` draw.

    Args:
        n_in: Number of inputs of the linear layer.
        n_out: Number of outputs.
    """
    found = {}
    for name in ("xavier_normal", "xavier_fan_in_normal"):
        layer = nn.Linear(n_in, n_out)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            initialize(layer, name, "tanh", 1.0)
        found[name] = layer.weight.std().item()
    return found


class Gradient(NamedTuple):
    """The size of a layer's gradient: the mean absolute value of its elements, and its norm."""

    mean: float
    norm: float


def first_gradients(config: str, n_draws: int = N_DRAWS, **hparams: Any) -> list[Gradient]:
    """The gradient of the first layer's weights in untrained 12-layer nets with 15 classes, one per draw.

    Each draw consists of weights and a batch of 64 inputs with 64 features N(0, 1) and random classes, because the
    chapter's texts are private.

    Args:
        config: The shipped config of the model.
        n_draws: Number of draws.
        **hparams: Hyperparameters that override those of the config.
    """
    found = []
    for seed in range(n_draws):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = zoo.create_model(
                **{**read_config(config)["model"], **hparams}, input_shape=(64,), num_classes=15
            ).double()
            x, y = torch.randn(64, 64, dtype=torch.float64), torch.randint(15, (64,))
        F.cross_entropy(model(x), y).backward()
        weight = next(p for p in model.parameters() if p.ndim == 2)
        assert weight.grad is not None
        found.append(Gradient(weight.grad.abs().mean().item(), weight.grad.norm().item()))
    return found

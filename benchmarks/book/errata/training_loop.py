"""Many runs of the chapter's training loop on pure noise, to find the range of its best loss.

Adam at 1e-3, CosineAnnealingLR(T_max=50), clipping at norm 1, patience 5; Linear(10, 64) > ReLU > Linear(64, 1), mean
squared error. Seed 42 draws 200 training and 50 validation points. The model was created before the seed was set, so
its weights are unknown.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo.config import read_config

EPOCHS, PATIENCE, LR = 50, 5, 1e-3
N_RUNS = 100  # per batch size


@dataclass(frozen=True)
class Runs:
    """Results of several runs.

    Attributes:
        best: Best validation loss of each run, (n,).
        epochs: Number of epochs of each run until it stopped, (n,).
    """

    best: Tensor
    epochs: Tensor


def noise() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training inputs (200, 10) and targets (200, 1), validation inputs (50, 10) and targets (50, 1) under seed 42."""
    draw = torch.Generator().manual_seed(42)  # the stream of torch.manual_seed(42)
    x, y = torch.randn(200, 10, generator=draw), torch.randn(200, 1, generator=draw)
    return x, y, torch.randn(50, 10, generator=draw), torch.randn(50, 1, generator=draw)


def learning_rates(n: int) -> tuple[list[float], list[float]]:
    """The learning rate in the first n epochs, before and after the schedule's step at the end of each epoch."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    before, after = [], []
    for _ in range(n):
        before.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
        after.append(float(schedule.get_last_lr()[0]))
    return before, after


@cache
def run(batch_size: int, n: int = N_RUNS) -> Runs:
    """Train n nets at once in double precision, each with its own initial weights and data order.

    Adam updates each weight independently, so one optimizer for stacked nets is equivalent to one optimizer per net.

    Args:
        batch_size: Training batch size; 200 is the full batch.
        n: Number of nets.
    """
    x, y, x_val, y_val = (part.double() for part in noise())
    parameters = _initial(n)
    optimizer = torch.optim.Adam(parameters, lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    draw = torch.Generator().manual_seed(0)
    curve = []
    for _ in range(EPOCHS):
        order = torch.rand(n, len(x), generator=draw).argsort(1)
        for rows in order.split(batch_size, dim=1):
            optimizer.zero_grad()
            (_forward(parameters, x[rows]) - y[rows]).square().mean((1, 2)).sum().backward()
            _clip(parameters)
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            curve.append((_forward(parameters, x_val.expand(n, -1, -1)) - y_val).square().mean((1, 2)))
    return stop_early(torch.stack(curve, 1))


def stop_early(curves: Tensor) -> Runs:
    """Apply early stopping to validation curves (n, epochs): a run ends 5 epochs after its best loss."""
    best = curves.cummin(1)
    age = torch.arange(curves.shape[1]) - best.indices
    ends = torch.where(age >= PATIENCE, 1, 0).cumsum(1).clamp(max=1).logical_not().sum(1).clamp(max=curves.shape[1] - 1)
    return Runs(best.values.gather(1, ends[:, None])[:, 0], ends + 1)


def _initial(n: int) -> list[nn.Parameter]:
    """The stacked parameters of n untrained regression nets, (n, ...)."""
    model = zoo.create_model(**read_config("regression_mlp")["model"], input_shape=(10,), num_classes=1)
    linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    nets = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(n):
            torch.manual_seed(seed)
            for linear in linears:  # same as creating a new model, but a hundred times faster
                linear.reset_parameters()
            nets.append([p.detach().double() for p in model.parameters()])
    return [nn.Parameter(torch.stack(own)) for own in zip(*nets, strict=True)]


def _forward(parameters: list[nn.Parameter], x: Tensor) -> Tensor:
    """Outputs (n, B, 1) of n nets for inputs (n, B, 10)."""
    w1, b1, w2, b2 = parameters
    return torch.baddbmm(b2[:, None], F.relu(torch.baddbmm(b1[:, None], x, w1.mT)), w2.mT)


def _clip(parameters: list[nn.Parameter]) -> None:
    """Clip each net's gradient at norm 1, as `clip_grad_norm_` does."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.cat([g.flatten(1) for g in gradients], 1).norm(dim=1)
    factor = (1 / (norm + 1e-6)).clamp(max=1)
    for g in gradients:
        g *= factor.view(-1, *[1] * (g.ndim - 1))

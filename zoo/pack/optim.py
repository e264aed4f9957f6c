"""The optimizers of `zoo.parts.optim` for many members at once, each with its own learning rate and decay."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

# torch's defaults
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
ALPHA, RMSPROP_EPS = 0.99, 1e-8


class StackedOptimizer:
    """Steps K members' parameters; neighbours with the same optimizer and learning rate take one kernel.

    Args:
        hparams: Each member's hyperparameters: `optimizer`, `momentum`, `weight_decay`.
        n_decaying: So many columns of the parameters decay.
        like: The parameters, (K, P).
    """

    def __init__(self, hparams: Sequence[Mapping[str, Any]], n_decaying: int, like: Tensor) -> None:
        self.settings = [(h["optimizer"], h["momentum"], h["weight_decay"]) for h in hparams]
        self.n_decaying = n_decaying
        self.lrs = [0.0] * len(hparams)
        # Adam's two moments; the first serves as SGD's momentum, too, the second as RMSprop's mean square.
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)
        self.n_steps = 0
        self._runs: list[tuple[slice, str, float, float, float, Tensor]] | None = None

    def set_lrs(self, lrs: Sequence[float]) -> None:
        """Use these learning rates from now on, (K,)."""
        if list(lrs) != self.lrs:
            self.lrs, self._runs = list(lrs), None

    def keep(self, members: list[int]) -> None:
        """Go on with these members alone, in this order."""
        self.settings, self.lrs = [self.settings[m] for m in members], [self.lrs[m] for m in members]
        self.first, self.second = self.first[members], self.second[members]
        self._runs = None

    def step(self, parameters: Tensor, gradients: Tensor) -> None:
        """Update the parameters (K, P) in place; the gradients may be overwritten."""
        if self._runs is None:
            settings = [(*s, lr) for s, lr in zip(self.settings, self.lrs, strict=True)]
            self._runs = []
            for setting, neighbours in groupby(range(len(settings)), settings.__getitem__):
                places = list(neighbours)
                done = torch.tensor(float(self.n_steps), device=parameters.device)
                self._runs.append((slice(places[0], places[-1] + 1), *setting, done))
        self.n_steps += 1
        for members, name, momentum, decay, lr, done in self._runs:
            p, g = parameters[members], gradients[members]
            if decay:
                weights = p[:, : self.n_decaying]
                if name == "adamw":
                    weights.mul_(1 - lr * decay)
                else:
                    g[:, : self.n_decaying] += weights * decay
            self._update(name, p, g, self.first[members], self.second[members], momentum, lr, done)

    def _update(
        self, name: str, p: Tensor, g: Tensor, first: Tensor, second: Tensor, momentum: float, lr: float, done: Tensor
    ) -> None:
        """One run's step; the kernels count `done`, the steps before it, up."""
        if name == "sgd":
            buffers: list[Tensor | None] = [first if momentum else None]
            sgd(
                [p],
                [g],
                buffers,
                weight_decay=0.0,
                momentum=momentum,
                lr=lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                fused=True,
            )
        elif name == "rmsprop":
            rmsprop(
                [p],
                [g],
                [second],
                [],
                [],
                [done],
                lr=lr,
                alpha=ALPHA,
                eps=RMSPROP_EPS,
                weight_decay=0.0,
                momentum=0.0,
                centered=False,
                foreach=False,
            )
        else:
            adam(
                [p],
                [g],
                [first],
                [second],
                [],
                [done],
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=lr,
                weight_decay=0.0,
                eps=ADAM_EPS,
                maximize=False,
            )

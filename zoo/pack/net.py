"""Stacked nets of the same shape, with explicit forward and backward passes.

Tensors have the layout (members, features, batch): a member is a contiguous slice, so an operation on some members is
one on a slice, and batch norm statistics are over rows. Autograd is not used, because its overhead exceeds the
arithmetic of nets with a few thousand weights.

Results of a member must be bit-identical whatever the other members are. Therefore, batches are padded with zero
samples so that no member's slice ends within a vector register (a kernel's scalar remainder rounds differently), and
sums of a single row are computed on two rows (a single row is summed in another order). Matrix products must not depend
on the memory alignment of a member, for which `zoo/__init__.py` sets MKL_CBWR.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor

from .shape import Block

LANES = 32  # elements that a kernel takes at a time: two AVX-512 registers
EPS = 1e-5
MOMENTUM = 0.1
aten = torch.ops.aten

Forward = Callable[[Tensor, Tensor], object]  # the input, and where the output goes
Backward = Callable[[Tensor, Tensor, Tensor, Tensor], object]  # gradient of the output, input, output, where it goes
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _softsign(z: Tensor, to: Tensor) -> None:
    torch.div(z, 1 + z.abs(), out=to)


def _softsign_backward(g: Tensor, z: Tensor, out: Tensor, to: Tensor) -> None:
    torch.div(g, (1 + z.abs()).square_(), out=to)


# Each activation of `zoo.parts.layers.ACTIVATIONS` with torch's own derivative; PReLU, which has weights, stands below.
ELEMENTWISE: dict[str, tuple[Forward, Backward]] = {
    "identity": (lambda z, to: to.copy_(z), lambda g, z, out, to: to.copy_(g)),
    "relu": (
        lambda z, to: torch.clamp_min(z, 0, out=to),
        lambda g, z, out, to: aten.threshold_backward(g, out, 0, grad_input=to),
    ),
    "leaky_relu": (
        lambda z, to: aten.leaky_relu(z, 0.01, out=to),
        lambda g, z, out, to: aten.leaky_relu_backward(g, z, 0.01, False, grad_input=to),
    ),
    "elu": (
        lambda z, to: aten.elu(z, out=to),
        lambda g, z, out, to: aten.elu_backward(g, 1.0, 1.0, 1.0, False, z, grad_input=to),
    ),
    "selu": (
        lambda z, to: aten.elu(z, SELU_ALPHA, SELU_SCALE, out=to),
        lambda g, z, out, to: aten.elu_backward(g, SELU_ALPHA, SELU_SCALE, 1.0, False, z, grad_input=to),
    ),
    "gelu": (
        lambda z, to: aten.gelu(z, out=to),
        lambda g, z, out, to: aten.gelu_backward(g, z, grad_input=to),
    ),
    "silu": (
        lambda z, to: aten.silu(z, out=to),
        lambda g, z, out, to: aten.silu_backward(g, z, grad_input=to),
    ),
    "mish": (lambda z, to: aten.mish(z, out=to), lambda g, z, out, to: to.copy_(aten.mish_backward(g, z))),
    "tanh": (
        lambda z, to: torch.tanh(z, out=to),
        lambda g, z, out, to: aten.tanh_backward(g, out, grad_input=to),
    ),
    "sigmoid": (
        lambda z, to: torch.sigmoid(z, out=to),
        lambda g, z, out, to: aten.sigmoid_backward(g, out, grad_input=to),
    ),
    "softplus": (
        lambda z, to: aten.softplus(z, out=to),
        lambda g, z, out, to: aten.softplus_backward(g, z, 1.0, 20.0, grad_input=to),
    ),
    "softsign": (_softsign, _softsign_backward),
}


def padded(n: int, blocks: Sequence[Block]) -> int:
    """How many samples a batch of n is padded to; see above."""
    step = max(LANES // gcd(LANES, block.width) for block in blocks)
    return max(-(-n // step) * step, 2)


def row_sums(x: Tensor) -> Tensor:
    """The sums over the last axis: (..., n) to (...)."""
    if x.numel() > x.shape[-1]:
        return x.contiguous().sum(-1)
    return torch.cat([x, x]).sum(-1)[: len(x)]


def products(a: Tensor, b: Tensor) -> Tensor:
    """The product of each pair of matrices: (K, m, k) and (K, k, n) to (K, m, n)."""
    if b.shape[2] == 1:  # a matrix times a vector, which another routine computes where K = 1
        return row_sums(a * b.transpose(1, 2)).unsqueeze(2)
    return torch.bmm(a, b)


class StackedBlock:
    """One block of K nets: Linear > norm > activation > dropout.

    Args:
        blocks: This block of each member.
        parameters: Those that `Block.parameters` names, each with a leading axis of K.
        gradients: Where their gradients go, likewise.
        statistics: Those that `Block.statistics` names, likewise.
        generators: Each member's stream for dropout.
        first: Whether no gradient of the inputs is asked for.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        statistics: Mapping[str, Tensor],
        generators: Sequence[torch.Generator],
        first: bool,
    ) -> None:
        self.norm, self.first = blocks[0].norm, first
        self.p, self.g, self.statistics, self.generators = parameters, gradients, statistics, generators
        self.rates = [block.dropout for block in blocks]
        runs = [(name, len(list(run))) for name, run in groupby(block.activation for block in blocks)]
        self.activations, self.runs = [name for name, _ in runs], [length for _, length in runs]

    def forward(self, x: Tensor, n: int, training: bool) -> Tensor:
        """(K, n_inputs, B) to (K, width, B); in training, keep what `backward` needs.

        Args:
            x: The inputs.
            n: How many of the samples are real, not padding.
            training: Whether to normalise by the batch, and to drop units.
        """
        weight = self.p["weight"]
        z = torch.baddbmm(self.p["bias"], weight, x) if "bias" in self.p else torch.bmm(weight, x)
        self.x, self.n = x, n
        if self.norm == "batch":
            z = self._batch_norm(z, n) if training else self._running_norm(z)
        elif self.norm == "layer":
            z = self._layer_norm(z)
        self.z = z
        out = self.out = self._activate(z)
        if training and any(self.rates):
            self.mask = self._drop(out, n)
            out = out * self.mask
        return out

    def backward(self, g: Tensor) -> Tensor:
        """From the gradient of the outputs to that of the inputs; leave those of the parameters in their places."""
        if any(self.rates):
            g = g * self.mask
        g = self._activate_backward(g)
        if self.norm == "batch":
            g = self._batch_norm_backward(g)
        elif self.norm == "layer":
            g = self._layer_norm_backward(g)
        if "bias" in self.g:
            self.g["bias"].copy_(row_sums(g).unsqueeze(2))
        self.g["weight"].copy_(products(g, self.x.transpose(1, 2)))
        return g if self.first else torch.bmm(self.p["weight"].transpose(1, 2), g)

    # --- activations ------------------------------------------------------------------------------------------------

    def _activate(self, z: Tensor) -> Tensor:
        if all(name in (None, "identity") for name in self.activations):
            return z
        if self.activations[0] == "prelu":
            return torch.where(z > 0, z, self.p["slope"] * z)
        out = torch.empty_like(z)
        for name, *parts in zip(self.activations, *(t.split(self.runs) for t in (z, out)), strict=True):
            ELEMENTWISE[name][0](*parts)
        return out

    def _activate_backward(self, g: Tensor) -> Tensor:
        if self.out is self.z:
            return g
        if self.activations[0] == "prelu":
            self.g["slope"].copy_(row_sums((g * self.z.clamp(max=0)).flatten(1)).view(-1, 1, 1))
            return torch.where(self.z > 0, g, self.p["slope"] * g)
        result = torch.empty_like(g)
        parts = (tensor.split(self.runs) for tensor in (g, self.z, self.out, result))
        for name, *own in zip(self.activations, *parts, strict=True):
            ELEMENTWISE[name][1](*own)
        return result

    def _drop(self, like: Tensor, n: int) -> Tensor:
        """Zero for units dropped, 1/(1 - rate) for the others; drawn as by `nn.Dropout` on (n, width)."""
        k, width, _ = like.shape
        mask = torch.ones(k, n, width, device=like.device)
        for own, rate, generator in zip(mask, self.rates, self.generators, strict=True):
            if rate > 0:
                own.bernoulli_(1 - rate, generator=generator)
        out = torch.zeros_like(like)
        kept = torch.tensor([1 - rate for rate in self.rates], device=like.device).view(-1, 1, 1)
        torch.div(mask.transpose(1, 2), kept, out=out[..., :n])
        return out

    # --- norms ------------------------------------------------------------------------------------------------------

    def _batch_norm(self, z: Tensor, n: int) -> Tensor:
        """Normalise each unit over the real samples, and note its mean and variance (Ioffe & Szegedy 2015, alg. 1)."""
        real = z if z.shape[2] == n else z[..., :n]
        hat, mean, rstd = torch.native_layer_norm(real.contiguous(), (n,), None, None, EPS)
        variance = (rstd.square().reciprocal_() - EPS) * (n / (n - 1))
        for name, now in (("mean", mean), ("variance", variance)):
            self.statistics[name].mul_(1 - MOMENTUM).add_(now * MOMENTUM)
        self.hat, self.rstd = hat, rstd
        out = torch.addcmul(self.p["shift"], hat, self.p["scale"])
        return out if z.shape[2] == n else F.pad(out, (0, z.shape[2] - n))

    def _running_norm(self, z: Tensor) -> Tensor:
        scale = self.p["scale"] / (self.statistics["variance"] + EPS).sqrt()
        return torch.addcmul(self.p["shift"] - self.statistics["mean"] * scale, z, scale)

    def _batch_norm_backward(self, g: Tensor) -> Tensor:
        n, size = self.n, g.shape[2]
        real = g if size == n else g[..., :n].contiguous()
        along, total = (row_sums(v).unsqueeze(2) for v in (real * self.hat, real))
        self.g["scale"].copy_(along)
        self.g["shift"].copy_(total)
        out = (real - total / n).addcmul_(self.hat, along, value=-1 / n).mul_(self.p["scale"] * self.rstd)
        return out if size == n else F.pad(out, (0, size - n))

    def _layer_norm(self, z: Tensor) -> Tensor:
        """Normalise each sample over the units (Ba et al. 2016, eq. 3)."""
        centred = z - z.mean(1, keepdim=True)
        self.rstd = (centred.square().mean(1, keepdim=True) + EPS).rsqrt()
        self.hat = centred * self.rstd
        return torch.addcmul(self.p["shift"], self.hat, self.p["scale"])

    def _layer_norm_backward(self, g: Tensor) -> Tensor:
        self.g["scale"].copy_(row_sums(g * self.hat).unsqueeze(2))
        self.g["shift"].copy_(row_sums(g).unsqueeze(2))
        inner = g * self.p["scale"]
        along = (inner * self.hat).mean(1, keepdim=True)
        return (inner - inner.mean(1, keepdim=True) - self.hat * along).mul_(self.rstd)


class StackedNet:
    """K nets of one shape: the forward pass to logits, and the backward pass to the gradients of all parameters."""

    def __init__(self, blocks: Sequence[StackedBlock]) -> None:
        self.blocks = blocks

    def forward(self, x: Tensor, n: int, training: bool) -> Tensor:
        """(K, n_inputs, B) to logits (K, C, B); see `StackedBlock.forward`."""
        for block in self.blocks:
            x = block.forward(x, n, training)
        return x

    def backward(self, g: Tensor) -> None:
        """Fill in the gradients, from that of the logits, (K, C, B)."""
        for block in reversed(self.blocks):
            g = block.backward(g)

"""The hand-written net that the torch peers share."""

from itertools import pairwise

from torch import nn

from . import Options

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "identity": nn.Identity,
}


def make_net(activation: str, options: Options) -> nn.Sequential:
    """64 inputs, hidden layers, 10 logits; optionally with batch norm and dropout in each block."""
    layers: list[nn.Module] = []
    widths = [64, *options.hidden]
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out)]
        layers += [nn.BatchNorm1d(n_out)] if options.robust else []
        layers += [ACTIVATIONS[activation]()]
        layers += [nn.Dropout(0.3)] if options.robust else []
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))

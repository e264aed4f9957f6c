"""Shapes of nets that can be stacked: blocks of Linear > norm > activation > dropout."""

from dataclasses import dataclass

import torch
from torch import nn

from ..parts.layers import ACTIVATIONS

NAMES = {cls: name for name, cls in ACTIVATIONS.items()}


@dataclass(frozen=True)
class Block:
    """What one block of a net is.

    Attributes:
        n_inputs: Inputs of its linear layer.
        width: Units of its linear layer.
        bias: Whether that has a bias.
        norm: `batch`, `layer` or None.
        activation: A name in `zoo.parts.layers.ACTIVATIONS`, or None.
        dropout: The share of units dropped.
    """

    n_inputs: int
    width: int
    bias: bool
    norm: str | None = None
    activation: str | None = None
    dropout: float = 0.0

    def parameters(self) -> dict[str, tuple[int, int]]:
        """Its parameters, each a matrix or a column, in the order of torch's `parameters()`."""
        column = (self.width, 1)
        shapes = {"weight": (self.width, self.n_inputs)}
        shapes |= {"bias": column} if self.bias else {}
        shapes |= {"scale": column, "shift": column} if self.norm else {}
        return shapes | ({"slope": (1, 1)} if self.activation == "prelu" else {})

    def statistics(self) -> dict[str, tuple[int, int]]:
        """Its running statistics, in the order of torch's `buffers()`."""
        return {"mean": (self.width, 1), "variance": (self.width, 1)} if self.norm == "batch" else {}

    def signature(self) -> tuple[object, ...]:
        """What the members of a stack share: all shapes, but neither the activation nor the share that drops."""
        return self.norm, *self.parameters().items()


def blocks_of(net: nn.Module) -> list[Block] | str:
    """Return the blocks of a net, or why they cannot be stacked."""
    if type(net) is not nn.Sequential:
        return "its net is not an nn.Sequential"
    blocks: list[Block] = []
    for layer in net:
        if type(layer) is nn.Flatten:
            if blocks or (layer.start_dim, layer.end_dim) != (1, -1):
                return "it has a Flatten between its layers"
            continue
        what = f"{type(layer).__name__} cannot be stacked"
        if list(layer.children()) or layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
            return what
        if any(p.dtype != torch.float32 or not p.requires_grad for p in layer.parameters()):
            return "it has weights that are frozen or not float32"
        if type(layer) is nn.Linear:
            blocks.append(Block(layer.in_features, layer.out_features, layer.bias is not None))
            continue
        if not blocks or (changed := _with(blocks[-1], layer)) is None:
            return what
        blocks[-1] = changed
    if len(list(net.parameters())) < sum(len(list(layer.parameters())) for layer in net):
        return "its layers share weights"
    return blocks or "it has no linear layer"


def _with(block: Block, layer: nn.Module) -> Block | None:
    """The block with one more layer; None where that does not fit."""
    parts = {k: getattr(block, k) for k in ("n_inputs", "width", "bias", "norm", "activation", "dropout")}
    bare = block.activation is None and block.dropout == 0
    for name, fresh in (("batch", nn.BatchNorm1d(block.width)), ("layer", nn.LayerNorm(block.width))):
        if type(layer) is type(fresh):
            fits = bare and block.norm is None and repr(layer) == repr(fresh)
            return Block(**parts | {"norm": name}) if fits else None
    if type(layer) in NAMES:
        fits = bare and repr(layer) == repr(type(layer)())
        return Block(**parts | {"activation": NAMES[type(layer)]}) if fits else None
    if type(layer) is nn.Dropout and block.dropout == 0 and layer.p < 1:
        return Block(**parts | {"dropout": layer.p})
    return None

"""The parameters of K nets of one shape as one matrix."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .net import LANES, StackedBlock, StackedNet
from .shape import Block

Net = tuple[nn.Module, list[Block]]
Places = list[dict[str, tuple[slice, tuple[int, int]]]]  # for each block: where each part lies in a row, and its shape


class Stack:
    """K nets of one shape: their parameters, gradients and running statistics, a row a member.

    Weights that decay come first in a row, then all other parameters; each starts at a multiple of `LANES`, so that no
    member's numbers depend on where in the matrix it stands.

    Attributes:
        parameters: (K, P).
        gradients: (K, P), filled by `net.backward`.
        statistics: (K, Q), the running statistics of batch norm.
        n_decaying: So many columns of `parameters` hold weights that decay.
        net: The nets as one, over these very matrices.

    Args:
        nets: Each member's net and its blocks.
        generators: Each member's stream for dropout.
        device: Where to compute.
    """

    def __init__(
        self, nets: Sequence[Net], generators: Sequence[torch.Generator], device: torch.device | None = None
    ) -> None:
        self.blocks = [blocks for _, blocks in nets]
        self.generators = list(generators)
        shared = self.blocks[0]
        places, self.n_decaying, n_parameters = _lay_out([block.parameters() for block in shared], first=["weight"])
        running, _, n_statistics = _lay_out([block.statistics() for block in shared])
        self._places, self._running = places, running
        parameters, statistics = torch.zeros(len(nets), n_parameters), torch.zeros(len(nets), n_statistics)
        for member, (net, _) in enumerate(nets):
            for where, part in _parts(net, places, running):
                row = (parameters if isinstance(part, nn.Parameter) else statistics)[member]
                row[where] = part.detach().flatten()
        self.use(parameters.to(device), statistics.to(device))

    def __len__(self) -> int:
        return len(self.parameters)

    def keep(self, members: list[int]) -> None:
        """Go on with these members alone, in this order."""
        self.generators = [self.generators[member] for member in members]
        self.blocks = [self.blocks[member] for member in members]
        self.use(self.parameters[members], self.statistics[members])

    def use(self, parameters: Tensor, statistics: Tensor) -> None:
        """Compute with these parameters (K, P) and running statistics (K, Q) from now on."""
        self.parameters, self.statistics, self.gradients = parameters, statistics, torch.zeros_like(parameters)
        views = [
            [{name: matrix[:, where].unflatten(1, shape) for name, (where, shape) in block.items()} for block in places]
            for matrix, places in (
                (self.parameters, self._places),
                (self.gradients, self._places),
                (self.statistics, self._running),
            )
        ]
        own = zip(*self.blocks, strict=True)
        self.net = StackedNet(
            [
                StackedBlock(blocks, parameters, gradients, statistics, self.generators, first=number == 0)
                for number, (blocks, parameters, gradients, statistics) in enumerate(zip(own, *views, strict=True))
            ]
        )

    def weights(self) -> list[slice]:
        """Where in a row the weights of each block lie."""
        return [block["weight"][0] for block in self._places]

    def restore(self, net: nn.Module, parameters: Tensor, statistics: Tensor) -> None:
        """Put one row, (P,) and (Q,), back into a net of its own."""
        with torch.no_grad():
            for where, part in _parts(net, self._places, self._running):
                row = parameters if isinstance(part, nn.Parameter) else statistics
                part.copy_(row[where].view_as(part))


def _lay_out(blocks: Sequence[dict[str, tuple[int, int]]], first: Sequence[str] = ()) -> tuple[Places, int, int]:
    """Where in a row each part of each block lies, where those named `first` end, and how long the row is."""
    places: Places = [{} for _ in blocks]
    ends = []
    end = 0
    for early in (True, False):
        for block, shapes in enumerate(blocks):
            for name, shape in shapes.items():
                if (name in first) == early:
                    size = shape[0] * shape[1]
                    places[block][name] = slice(end, end + size), shape
                    end += -(-size // LANES) * LANES
        ends.append(end)
    return places, ends[0], end


def _parts(net: nn.Module, places: Places, running: Places) -> Iterator[tuple[slice, Tensor]]:
    """Each parameter and each running statistic of a net, with its place in a row."""
    statistics = (buffer for name, buffer in net.named_buffers() if name.endswith(("running_mean", "running_var")))
    for parts, layout in ((net.parameters(), places), (statistics, running)):
        in_order = [
            block[name][0]
            for block in layout
            for name in ("weight", "bias", "scale", "shift", "slope", "mean", "variance")
            if name in block
        ]
        yield from zip(in_order, parts, strict=True)

"""The diagnosis callbacks of `zoo.callbacks` for many members at once; tests compare them with those.

Results of a member must not depend on other members: sums are over rows (see `net`), of which there are at least two.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..callbacks.activation_statistics import INPUT, named
from ..callbacks.dead_units import BOUNDED, near_asymptote
from ..callbacks.layers import widest
from ..parts.metric_names import diagnosing
from .member import Member
from .net import StackedBlock, StackedNet, row_sums
from .stack import Stack

Values = dict[str, Tensor]  # each (K,)


class Watch:
    """What the diagnosis callbacks of a pack measure.

    Attributes:
        on: Whether there is any.
        initial: What was measured of the initial weights.

    Args:
        members: The members.
        device: Where to compute.
    """

    _before: Tensor | None  # the weights ahead of a step that is measured

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        options = diagnosing(members[0].config["callbacks"])
        self.on, self.initial = bool(options), Values()
        self.flow, self.clip, self.dead = (
            options.get(name) for name in ("gradient_flow", "gradient_clipping", "dead_units")
        )
        self.statistics = "activation_statistics" in options
        self._dtype = widest(device)
        if self.statistics:  # the mean square of each member's validation inputs
            squares = {id(m.data): m.data.arrays("val")[0].double().square().mean() for m in members}
            self._inputs = torch.stack([squares[id(m.data)] for m in members]).to(device, self._dtype)
        self._started = False
        self._reset()

    def keep(self, members: list[int]) -> None:
        """Go on with these members alone, in this order."""
        if self.statistics:
            self._inputs = self._inputs[members]

    # --- training ---------------------------------------------------------------------------------------------------

    def forward(self, net: StackedNet, x: Tensor, n: int) -> None:
        """A forward pass of training is done; the very first one is that of the initial weights."""
        if self.statistics and not self._started:
            self._see_moments(net, n)
            mean, variance = _moments(x[..., :n])
            self._note(named({INPUT: (mean, variance + mean.square()), **self._end_moments()}))
        self._started = True

    def backward(self, step: int, stack: Stack) -> None:
        """The gradients are there, not clipped yet.

        Args:
            step: The number of the step in its epoch.
            stack: The members.
        """
        if self.flow is not None and step % self.flow["every_n_steps"] == 0:
            self._gather("gradient_norm", self._norms(stack.gradients, stack))
            self._before = stack.parameters[:, : stack.n_decaying].clone()  # all weights, and nothing else

    def wants_norms(self, step: int) -> bool:
        """Whether the gradient norms of a step are asked for, even if nothing clips."""
        return self.clip is not None and step % self.clip["every_n_steps"] == 0

    def clipped(self, step: int, norms: Tensor, factors: Tensor) -> None:
        """The gradients are clipped.

        Args:
            step: The number of the step in its epoch.
            norms: What they were, (K, 1).
            factors: What they were multiplied by where it is below 1, (K, 1).
        """
        if self.wants_norms(step):
            self._gather("before", norms)
            self._gather("factor", factors)

    def stepped(self, stack: Stack) -> None:
        """The optimizer is done."""
        if self._before is not None:
            sizes = self._norms(self._before, stack)
            change = torch.sub(stack.parameters[:, : stack.n_decaying], self._before, out=self._before)
            self._gather("update_ratio", self._norms(change, stack) / sizes)
            self._before = None

    # --- validation -------------------------------------------------------------------------------------------------

    def see(self, net: StackedNet, n: int) -> None:
        """A batch of validation, of which n samples are no padding, has gone through the nets."""
        if self.statistics:
            self._see_moments(net, n)
        if self.dead is not None:
            self._n += n
            for number, block, out in _active(net, n):
                alive = (out.amax(2) != 0) | (out.amin(2) != 0)  # (K, width), as below
                self._alive[number] = self._alive.get(number, 0) + alive.long()
                self._saturated[number] = self._saturated.get(number, 0) + _near(block, out, self.dead["threshold"])

    def see_initial(self) -> None:
        """All of the validation split has gone through the initial nets."""
        self._note(self._end_dead())
        self._reset()

    def end_epoch(self) -> Values:
        """What was measured in the epoch, validation included."""
        steps = {name: torch.stack(found, 2) for name, found in self._steps.items()}  # (K, values, steps)
        if "before" in steps:
            before, factors = steps.pop("before"), steps.pop("factor")
            steps["clipping"] = torch.cat([before, before * factors.clamp(max=1), factors < 1], 1)
        values, first = Values(), Values()
        for name, found in steps.items():
            values |= _columns(name, row_sums(found) / found.shape[2])
            first |= _columns(name, found[:, :, 0])
        first.pop("clipped_steps", None)
        if f"init/{next(iter(first), '')}" not in self.initial:
            self._note(first)
        if self.statistics:
            values |= named({INPUT: (torch.zeros_like(self._inputs), self._inputs), **self._end_moments()})
        values |= self._end_dead()
        self._reset()
        return values

    # --- inside -----------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._steps: dict[str, list[Tensor]] = {}
        self._before = None
        self._alive: dict[int, Tensor | int] = {}
        self._saturated: dict[int, Tensor | int] = {}
        self._moments: dict[int, list[tuple[int, Tensor, Tensor]]] = {}
        self._n = 0

    def _note(self, values: Values) -> None:
        self.initial |= {f"init/{name}": value for name, value in values.items()}

    def _gather(self, name: str, values: Tensor) -> None:
        self._steps.setdefault(name, []).append(values)

    def _norms(self, rows: Tensor, stack: Stack) -> Tensor:
        """The norm of each layer's weights, or of their gradients, in rows (K, P): (K, layers)."""
        # In double precision a single row has the norm that it has among others, to the bit.
        norms = [torch.linalg.vector_norm(rows[:, at], dim=1, dtype=self._dtype) for at in stack.weights()]
        return torch.stack(norms, 1)

    def _see_moments(self, net: StackedNet, n: int) -> None:
        for number, _, out in _active(net, n):
            mean, variance = _moments(out)
            found = out.shape[1] * n, mean.to(self._dtype), variance.to(self._dtype)
            self._moments.setdefault(number, []).append(found)

    def _end_moments(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Mean and mean square, (K,) each, by the layer's number."""
        moments, self._moments = self._moments, {}
        ended = {}
        for number, batches in moments.items():
            count = sum(n for n, _, _ in batches)
            mean = sum((n * mean for n, mean, _ in batches), torch.zeros(())) / count
            square = sum((n * (variance + mean.square()) for n, mean, variance in batches), torch.zeros(())) / count
            ended[number] = mean, square
        return ended

    def _end_dead(self) -> Values:
        values = Values()
        for number, alive in self._alive.items():
            assert self.dead is not None
            assert isinstance(alive, Tensor)
            saturated = self._saturated[number] >= self.dead["share"] * self._n
            assert isinstance(saturated, Tensor)
            values[f"dead_units/layer_{number}"] = (alive == 0).sum(1) / alive.shape[1]
            values[f"saturated_units/layer_{number}"] = saturated.sum(1) / alive.shape[1]
        return values


def _active(net: StackedNet, n: int) -> list[tuple[int, StackedBlock, Tensor]]:
    """The blocks that have an activation, with their numbers and its outputs (K, width, n)."""
    blocks = enumerate(net.blocks, 1)
    return [(number, block, block.out[..., :n]) for number, block in blocks if block.activations[0] is not None]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Each member's mean and variance over the elements of (K, width, n): (K,) each."""
    rows = x.flatten(1)
    mean = row_sums(rows) / rows.shape[1]
    return mean, row_sums((rows - mean.unsqueeze(1)).square_()) / rows.shape[1]


def _near(block: StackedBlock, out: Tensor, threshold: float) -> Tensor:
    """For how many samples each unit lies near an asymptote: (K, width, n) to (K, width)."""
    counts = torch.zeros(out.shape[:2], dtype=torch.long, device=out.device)
    for name, part, own in zip(block.activations, counts.split(block.runs), out.split(block.runs), strict=True):
        if name in BOUNDED:
            part += near_asymptote(name, own, threshold).sum(2).long()
    return counts


def _columns(name: str, values: Tensor) -> Values:
    """Values (K, n) by their metrics' names."""
    clipping = ["gradient_norm/before_clipping", "gradient_norm/after_clipping", "clipped_steps"]
    names = clipping if name == "clipping" else [f"{name}/layer_{n}" for n in range(1, values.shape[1] + 1)]
    return dict(zip(names, values.unbind(1), strict=True))

"""Trains a pack: K members in one loop, each with the same results as on its own."""

import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from datamodules.loader import epoch_order

from ..callbacks.rare_class import rare_class_metrics, rare_class_of
from ..parts.metric_names import gaps, measures_gap, measures_rare_class
from . import metrics
from .diagnosis import Watch
from .feed import EVAL_BATCH, Split, target_masses
from .member import Member
from .net import row_sums
from .optim import StackedOptimizer
from .stack import Stack

Epoch = Callable[[int], None]

GAPS_AT_ONCE = 8  # members: the training split is the largest, and evaluation holds all outputs of a split


class Pack:
    """Members of one signature, trained together.

    Args:
        members: The members.
        device: Where to compute.
    """

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        # Neighbours with the same activations, the same optimizer share a kernel.
        self.members = sorted(
            members, key=lambda m: ([str(block.activation) for block in m.blocks], m.model.hparams["optimizer"])
        )
        self.device = device
        self.num_classes = members[0].model.num_classes
        self.bounds, self.epochs = members[0].bounds, members[0].config["trainer"]["max_epochs"]
        self.seconds = 0.0

    def fit(self, on_epoch: Epoch = lambda epoch: None) -> None:
        """Train all members, restore each one's best epoch, test it.

        Args:
            on_epoch: Called with the number of each epoch done.
        """
        start = time.perf_counter()
        everyone = self.members
        for member in everyone:
            member.model.data_card = member.data.card()
            if member.model.hparams["class_weights"] == "balanced":
                member.model.balance_classes(member.data.class_counts())
        generators = [torch.Generator(self.device).manual_seed(m.seeds.dropout) for m in everyone]
        stack = Stack([(m.model.net, m.blocks) for m in everyone], generators, self.device)
        self._stack, self._best = stack, (stack.parameters.clone(), stack.statistics.clone())
        place = {id(member): k for k, member in enumerate(everyone)}
        masses = [target_masses(m.model, m.data.arrays("train")[1]) for m in everyone]
        train, val = self._split("train", masses), self._split("val")
        optimizer = StackedOptimizer([m.model.hparams for m in everyone], stack.n_decaying, stack.parameters)
        clips = self._column([m.clip for m in everyone])
        self._watch = watch = Watch(everyone, self.device)
        if watch.dead is not None:
            self._outputs(stack, val, watch)
            watch.see_initial()
        active = everyone
        for epoch in range(self.epochs):
            rates = [m.course.lr for m in active]
            learned, losses = self._train_epoch(active, epoch, stack, train, optimizer, clips)
            measured = {f"train/{k}": v for k, v in learned.items()}
            measured |= {f"val/{k}": v for k, v in self._evaluate(active, stack, val, watch).items()}
            if watch.on:
                measured |= _lists(watch.end_epoch())
            if watch.initial and epoch == 0:
                initial = _lists(watch.initial)
                for k, member in enumerate(everyone):
                    member.initial = {name: values[k] for name, values in initial.items()}
            improved, stay = [], []
            for k, (member, rate) in enumerate(zip(active, rates, strict=True)):
                row = {"lr": rate, "step": float((epoch + 1) * len(self.bounds) - 1)}
                row |= {name: values[k] for name, values in measured.items()}
                if member.course.after_epoch(row, losses[k], epoch * len(self.bounds)):
                    improved.append(k)
                if not member.course.stopped:
                    stay.append(k)
            if improved:
                rows = torch.tensor([place[id(active[k])] for k in improved], device=self.device)
                for kept, now in zip(self._best, (stack.parameters, stack.statistics), strict=True):
                    kept[rows] = now[improved]
            on_epoch(epoch)
            if len(stay) < len(active):
                if not stay:
                    break
                for part in (stack, train, val, optimizer, watch):
                    part.keep(stay)
                active, clips = [active[k] for k in stay], clips[stay]
        self.seconds = time.perf_counter() - start
        self.restore()
        self._test()

    def restore(self) -> None:
        """Give each member's model the weights of its best epoch so far."""
        rows = [matrix.cpu() for matrix in self._best]
        for k, member in enumerate(self.members):
            self._stack.restore(member.model.net, *(matrix[k] for matrix in rows))
            for name, buffer in member.model.net.named_buffers():
                if name.endswith("num_batches_tracked"):
                    buffer.fill_(((member.course.best_epoch or 0) + 1) * len(self.bounds))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _train_epoch(
        self,
        active: Sequence[Member],
        epoch: int,
        stack: Stack,
        train: Split,
        optimizer: StackedOptimizer,
        clips: Tensor,
    ) -> tuple[dict[str, list[float]], list[list[float]]]:
        """Each member's metrics over the epoch, and its loss at each step."""
        order = torch.stack([epoch_order(m.seeds.order, epoch, train.n)[0] for m in active]).to(self.device)
        rows, mass_rows = train.starts + order, train.mass_starts + order
        last, last_mass = len(train.x) - 1, len(train.masses) - 1
        clipping = bool((clips < math.inf).any())
        watch = self._watch
        stepping = [member for member in active if member.course.by_step]
        optimizer.set_lrs([m.course.lr for m in active])
        losses, outputs = [], []
        for step, (start, stop) in enumerate(self.bounds):
            n = stop - start
            x = train.inputs(train.pad(rows[:, start:stop], last))
            at = train.pad(mass_rows[:, start:stop], last_mass)
            mass = train.masses.index_select(0, at.flatten()).unflatten(0, at.shape).transpose(1, 2)
            out = stack.net.forward(x, n, training=True)
            loss, gradient = self._loss(out, mass)
            stack.net.backward(gradient)
            if watch.on:
                watch.forward(stack.net, x, n)
                watch.backward(step, stack)
            if clipping or watch.wants_norms(step):
                watch.clipped(step, *self._clip(stack.gradients, clips))
            optimizer.step(stack.parameters, stack.gradients)
            if watch.on:
                watch.stepped(stack)
            if stepping:
                for member in stepping:
                    member.course.after_step()
                optimizer.set_lrs([m.course.lr for m in active])
            losses.append(loss)
            outputs.append(out[..., :n])
        by_step = torch.stack(losses, 1)  # (K, steps)
        sizes = torch.tensor([stop - start for start, stop in self.bounds], device=self.device)
        y = train.y.gather(1, order)
        columns = {"loss": row_sums(by_step * sizes) / train.n, **self._metrics(active, torch.cat(outputs, 2), y, True)}
        return _lists(columns), by_step.tolist()

    def _loss(self, out: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
        """Each member's loss of a batch, (K,), and its gradient by the outputs, (K, C, B); see `target_masses`."""
        target, weight = mass[:, :-1], mass[:, -1:]
        total = row_sums(weight)  # (K, 1)
        total = torch.where(total > 0, total, math.inf)  # a batch without weight contributes nothing
        if self.num_classes == 1:
            error = (out - target) * weight
            return row_sums(error.square()).squeeze(1) / total.squeeze(1), error * (2 / total.unsqueeze(2))
        log_p = out.log_softmax(1)
        share = target / -total.unsqueeze(2)
        loss = row_sums((log_p * share).flatten(1))
        return loss, torch.ops.aten._log_softmax_backward_data(share, log_p, 1, torch.float32)

    def _clip(self, gradients: Tensor, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Scale each row down to its norm allowed, as `torch.nn.utils.clip_grad_norm_` does.

        Returns:
            The norms, and the factors where they are below 1: (K, 1) each.
        """
        rows = gradients if len(gradients) > 1 else torch.cat([gradients, gradients])  # see `row_sums`
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)[: len(clips)]
        factors = clips / (norms + 1e-6)
        factors = torch.where(clips.isinf(), 1.0, factors)  # a norm that is infinite, too, is none of theirs
        # Mostly none is too long, and a look is cheaper than a product; not on a GPU, which would have to wait for it.
        if self.device.type != "cpu" or not bool((factors >= 1).all()):  # a NaN is not
            gradients.mul_(factors.clamp(max=1))
        return norms, factors

    def _outputs(self, stack: Stack, split: Split, watch: Watch | None = None) -> Tensor:
        """The outputs for a split, (K, C, N), the diagnosis looking on if there is any."""
        outputs = []
        for start in range(0, split.n, EVAL_BATCH):
            n = min(EVAL_BATCH, split.n - start)
            rows = split.pad(split.starts + torch.arange(start, start + n, device=self.device), len(split.x) - 1)
            outputs.append(stack.net.forward(split.inputs(rows), n, training=False)[..., :n])
            if watch is not None:
                watch.see(stack.net, n)
        return torch.cat(outputs, 2)

    def _evaluate(
        self, active: Sequence[Member], stack: Stack, split: Split, watch: Watch | None = None
    ) -> dict[str, list[float]]:
        out = self._outputs(stack, split, watch)
        if self.num_classes == 1:
            loss = row_sums((out.squeeze(1) - split.y).square()) / split.n
        else:
            loss = row_sums(-out.log_softmax(1).gather(1, split.y.unsqueeze(1)).squeeze(1)) / split.n
        return _lists({"loss": loss, **self._metrics(active, out, split.y, train=False)})

    def _metrics(self, active: Sequence[Member], out: Tensor, y: Tensor, train: bool) -> dict[str, Tensor]:
        if self.num_classes > 1:
            return metrics.classification(out, y, train)
        targets = [m.data.card()["target"] for m in active]
        # In float64, as `ZooModule.in_units`.
        std, mean = (self._column([t[k] for t in targets], torch.float64) for k in ("std", "mean"))
        return metrics.regression(out.squeeze(1).double() * std + mean, y.double() * std + mean)

    def _test(self) -> None:
        """Test the best epochs of all members that did not diverge; what else they ask for comes after."""
        tested = [member for member in self.members if member.course.diverged_step is None]
        for member, row in self._measure("test", tested, len(tested) or 1):
            member.tested = {f"test/{name}": value for name, value in row.items()}
        asking = [member for member in tested if measures_gap(member.config["callbacks"])]
        for member, row in self._measure("train", asking, GAPS_AT_ONCE):
            member.tested |= gaps(row, member.tested)
        asking = [member for member in tested if measures_rare_class(member.config["callbacks"])]
        for some, stack in self._stacks(asking, len(asking) or 1):
            logits = {
                split: self._outputs(stack, Split(split, [m.data for m in some], some[0].blocks, self.device)).cpu()
                for split in ("val", "test")
            }
            for k, member in enumerate(some):
                outputs = {split: (rows[k].T, member.data.arrays(split)[1].cpu()) for split, rows in logits.items()}
                member.tested |= rare_class_metrics(rare_class_of(member.data), outputs)

    def _measure(self, name: str, members: list[Member], at_once: int) -> Iterator[tuple[Member, dict[str, float]]]:
        """Members with their metrics on a split, by the weights of their models."""
        for some, stack in self._stacks(members, at_once):
            split = Split(name, [m.data for m in some], some[0].blocks, self.device)
            measured = self._evaluate(some, stack, split)
            for k, member in enumerate(some):
                yield member, {metric: values[k] for metric, values in measured.items()}

    def _stacks(self, members: list[Member], at_once: int) -> Iterator[tuple[list[Member], Stack]]:
        """Members, so many at once, with their models' weights stacked anew."""
        for start in range(0, len(members), at_once):
            some = members[start : start + at_once]
            yield some, Stack([(m.model.net, m.blocks) for m in some], [], self.device)

    def _split(self, name: str, masses: Sequence[Tensor] = ()) -> Split:
        return Split(name, [m.data for m in self.members], self.members[0].blocks, self.device, masses)

    def _column(self, values: Sequence[float], kind: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(values, dtype=kind, device=self.device).unsqueeze(1)


def _lists(columns: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in columns.items()}

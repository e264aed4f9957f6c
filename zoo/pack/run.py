"""Trains members as a pack and writes the files of each."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch

from ..outputs.curve import EpochCSVLogger
from ..outputs.files import write_atomically
from ..outputs.result import Result, count_parameters, make_result
from ..parts.metric_names import is_metric
from . import device_of
from .member import Member
from .train import Pack

SAVE_EVERY = 10.0  # seconds between the files of a run that goes on


def fit_members(
    members: Sequence[Member],
    folders: Sequence[Path],
    *,
    progress: bool = False,
    checkpoints: bool = False,
    watch: Callable[[dict[str, Any]], None] | None = None,
) -> list[Result]:
    """Train members of one signature together; leave in each one's folder metrics.csv, and no result.

    Args:
        members: The members, none of which has a `reason_to_run_alone`.
        folders: Where their files go.
        progress: Show a progress bar.
        checkpoints: Leave best.ckpt, too.
        watch: Called with each epoch of the first member as it ends, a row of its metrics.csv.
    """
    device = device_of(members[0].config)
    assert device is not None
    pack = Pack(members, device)
    saved = time.monotonic()

    def after(epoch: int) -> None:
        nonlocal saved
        bar.show(members[0])
        if watch is not None:
            rows = members[0].course.rows
            watch({"epoch": len(rows) - 1, **rows[-1]})
        if time.monotonic() - saved > SAVE_EVERY:
            pack.restore()
            _save(members, folders, checkpoints)
            saved = time.monotonic()

    with _Bar(pack.epochs, progress) as bar:
        pack.fit(after)
    _save(members, folders, checkpoints)
    results = []
    for member in members:
        course = member.course
        best = {} if course.best_epoch is None else course.rows[course.best_epoch]
        result = make_result(
            count_parameters(member.model),
            member.data,
            diverged_step=course.diverged_step,
            metrics={**member.tested, **{k: v for k, v in best.items() if is_metric(k)}, **member.initial},
            best_epoch=course.best_epoch,
            epochs_run=len(course.rows),
            train_seconds=pack.seconds / len(members),
            where={"precision": "32-true", "device": str(device), "pack_size": len(members)},
        )
        results.append(result)
    return results


def _save(members: Sequence[Member], folders: Sequence[Path], checkpoints: bool) -> None:
    """Write each member's curve, and its best epoch where checkpoints are wanted."""
    for member, folder in zip(members, folders, strict=True):
        logger = EpochCSVLogger(folder / "metrics.csv")
        logger.rows = dict(enumerate(member.course.rows))
        logger.finalize("")
        if checkpoints and member.config["callbacks"]["model_checkpoint"] is not None:
            _save_checkpoint(member, folder / "best.ckpt")


def _save_checkpoint(member: Member, path: Path) -> None:
    """The checkpoint that Lightning would have left of the weights alone."""
    best = member.course.best_epoch
    assert best is not None
    checkpoint: dict[str, Any] = {
        "epoch": best,
        "global_step": (best + 1) * len(member.bounds),
        "pytorch-lightning_version": L.__version__,
        "state_dict": member.model.state_dict(),
        "hparams_name": "kwargs",
        "hyper_parameters": dict(member.model.hparams),
    }
    member.model.on_save_checkpoint(checkpoint)
    content = io.BytesIO()  # written at once, so that a full disk leaves no half a checkpoint
    torch.save(checkpoint, content)
    write_atomically(path, content.getvalue())


class _Bar:
    """A progress bar over epochs, as wide as the terminal; nothing where none is wanted."""

    def __init__(self, epochs: int, shown: bool) -> None:
        self.epochs, self.shown = epochs, shown

    def __enter__(self) -> "_Bar":
        if self.shown:
            from rich.console import Console
            from rich.progress import Progress, TextColumn

            columns = *Progress.get_default_columns(), TextColumn("{task.fields[loss]}")
            self.progress = Progress(*columns, console=Console(stderr=True))
            self.progress.start()
            self.task = self.progress.add_task("epochs", total=self.epochs, loss="")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.shown:
            self.progress.stop()

    def show(self, member: Member) -> None:
        """One more epoch is done."""
        if self.shown:
            loss = f"val/loss {member.course.rows[-1]['val/loss']:.4f}"
            self.progress.update(self.task, advance=1, loss=loss)

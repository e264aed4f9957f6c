"""Training of a run, used by both the command line and the trials of a study."""

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as L
import torch
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules import create_datamodule
from datamodules.base import ArrayDataModule
from datamodules.errors import InputError

from .callbacks.layers import Diagnosis
from .callbacks.rare_class import RareClass, rare_class_metrics, rare_class_of, why_not_rare
from .callbacks.throughput import Throughput
from .config import resolve
from .devices import as_launched, reason_lacking
from .models.base import ZooModule
from .models.create import create_model
from .outputs.checkpoint import read_checkpoint
from .outputs.curve import EpochCSVLogger
from .outputs.files import write_atomically
from .outputs.result import Result, count_parameters, make_result
from .pack import Member, reason_to_run_alone
from .pack.run import fit_members
from .parts.metric_names import gaps, is_metric, measures_gap, measures_rare_class
from .parts.optim import check_plan
from .parts.seeding import derive_seeds
from .plain import ResolvedConfig, canonical
from .tracking.watching import Watchers, Watching
from .trainer import (
    check_batches,
    check_callbacks,
    check_division,
    check_monitors,
    check_processes,
    make_trainer,
    quiet,
)
from .yaml_lines import dump


def fit(
    config: Mapping[str, Any], out: str | Path, *, progress: bool = False, pack: bool = True, watchers: Watchers = ()
) -> Result:
    """Train, restore the best checkpoint, test it once; write config.yaml, best.ckpt, metrics.csv and result.json.

    The same config gives the same results, whatever ran before in this process, with the same number of threads. With
    several devices, each batch is divided between them; docs/strategies.md describes what stays the same.

    Args:
        config: See `zoo.config`.
        out: Folder for the files, created if necessary.
        progress: Whether to show a progress bar.
        pack: Whether to train small nets as a pack of one (see `zoo.pack`), which is several times faster; Lightning
            trains all other nets.
        watchers: Watchers of the run, on its first process (see `zoo.tracking.watchers`). They do not affect results.

    Raises:
        InputError: If the config cannot run. Nothing is written in this case.
    """
    return run(resolve(config), out, progress=progress, pack=pack, watchers=watchers)


def run(
    config: ResolvedConfig,
    out: str | Path,
    *,
    progress: bool = False,
    pack: bool = True,
    watchers: Watchers = (),
    record: bool = True,
) -> Result:
    """Run `fit` for a resolved config.

    Args:
        config: The resolved config.
        out: See `fit`.
        progress: See `fit`.
        pack: See `fit`.
        watchers: See `fit`.
        record: Whether to write config.yaml and result.json; if not, the caller stores their contents.

    Raises:
        InputError: See `fit`.
    """
    with Watching(watchers) as watching:
        return _run(config, Path(out), progress, pack, watching, record)


def _run(config: ResolvedConfig, out: Path, progress: bool, pack: bool, watching: Watching, record: bool) -> Result:
    entered = time.perf_counter()
    config = ResolvedConfig({**config, "trainer": as_launched(config["trainer"])})
    if reason := reason_lacking(config):
        raise InputError(reason)
    model, data = prepare(config)
    check_callbacks(config, model.num_classes)
    if pack and not reason_to_run_alone(config, model, data):
        watching.begin(config)
        _make_folder(config, out, record)
        progress = config["trainer"].get("enable_progress_bar", progress)
        member, watch = Member(config, model, data), watching.live
        (result,) = fit_members([member], [out], progress=progress, checkpoints=True, watch=watch)
        if record:
            result.write(out)
        watching.end(result, model, data, out)
        return result
    n_parameters = count_parameters(model)
    with quiet():
        trainer, logger = make_trainer(config, out, progress)
        check_processes(trainer)
        check_plan(model.hparams["schedule"], trainer.max_epochs)
        check_division(data.batch_size, trainer.world_size)
        check_batches(model, data.smallest_batch, trainer.world_size)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Throughput):
                callback.entered = entered
        if trainer.is_global_zero:
            watching.begin(config)
            _make_folder(config, out, record)
            logger.path = out / "metrics.csv"
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _MultiProcessingLauncher):
            outcome = launcher.launch(_train_in_worker, trainer, model, data, logger, config)
            if isinstance(outcome, InputError):
                raise outcome
        else:
            logger.on_row = watching.live if trainer.is_global_zero else None
            outcome = _train(trainer, model, data, logger, config)
    where = {"precision": str(trainer.precision), "pack_size": None, "world_size": trainer.world_size}
    result = make_result(
        n_parameters,
        data,
        diverged_step=outcome.diverged_step,
        metrics=outcome.metrics,
        best_epoch=outcome.best_epoch,
        epochs_run=outcome.epochs_run,
        train_seconds=outcome.train_seconds,
        where={**where, "device": outcome.device},
    )
    if trainer.is_global_zero:
        if record:
            result.write(out)
        # With several processes, the weights may be sharded, or in a process that has exited.
        watching.end(result, watching.restored(out) if trainer.world_size > 1 else model, data, out)
    return result


class Outcome(NamedTuple):
    """Outcome of training and testing, see `Result`; only complete on rank 0."""

    diverged_step: int | None
    metrics: dict[str, float]
    best_epoch: int | None
    epochs_run: int
    train_seconds: float
    device: str


def _train(
    trainer: L.Trainer, model: ZooModule, data: ArrayDataModule, logger: EpochCSVLogger, config: ResolvedConfig
) -> Outcome:
    """Train and test, on this rank.

    Raises:
        InputError: If Lightning rejects a flag.
    """
    with quiet():
        # Every rank has the same weights and its own dropout. When ranks join, Lightning seeds torch again with the
        # last seed of `L.seed_everything`; `torch.manual_seed` would leave all ranks with the same dropout.
        seed = derive_seeds(config["seed_everything"]).dropout + trainer.global_rank
        L.seed_everything(seed % 2**32, verbose=False)
        # FSDP replaces the weights by this rank's shards, so a copy is kept for testing.
        whole = copy.deepcopy(model) if isinstance(trainer.strategy, FSDPStrategy) else model
        start = time.perf_counter()
        try:
            trainer.fit(model, datamodule=data)
        except MisconfigurationException as error:
            raise InputError(f"Lightning rejected the trainer's flags: {error} (flags: {config['trainer']})") from None
        if trainer.world_size > 1 and model.started is not None:  # exclude the start and imports of other ranks
            start = model.started
        seconds, epochs_run = time.perf_counter() - start, trainer.current_epoch
        best_epoch, metrics = _test_best(trainer, model, whole, data, logger, measures_gap(config["callbacks"]))
    device = str(trainer.strategy.root_device)
    return Outcome(model.diverged_step, metrics, best_epoch, epochs_run, seconds, device)


def _train_in_worker(trainer: L.Trainer, *args: Any) -> Outcome | InputError:
    """Train and test in a process started by `ddp_spawn` or `ddp_fork`.

    Lightning would start new processes for each call of the trainer, and return weights and metrics, but neither the
    curve, nor the epoch, nor the step at which a run diverged.
    """
    trainer.strategy._launcher = None  # the processes are already running
    trainer.strategy.set_world_ranks()  # type: ignore[attr-defined]  # those of this process, not of its parent
    try:
        return _train(trainer, *args)
    except InputError as error:
        return error


def prepare(config: ResolvedConfig, data: ArrayDataModule | None = None) -> tuple[ZooModule, ArrayDataModule]:
    """Create the model, with initial weights, and the data of a resolved config.

    Args:
        config: The config.
        data: Its data, if another run with the same data has set it up.

    Raises:
        InputError: If a value is out of range, or the data cannot be read or does not fit the model.
    """
    seeds = derive_seeds(config["seed_everything"])
    L.seed_everything(config["seed_everything"], verbose=False)
    if data is None:
        data = create_datamodule(**config["data"])
        data.seed = seeds.split if data.seed is None else data.seed
        data.order_seed = seeds.order
        data.setup()
    torch.manual_seed(seeds.init)
    model = create_model(**config["model"], input_shape=data.input_shape, num_classes=data.num_classes)
    check_batches(model, data.smallest_batch)
    check_monitors(config["callbacks"], data.arrays("val")[1], data.card()["class_names"])
    if measures_rare_class(config["callbacks"]) and (reason := why_not_rare(data)):
        raise InputError(reason)
    # The checkpoint stores the derived seed, so that the same validation split can be restored.
    # Its paths are absolute, so that it can be evaluated from any folder.
    here = {name: _absolute(config["data"][name]) for name in data.paths if name in config["data"]}
    model.config = {**config, "data": {**config["data"], **here, "seed": data.seed}}
    return model, data


def _absolute(path: str | None) -> str | None:
    """Return the absolute path of a file; a path that is looked up below the data root stays as it is."""
    return str(Path(path).absolute()) if path is not None and Path(path).exists() else path


Shared = dict[str, ArrayDataModule]


def make_member(config: ResolvedConfig, shared: Shared) -> Member:
    """Create a member of a pack from a resolved config.

    Args:
        config: A config without a `reason_to_run_alone`.
        shared: Data of other members, which is shared by members with the same data section and split seed.

    Raises:
        InputError: If a value is out of range, or the data cannot be read or does not fit the model.
    """
    seed = config["seed_everything"] if config["data"]["seed"] is None else None  # data.seed takes precedence
    name = canonical([seed, config["data"]])
    model, data = prepare(config, shared.get(name))
    shared[name] = data
    return Member(config, model, data)


def _make_folder(config: ResolvedConfig, out: Path, record: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if record:
        write_atomically(out / "config.yaml", dump(config))


def _test_best(
    trainer: L.Trainer, model: ZooModule, whole: ZooModule, data: ArrayDataModule, logger: EpochCSVLogger, gap: bool
) -> tuple[int | None, dict[str, float]]:
    """Restore the weights of the best epoch, if they were saved, and test them; a diverged run is not tested.

    With `gap`, also evaluate them on the training split; with `rare_class`, on validation. `whole` is the model to
    restore. It is not the trained model if the weights of that are sharded; each test then shards a new copy.
    """
    last_epoch = best_epoch = trainer.current_epoch - 1 if trainer.current_epoch else None
    checkpoint = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if model.diverged_step is not None:
        return None, {}
    if trainer.checkpoint_callback is not None and not checkpoint:
        best_epoch = None  # training ended before the first validation: the last weights are kept, and tested
    if checkpoint and best_epoch is not None:
        # The first rank wrote the checkpoint, possibly to a local disk of its node.
        saved = trainer.strategy.broadcast(read_checkpoint(checkpoint) if trainer.is_global_zero else {})
        best_epoch = saved["epoch"]
        whole.load_state_dict(saved["state_dict"])
    elif whole is not model:  # all ranks take part in gathering the weights, but only the first gets them
        whole.load_state_dict(trainer.strategy.broadcast(trainer.strategy.lightning_module_state_dict()))

    def test(**on: Any) -> dict[str, float]:
        tested = whole if whole is model else copy.deepcopy(whole)
        return dict(trainer.test(tested, verbose=False, **on)[0])

    tested = test(datamodule=data)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, RareClass):
            outputs = {"test": callback.outputs}
            test(dataloaders=data.eval_dataloader("val"))
            tested |= rare_class_metrics(rare_class_of(data), {**outputs, "val": callback.outputs})
    if gap:
        trained = test(dataloaders=data.eval_dataloader("train"))
        tested |= gaps({name.removeprefix("test/"): value for name, value in trained.items()}, tested)
    restored = last_epoch if best_epoch is None else best_epoch
    best = logger.rows.get(-1 if restored is None else restored, {})  # only the first rank has rows
    row = {name: value for name, value in best.items() if is_metric(name)}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        row |= callback.initial if isinstance(callback, Diagnosis) else {}
        row |= callback.metrics if isinstance(callback, Throughput) else {}
    return best_epoch, {**tested, **row}

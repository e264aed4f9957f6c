"""Engines run jobs in other processes; what is done, the store decides."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import require

from .options import check_engine_options

if TYPE_CHECKING:
    from ...records.store import Store
    from .base import Engine


def open_engine(
    args: argparse.Namespace,
    workers: int,
    store: "Store",
    preload: bool,
    alone: bool = False,
    beside: Path | None = None,
) -> "Engine":
    """The engine that `--engine` names, with its options; its libraries are imported only then.

    Args:
        args: The options of `bench run`.
        workers: How many jobs run at once.
        store: The study's.
        preload: Whether jobs need torch and lightning.
        alone: Whether jobs run one at a time, since they measure time.
        beside: The study file if its task is the user's own, whose module lies beside it.

    Raises:
        InputError: It is not there, or options are given that are not its own.
    """
    check_engine_options(args)
    if args.engine == "slurm":
        from .slurm_options import open_slurm

        return open_slurm(args, workers, store, preload)
    left = [path.parent.as_posix() for path in store.folder.glob("slurm/*/array.json")]
    words = f"jobs of an earlier --engine slurm may run still, see {', '.join(left)}"
    require(not left, f"{words}; say --engine slurm again, or end them and remove that folder.")
    if args.engine == "ray":
        from .ray import open_ray

        at_once = workers if alone or args.workers is not None else None
        cpus = 1.0 if args.cpus_per_trial is None else args.cpus_per_trial
        return open_ray(args.ray_address, store.folder, cpus, args.gpus_per_trial or 0.0, at_once, beside, preload)
    from .local import LocalEngine

    return LocalEngine(workers, preload)

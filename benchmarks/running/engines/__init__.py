"""Engines run jobs in other processes; the store alone decides which trials are done."""

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
    study_file: Path | None = None,
) -> "Engine":
    """Open the engine selected with `--engine`; its libraries are imported only here.

    Args:
        args: Options of `bench run`.
        workers: Number of jobs that run at the same time.
        store: The store of the study.
        preload: Whether jobs need torch and lightning.
        alone: Whether jobs run one at a time, because they measure time.
        study_file: The study file if the task is the user's own; its modules are next to the file.

    Raises:
        InputError: The engine is not available, or an option belongs to another engine.
    """
    check_engine_options(args)
    if args.engine == "slurm":
        from .slurm_options import open_slurm

        return open_slurm(args, workers, store, preload)
    left = [path.parent.as_posix() for path in store.folder.glob("slurm/*/array.json")]
    words = f"jobs of an earlier run with --engine slurm may still be running, see {', '.join(left)}"
    require(not left, f"{words}; use --engine slurm again, or cancel the jobs and remove that folder.")
    if args.engine == "ray":
        from .ray import open_ray

        at_once = workers if alone or args.workers is not None else None
        cpus = 1.0 if args.cpus_per_trial is None else args.cpus_per_trial
        return open_ray(args.ray_address, store.folder, cpus, args.gpus_per_trial or 0.0, at_once, study_file, preload)
    from .local import LocalEngine

    return LocalEngine(workers, preload)

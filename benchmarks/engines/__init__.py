"""Engines run jobs in other processes; what is done, the store decides."""

import argparse
from typing import TYPE_CHECKING

from datamodules.errors import InputError, choose, require

if TYPE_CHECKING:
    from ..store import Store
    from .base import Engine

ENGINES = ("local", "slurm")
AT_ONCE = 16  # tasks on a cluster, unless --workers says so; the cores of a login node say nothing


def open_engine(args: argparse.Namespace, workers: int, store: "Store", preload: bool) -> "Engine":
    """The engine that `--engine` names, with its options; its libraries are imported only then.

    Args:
        args: The options of `bench run`.
        workers: How many jobs run at once.
        store: The study's.
        preload: Whether jobs need torch and lightning.

    Raises:
        InputError: It is not there, or options are given that are not its own.
    """
    choose("engine", args.engine, ENGINES)
    _refuse_options_of_others(args)
    if args.engine != "slurm":
        left = [path.parent.as_posix() for path in store.folder.glob("slurm/*/array.json")]
        words = f"jobs of an earlier --engine slurm may run still, see {', '.join(left)}"
        require(not left, f"{words}; say --engine slurm again, or end them and remove that folder.")
    if args.engine == "slurm":
        from .slurm_options import open_slurm

        return open_slurm(args, workers, store, preload)
    from .local import LocalEngine

    return LocalEngine(workers, preload)


def _refuse_options_of_others(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        of = name.partition("_")[0]
        if of in ENGINES and of != args.engine and value not in (None, []):
            raise InputError(f"--{name.replace('_', '-')} is for --engine {of}; say so, or leave it out.")
    for name in ("cpus_per_trial", "gpus_per_trial"):
        given = getattr(args, name)
        option = f"--{name.replace('_', '-')}"
        elsewhere = given is None or args.engine != "local"
        require(elsewhere, f"{option} is not for --engine local, where each worker has a core; leave it out.")
        require(given is None or given >= 0, f"{option} must not be negative, got {given}.")

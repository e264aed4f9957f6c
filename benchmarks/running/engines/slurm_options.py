"""Create the SLURM engine from the options of `bench run`."""

import argparse

from datamodules.errors import require

from ...records.store import Store
from .slurm import SlurmEngine
from .slurm_queue import LocalQueue, Queue, Resources, SlurmQueue, parse_extra

LEAST = 2  # minutes; SLURM may send its signal one minute early


def open_slurm(args: argparse.Namespace, workers: int, store: Store, preload: bool) -> SlurmEngine:
    """Create the engine; see `benchmarks.running.engines.open_engine`.

    Raises:
        InputError: An option is invalid, SLURM is not available, or SLURM would reject such jobs.
    """
    minutes, cpus, gpus = args.slurm_time, args.cpus_per_trial, args.gpus_per_trial
    good = minutes is None or minutes >= LEAST
    require(good, f"--slurm-time must be at least {LEAST} minutes, got {minutes}.")
    tasks = args.slurm_tasks
    require(tasks is None or tasks >= 1, f"--slurm-tasks must be at least 1, got {tasks}.")
    for name, given, least in (("cpus", cpus, 1), ("gpus", gpus, 0)):
        whole = given is None or (given % 1 == 0 and given >= least)
        require(whole, f"--{name}-per-trial must be an integer of at least {least} with --engine slurm, got {given}.")
    resources = Resources(
        60 if minutes is None else minutes,
        int(cpus or 1),
        int(gpus or 0),
        args.slurm_partition,
        parse_extra(args.slurm),
    )
    queue: Queue = LocalQueue(resources) if args.slurm_executor == "local" else SlurmQueue(resources)
    return SlurmEngine(store, queue, workers, tasks, preload)

"""From the options of `bench run --engine slurm` to the engine."""

import argparse

from datamodules.errors import require

from ...records.store import Store
from .slurm import SlurmEngine
from .slurm_queue import LocalQueue, Queue, Resources, SlurmQueue, parse_extra

LEAST = 2  # minutes


def open_slurm(args: argparse.Namespace, workers: int, store: Store, preload: bool) -> SlurmEngine:
    """The engine for these options; see `benchmarks.running.engines.open_engine`.

    Raises:
        InputError: Some number is nonsense, SLURM is not there, or SLURM would refuse such jobs.
    """
    minutes, cpus, gpus = args.slurm_time, args.cpus_per_trial, args.gpus_per_trial
    good = minutes is None or minutes >= LEAST
    require(good, f"--slurm-time must be at least {LEAST} minutes, since SLURM may warn one early; got {minutes}.")
    tasks = args.slurm_tasks
    require(tasks is None or tasks >= 1, f"--slurm-tasks must be at least 1, got {tasks}.")
    for name, given, least in (("cpus", cpus, 1), ("gpus", gpus, 0)):
        whole = given is None or (given % 1 == 0 and given >= least)
        require(whole, f"--{name}-per-trial must be a whole number of at least {least} for SLURM, got {given}.")
    resources = Resources(
        60 if minutes is None else minutes,
        int(cpus or 1),
        int(gpus or 0),
        args.slurm_partition,
        parse_extra(args.slurm),
    )
    queue: Queue = LocalQueue(resources) if args.slurm_executor == "local" else SlurmQueue(resources)
    return SlurmEngine(store, queue, workers, tasks, preload)

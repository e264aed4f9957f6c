"""Options of `bench run` for the engines. Imports no engine."""

import argparse
from importlib.util import find_spec

from datamodules.errors import choose, require

# Each engine with its options.
ENGINES: dict[str, tuple[str, ...]] = {
    "local": (),
    "ray": ("ray_address", "cpus_per_trial", "gpus_per_trial"),
    "slurm": (
        "slurm_partition",
        "slurm_time",
        "slurm_tasks",
        "slurm",
        "slurm_executor",
        "cpus_per_trial",
        "gpus_per_trial",
    ),
}
AT_ONCE = 16  # default number of SLURM tasks that run at once; the login node's number of cores is irrelevant
PACKAGES = {"ray": "ray", "slurm": "submitit"}  # package that each engine needs, from the extra of the same name


def add_engine_options(run: argparse.ArgumentParser) -> None:
    """Add the engine options to the parser of `bench run`."""
    what = "where trials run: local (this machine, the default), ray or slurm; see docs/engines.md"
    run.add_argument("--engine", default="local", metavar="|".join(ENGINES), help=what)
    what = "CPUs per trial or pack, for ray and slurm (default: 1)"
    run.add_argument("--cpus-per-trial", type=float, metavar="X", help=what)
    what = "GPUs per trial or pack, for ray and slurm (default: 0)"
    run.add_argument("--gpus-per-trial", type=float, metavar="Y", help=what)
    ray = run.add_argument_group("--engine ray")
    what = "HOST:PORT, ray://HOST:PORT or auto (default: $RAY_ADDRESS, or else start a cluster on this machine)"
    ray.add_argument("--ray-address", metavar="ADDRESS", help=what)
    slurm = run.add_argument_group("--engine slurm")
    what = "partition of the jobs (default: the cluster's default)"
    slurm.add_argument("--slurm-partition", metavar="P", help=what)
    what = "time limit of a job, after which it is requeued and continues (default: 60)"
    slurm.add_argument("--slurm-time", type=int, metavar="MINUTES", help=what)
    what = "maximum number of jobs in the array (default: one per pack, or the cluster's limit)"
    slurm.add_argument("--slurm-tasks", type=int, metavar="N", help=what)
    what = "another option of sbatch, such as account=NAME; can be repeated"
    slurm.add_argument("--slurm", action="append", default=[], metavar="KEY=VALUE", help=what)
    what = "slurm (default), or local for testing with processes on this machine"
    slurm.add_argument("--slurm-executor", choices=["slurm", "local"], help=what)


def check_engine_options(args: argparse.Namespace) -> None:
    """Check the engine options.

    Raises:
        InputError: A value is invalid, an option belongs to another engine, or the engine's package is missing.
    """
    choose("engine", args.engine, ENGINES)
    for name in dict.fromkeys(option for options in ENGINES.values() for option in options):
        goes = [engine for engine, options in ENGINES.items() if name in options]
        option = f"--{name.replace('_', '-')}"
        fits = getattr(args, name) in (None, []) or args.engine in goes
        require(fits, f"{option} cannot be used with --engine {args.engine}; it requires --engine {' or '.join(goes)}.")
    cpus, gpus = args.cpus_per_trial, args.gpus_per_trial
    require(cpus is None or 0 < cpus < 1e6, f"--cpus-per-trial must be a number above 0, got {cpus}.")
    require(gpus is None or 0 <= gpus < 1e6, f"--gpus-per-trial must be a number of at least 0, got {gpus}.")
    there = args.engine not in PACKAGES or find_spec(PACKAGES[args.engine]) is not None
    remedy = f"run pip install 'ablation-zoo[{args.engine}]'"
    require(there, f"--engine {args.engine} requires {PACKAGES.get(args.engine)}, which is not installed; {remedy}.")

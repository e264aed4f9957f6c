"""The options of `bench run` that say where trials run. Imports no engine."""

import argparse
from importlib.util import find_spec

from datamodules.errors import choose, require

# Each engine with the options that go with it.
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
AT_ONCE = 16  # tasks of SLURM, unless --workers says so; the cores of a login node say nothing
PACKAGES = {"ray": "ray", "slurm": "submitit"}  # what an engine needs of the extra of its name


def add_engine_options(run: argparse.ArgumentParser) -> None:
    """Add them to its parser."""
    what = "where trials run: local (on this machine, the default), ray or slurm; see docs/engines.md"
    run.add_argument("--engine", default="local", metavar="|".join(ENGINES), help=what)
    what = "CPUs that each trial or pack is given, not with --engine local (default: 1)"
    run.add_argument("--cpus-per-trial", type=float, metavar="X", help=what)
    what = "GPUs that each trial or pack is given, not with --engine local (default: 0)"
    run.add_argument("--gpus-per-trial", type=float, metavar="Y", help=what)
    ray = run.add_argument_group("--engine ray")
    what = "HOST:PORT, ray://HOST:PORT or auto (default: $RAY_ADDRESS; without it a cluster is started here)"
    ray.add_argument("--ray-address", metavar="ADDRESS", help=what)
    slurm = run.add_argument_group("--engine slurm")
    what = "where its jobs run (default: the cluster's)"
    slurm.add_argument("--slurm-partition", metavar="P", help=what)
    what = "time limit of a job, after which it is queued again and goes on where it was (default: 60)"
    slurm.add_argument("--slurm-time", type=int, metavar="MINUTES", help=what)
    what = "jobs of the array, at most, which share the packs (default: one a pack, or as many as the cluster takes)"
    slurm.add_argument("--slurm-tasks", type=int, metavar="N", help=what)
    what = "another option of sbatch, such as account=NAME; may be given again"
    slurm.add_argument("--slurm", action="append", default=[], metavar="KEY=VALUE", help=what)
    what = "slurm (the default), or local: processes on this machine, for trying out"
    slurm.add_argument("--slurm-executor", choices=["slurm", "local"], help=what)


def check_engine_options(args: argparse.Namespace) -> None:
    """Refuse options that cannot be, or that go with another engine; and an engine whose package is missing.

    Raises:
        InputError: With the remedy.
    """
    choose("engine", args.engine, ENGINES)
    for name in dict.fromkeys(option for options in ENGINES.values() for option in options):
        goes = [engine for engine, options in ENGINES.items() if name in options]
        option = f"--{name.replace('_', '-')}"
        fits = getattr(args, name) in (None, []) or args.engine in goes
        require(fits, f"{option} goes with --engine {' or '.join(goes)}, and this is --engine {args.engine}.")
    cpus, gpus = args.cpus_per_trial, args.gpus_per_trial
    require(cpus is None or 0 < cpus < 1e6, f"--cpus-per-trial must be a number above 0, got {cpus}.")
    require(gpus is None or 0 <= gpus < 1e6, f"--gpus-per-trial must be a number, not negative; got {gpus}.")
    there = args.engine not in PACKAGES or find_spec(PACKAGES[args.engine]) is not None
    remedy = f"pip install 'ablation-zoo[{args.engine}]'"
    require(there, f"--engine {args.engine} needs {PACKAGES.get(args.engine)}, which is not installed; {remedy}.")

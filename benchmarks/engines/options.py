"""The options of `bench run` that say where trials run. Imports no engine."""

import argparse


def add_engine_options(run: argparse.ArgumentParser) -> None:
    """Add them to its parser."""
    what = "where trials run: local (on this machine, the default) or slurm; see docs/engines.md"
    run.add_argument("--engine", default="local", metavar="local|slurm", help=what)
    what = "CPUs that each trial is given, not with --engine local (default: 1)"
    run.add_argument("--cpus-per-trial", type=float, metavar="X", help=what)
    what = "GPUs that each trial is given, not with --engine local (default: 0)"
    run.add_argument("--gpus-per-trial", type=float, metavar="Y", help=what)
    _add_slurm_options(run.add_argument_group("--engine slurm"))


def _add_slurm_options(slurm: argparse._ArgumentGroup) -> None:
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

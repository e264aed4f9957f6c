"""Engines run jobs in other processes; what is done, the store decides."""

import argparse
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import require

if TYPE_CHECKING:
    from .base import Engine
    from .local import LocalEngine

# Each with the options that go with it; what comes from PyPI for one is the extra of its name.
ENGINES: dict[str, tuple[str, ...]] = {
    "local": (),
    "ray": ("ray_address", "cpus_per_trial", "gpus_per_trial"),
}
PACKAGES = {"ray": "ray"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `bench run` that say where trials run."""
    what = "where trials run: local (processes of this machine, the default) or ray (a Ray cluster)"
    parser.add_argument("--engine", choices=list(ENGINES), default="local", help=what)
    what = "the Ray cluster: HOST:PORT, ray://HOST:PORT or auto (default: $RAY_ADDRESS; else one is started here)"
    parser.add_argument("--ray-address", metavar="ADDRESS", help=what)
    for name, default in (("cpu", "1"), ("gpu", "0")):
        what = f"{name.upper()}s that are set aside for a trial or pack on a cluster; may be a fraction (default: {default})"
        parser.add_argument(f"--{name}s-per-trial", type=float, metavar="X", help=what)


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that cannot be, or that go with another engine; and an engine whose package is missing.

    Raises:
        InputError: With the remedy.
    """
    for name in dict.fromkeys(option for options in ENGINES.values() for option in options):
        goes = [engine for engine, options in ENGINES.items() if name in options]
        option = f"--{name.replace('_', '-')}"
        fits = getattr(args, name) is None or args.engine in goes
        require(fits, f"{option} goes with --engine {' or '.join(goes)}, and this is --engine {args.engine}.")
    cpus, gpus = args.cpus_per_trial, args.gpus_per_trial
    require(cpus is None or 0 < cpus < 1e6, f"--cpus-per-trial must be a number above 0, got {cpus}.")
    require(gpus is None or 0 <= gpus < 1e6, f"--gpus-per-trial must be a number, not negative; got {gpus}.")
    whole = gpus is None or gpus < 1 or gpus == int(gpus)
    require(whole, f"--gpus-per-trial must be a fraction of 1 or a whole number, got {gpus}.")
    package = PACKAGES.get(args.engine)
    there = package is None or find_spec(package) is not None
    require(there, f"--engine {args.engine} needs {package}, which is not installed; pip install 'ablation-zoo[{package}]'.")


def open_engine(
    args: argparse.Namespace, local: "LocalEngine", folder: Path, at_once: int | None, beside: Path | None
) -> AbstractContextManager["Engine"]:
    """The engine that `--engine` names.

    Args:
        args: The options of `bench run`, checked.
        local: The engine that has checked the study.
        folder: The study's folder.
        at_once: The most trials or packs to run at once; None for as many as there is room for.
        beside: The study file if its task is the user's own, whose module lies beside it.

    Raises:
        InputError: It cannot run trials.
    """
    if args.engine == "ray":
        from .ray import open_ray

        local.stop()
        cpus = 1.0 if args.cpus_per_trial is None else args.cpus_per_trial
        return open_ray(args.ray_address, folder, cpus, args.gpus_per_trial or 0.0, at_once, beside)
    return nullcontext(local)

"""Hardware and processes that a run needs, and the rank of this process. Imports torch only if necessary."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

# Packages that Lightning's strategies need in addition to torch, by the prefix of the strategy.
PACKAGES = {"deepspeed": "deepspeed", "xla": "torch_xla", "single_xla": "torch_xla"}
FOR_CUDA = ("fsdp", "deepspeed")
# All are 0 in the first process of a run. Lightning's launcher sets NODE_RANK and LOCAL_RANK, torchrun RANK and
# LOCAL_RANK, srun SLURM_PROCID.
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
# What a launcher sets together with a rank. A rank without it was left behind by another program and means nothing.
WITH_RANK = {"RANK": ("WORLD_SIZE",), "LOCAL_RANK": ("WORLD_SIZE",), "NODE_RANK": ("WORLD_SIZE", "MASTER_ADDR")}


def reason_lacking(config: Mapping[str, Any]) -> str:
    """Describe what a config's trainer needs but this machine lacks, with a remedy; empty if nothing is missing.

    Oversubscribing cores is allowed.

    Args:
        config: A resolved config, or only its `trainer` section. Errors that do not depend on the machine, such as an
            unknown strategy, are not checked here.
    """
    flags = config.get("trainer", {})
    strategy, nodes = str(flags.get("strategy", "auto")), flags.get("num_nodes", 1)
    kind, there = _accelerator(str(flags.get("accelerator", "auto")))
    if kind == "gpu" and not there:
        return (
            f"trainer.accelerator is {flags['accelerator']}, but torch finds no such GPU on this machine; "
            "use --trainer.accelerator cpu."
        )
    if strategy.startswith(FOR_CUDA) and not (kind == "gpu" and _n_cuda()):
        return f"trainer.strategy {strategy} needs CUDA GPUs, but this run has none; use --trainer.strategy ddp."
    for start, package in PACKAGES.items():
        if strategy.startswith(start) and find_spec(package) is None:
            return f"trainer.strategy {strategy} needs the package {package}; install it, or use another strategy."
    if kind == "gpu" and (asked := _highest_device(flags.get("devices", "auto"))) > there:
        return (
            f"trainer.devices asks for {asked} GPU(s), but torch finds {there} on this machine; "
            f"use --trainer.devices {there}."
        )
    if flags.get("sync_batchnorm") and not (kind == "gpu" and _n_cuda()):
        return (
            "trainer.sync_batchnorm needs CUDA GPUs, but this run has none; remove it (each process then normalises by "
            "its own part of a batch), or use --model.norm layer."
        )
    return _lacks_processes(flags, nodes)


def launched() -> tuple[int, int] | None:
    """Return (nodes, processes per node) started by torchrun or srun; None if neither started several processes."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        n, here = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        return (n // here, here) if n > 1 else None
    # srun sets these for its step; a batch script outside of a step only has SLURM_NTASKS, for tasks not started yet.
    if "SLURM_STEP_NUM_TASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        n, nodes = int(environment["SLURM_STEP_NUM_TASKS"]), int(environment.get("SLURM_STEP_NUM_NODES", 1))
        return (nodes, n // nodes) if n > 1 else None
    return None


def as_launched(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trainer's flags; if devices and nodes are not given, use those started by torchrun or srun."""
    processes = launched()
    if processes is None or "devices" in flags or "num_nodes" in flags:
        return dict(flags)
    nodes, devices = processes
    return {**flags, "devices": devices} | ({"num_nodes": nodes} if nodes > 1 else {})


def is_first_process() -> bool:
    """Whether this is the first process of its run, the only one that writes files; does not need a trainer."""
    # Lightning deletes WORLD_SIZE after training, so this must not look for stale ranks.
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def forget_stale_ranks() -> None:
    """Remove ranks that no launcher of this process has set, which Lightning would believe; see `WITH_RANK`.

    Call this when a process starts.
    """
    for rank, others in WITH_RANK.items():
        if not any(name in os.environ for name in others):
            os.environ.pop(rank, None)


def _lacks_processes(flags: Mapping[str, Any], nodes: int) -> str:
    """Describe the difference between the started processes and the flags; empty if they agree."""
    devices = flags.get("devices", "auto")
    if processes := launched():
        n, here = processes
        if isinstance(devices, int) and devices > 0 and (nodes, devices) != processes:
            return (
                f"{n} node(s) with {here} process(es) each were started, but trainer.num_nodes is {nodes} and "
                f"trainer.devices is {devices}; use --trainer.num_nodes {n} --trainer.devices {here}."
            )
        return ""
    if nodes > 1 and not {"MASTER_ADDR", "NODE_RANK"} <= os.environ.keys():
        return (
            f"trainer.num_nodes is {nodes}, but the address of the other nodes is unknown; start the run with torchrun "
            "or srun, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each node."
        )
    return ""


def _accelerator(name: str) -> tuple[str, int]:
    """Resolve an accelerator's name to `cpu`, `gpu` or another accelerator, and count the GPUs available to it."""
    if name in ("auto", "gpu", "cuda", "mps"):
        import torch

        n_mps = int(torch.backends.mps.is_available())
        there = {"cuda": _n_cuda(), "mps": n_mps}.get(name, _n_cuda() or n_mps)
        return ("cpu", 0) if name == "auto" and not there else ("gpu", there)
    return name, 0


def _n_cuda() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _highest_device(devices: Any) -> int:
    """Number of GPUs that `trainer.devices` needs, given as a number, a list of indices, or all (0)."""
    if isinstance(devices, str) and "," in devices:
        devices = [int(index) for index in devices.split(",") if index.strip()]
    if isinstance(devices, list):
        return max(devices, default=-1) + 1
    return devices if isinstance(devices, int) else 0

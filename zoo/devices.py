"""What a run asks of the machine, and which of the run's processes this one is. Imports torch only to ask it."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

# Packages that strategies of Lightning need besides torch, by how their names begin.
PACKAGES = {"deepspeed": "deepspeed", "xla": "torch_xla", "single_xla": "torch_xla"}
FOR_CUDA = ("fsdp", "deepspeed")
# Each is 0 in the first process of a run; Lightning's own launcher sets NODE_RANK and LOCAL_RANK, torchrun RANK and
# LOCAL_RANK, srun SLURM_PROCID.
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


def reason_lacking(config: Mapping[str, Any]) -> str:
    """What this machine lacks of what a config's trainer asks for, as a sentence with a remedy; empty if nothing.

    More processes than cores are no lack: they take turns.

    Args:
        config: A resolved config, or one with its `trainer` section alone. What Lightning refuses anywhere, such as an
            unknown strategy, is not looked at.
    """
    flags = config.get("trainer", {})
    strategy, nodes = str(flags.get("strategy", "auto")), flags.get("num_nodes", 1)
    kind, there = _accelerator(str(flags.get("accelerator", "auto")))
    if kind == "gpu" and not there:
        return (
            f"trainer.accelerator is {flags['accelerator']}, and torch finds no such GPU here; "
            "say --trainer.accelerator cpu."
        )
    if strategy.startswith(FOR_CUDA) and not (kind == "gpu" and _n_cuda()):
        return f"trainer.strategy {strategy} needs CUDA GPUs, and this run has none; say --trainer.strategy ddp."
    for start, package in PACKAGES.items():
        if strategy.startswith(start) and find_spec(package) is None:
            return f"trainer.strategy {strategy} needs the package {package}, which is not installed here."
    if kind == "gpu" and (asked := _highest_device(flags.get("devices", "auto"))) > there:
        return f"trainer.devices asks for {asked} GPU(s), and torch finds {there} here; say --trainer.devices {there}."
    if flags.get("sync_batchnorm") and not (kind == "gpu" and _n_cuda()):
        return (
            "trainer.sync_batchnorm is for CUDA GPUs, and this run has none; leave it out (each process then "
            "normalises by its own share of a batch), or say --model.norm layer."
        )
    return _lacks_processes(flags, nodes)


def launched() -> tuple[int, int] | None:
    """(nodes, processes on each) that torchrun or srun started for this run; None where neither started several."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        n, here = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        return (n // here, here) if n > 1 else None
    # srun sets these for its step; in a batch script outside any step there is only SLURM_NTASKS, of tasks to come.
    if "SLURM_STEP_NUM_TASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        n, nodes = int(environment["SLURM_STEP_NUM_TASKS"]), int(environment.get("SLURM_STEP_NUM_NODES", 1))
        return (nodes, n // nodes) if n > 1 else None
    return None


def as_launched(flags: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's flags, with the number of devices and nodes that torchrun or srun started where none is given."""
    processes = launched()
    if processes is None or "devices" in flags or "num_nodes" in flags:
        return dict(flags)
    nodes, devices = processes
    return {**flags, "devices": devices} | ({"num_nodes": nodes} if nodes > 1 else {})


def is_first_process() -> bool:
    """Whether this process is the first of its run, known before there is a trainer; others leave no files."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def _lacks_processes(flags: Mapping[str, Any], nodes: int) -> str:
    """Why the processes that were started are not those that the flags ask for; empty if they are."""
    devices = flags.get("devices", "auto")
    if processes := launched():
        n, here = processes
        if isinstance(devices, int) and devices > 0 and (nodes, devices) != processes:
            return (
                f"{n} node(s) with {here} process(es) each were started, and trainer.num_nodes {nodes} with "
                f"trainer.devices {devices} ask for others; say --trainer.num_nodes {n} --trainer.devices {here}."
            )
        return ""
    if nodes > 1 and not {"MASTER_ADDR", "NODE_RANK"} <= os.environ.keys():
        return (
            f"trainer.num_nodes is {nodes}, and nothing says how to reach the others; start the run by torchrun or "
            "srun, or with MASTER_ADDR, MASTER_PORT and NODE_RANK set on each node."
        )
    return ""


def _accelerator(name: str) -> tuple[str, int]:
    """What an accelerator's name stands for here, `cpu`, `gpu` or another's name, and how many of it there are."""
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
    """The number of GPUs that there must be for `trainer.devices`: a number, a list of indices, or all there are."""
    if isinstance(devices, str) and "," in devices:
        devices = [int(index) for index in devices.split(",") if index.strip()]
    if isinstance(devices, list):
        return max(devices, default=-1) + 1
    return devices if isinstance(devices, int) else 0

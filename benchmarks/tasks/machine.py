"""Hardware that a trial requires and this machine lacks, and its number of processes. Runs in workers: needs torch."""

import os
import shutil

from zoo.devices import reason_lacking
from zoo.plain import Config

COMPILERS = ("g++", "clang++")
# Trainer flags that require certain hardware.
HARDWARE = ("accelerator", "devices", "num_nodes", "strategy", "precision", "sync_batchnorm")


def lacking(config: Config) -> str:
    """What this machine lacks to run a resolved config, as a clause; empty if nothing."""
    reason = (
        reason_lacking(config).rstrip(".").partition(";")[0]
    )  # drop the remedy: with other flags it would be another trial
    compilers = (os.environ.get("CXX", ""), *COMPILERS)
    if not reason and config["model"].get("compile") and not any(map(shutil.which, compilers)):
        return "model.compile requires a C++ compiler, which is not installed"
    return reason


def without_lacking(config: Config) -> Config:
    """A resolved config without hardware requirements, for checking everything else in it."""
    trainer = {name: flag for name, flag in config["trainer"].items() if name not in HARDWARE}
    model = {**config["model"], "compile": False} if "compile" in config["model"] else config["model"]
    return {**config, "trainer": {**trainer, "accelerator": "cpu"}, "model": model}


def n_processes(config: Config) -> int:
    """The number of processes of a resolved config, one per device, on a machine that can run it."""
    trainer = config["trainer"]
    devices, accelerator = trainer.get("devices", 1), trainer.get("accelerator", "auto")
    if isinstance(devices, str) and "," in devices:
        devices = [index for index in devices.split(",") if index.strip()]
    if isinstance(devices, list | tuple):
        count = len(devices)
    elif isinstance(devices, int) and devices > 0:
        count = devices
    else:  # all available devices
        import torch

        count = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 1
    return max(1, count) * int(trainer.get("num_nodes", 1))

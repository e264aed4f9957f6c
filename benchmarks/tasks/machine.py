"""What this machine lacks of what a trial asks for, and how many processes it asks for. In workers: needs torch."""

import os
import shutil

from zoo.devices import reason_lacking
from zoo.plain import Config

COMPILERS = ("g++", "clang++")
# What a trainer's flags ask of the machine; without them it takes what there is.
HARDWARE = ("accelerator", "devices", "num_nodes", "strategy", "precision", "sync_batchnorm")


def lacking(config: Config) -> str:
    """What this machine lacks to run a resolved config, in a clause; empty if nothing."""
    reason = reason_lacking(config).rstrip(".").partition(";")[0]  # the remedy, other flags, is another trial
    compilers = (os.environ.get("CXX", ""), *COMPILERS)
    if not reason and config["model"].get("compile") and not any(map(shutil.which, compilers)):
        return "model.compile needs a C++ compiler, and there is none"
    return reason


def without_lacking(config: Config) -> Config:
    """A resolved config that asks nothing of the machine, for checking all else that it says."""
    trainer = {name: flag for name, flag in config["trainer"].items() if name not in HARDWARE}
    model = {**config["model"], "compile": False} if "compile" in config["model"] else config["model"]
    return {**config, "trainer": {**trainer, "accelerator": "cpu"}, "model": model}


def n_processes(config: Config) -> int:
    """How many processes a resolved config asks for, one a device, on a machine that lacks nothing for it."""
    trainer = config["trainer"]
    devices, accelerator = trainer.get("devices", 1), trainer.get("accelerator", "auto")
    if isinstance(devices, str) and "," in devices:
        devices = [index for index in devices.split(",") if index.strip()]
    if isinstance(devices, list | tuple):
        count = len(devices)
    elif isinstance(devices, int) and devices > 0:
        count = devices
    else:  # all that there are
        import torch

        count = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 1
    return max(1, count) * int(trainer.get("num_nodes", 1))

"""Many runs as one: those whose nets have the same shapes are stacked and trained together.

Small nets are bound by overhead, not by arithmetic: stacked, K of them share it. Each member's numbers are its own. On
the CPU, with one thread, they do not depend on its pack, bit for bit: not on its size, its partners or its place.
"""

from collections.abc import Sequence

import torch

from datamodules.base import ArrayDataModule

from ..models.base import ZooModule
from ..parts.metric_names import measures_throughput
from ..plain import Config
from .member import Member, diagnosis_signature
from .shape import Block, blocks_of
from .train import Pack

__all__ = [
    "Block",
    "Member",
    "Pack",
    "augmentation",
    "blocks_of_model",
    "device_of",
    "diagnosis_signature",
    "flags_beyond",
    "largest_pack",
    "reason_to_run_alone",
]

# What a config's trainer may say of a run in a pack.
FLAGS = {"max_epochs", "gradient_clip_val", "accelerator", "devices", "enable_progress_bar"}
LARGEST = 100
WORK_OF_A_PACK = 64_000_000  # weights times samples, in one step of all members
DATA_OF_A_PACK = 2**31  # bytes


def reason_to_run_alone(config: Config, model: ZooModule, data: ArrayDataModule) -> str:
    """Why a resolved config is trained by Lightning, in no pack; empty if it can be in one."""
    blocks = blocks_of_model(model)
    return flags_beyond(config) or augmentation(data) or (blocks if isinstance(blocks, str) else "")


def flags_beyond(config: Config) -> str:
    """What a config asks for beyond model and data that packs do not have; empty if nothing."""
    trainer = config["trainer"]
    if measures_throughput(config["callbacks"]):
        return "callbacks.throughput times one run by itself"
    if flags := sorted(trainer.keys() - FLAGS):
        return f"trainer.{flags[0]} is given"
    if trainer.get("devices", 1) not in (1, "auto") or device_of(config) is None:
        return "it asks for other devices than one CPU or GPU"
    if not isinstance(trainer["max_epochs"], int) or trainer["max_epochs"] < 1:
        return "it does not say how many epochs it trains"
    return ""


def augmentation(data: ArrayDataModule) -> str:
    """That its data are augmented, which packs do not do; empty if they are not."""
    return "" if data.train_transform() is None else "its training data are augmented"


def blocks_of_model(model: ZooModule) -> list[Block] | str:
    """The blocks of a model's net, or why it cannot be in a pack."""
    mro = type(model).__mro__
    for base in mro[: mro.index(ZooModule)]:
        if own := sorted(name for name in vars(base) if not name.startswith("__")):
            return f"its class has a {own[0]} of its own"
    return "model.compile is true" if model.hparams["compile"] else blocks_of(model.net)


def device_of(config: Config) -> torch.device | None:
    """Where one device of the accelerator that a config asks for computes; None for what packs do not know."""
    accelerator = config["trainer"].get("accelerator", "auto")
    if accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available()):
        return torch.device("cpu")
    return torch.device("cuda", 0) if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else None


def largest_pack(blocks: Sequence[Block], batch_size: int, n_rows: int) -> int:
    """How many such nets are worth training as one.

    Where one net's arithmetic outweighs the overhead that a pack shares, more members only crowd the processor's cache;
    see `results/speed/`, which `python -m benchmarks.measure.speed.packs` measures. Nor may their data fill the memory.

    Args:
        blocks: A net's blocks.
        batch_size: Samples in a batch.
        n_rows: Rows of its data, all splits together. Each seed has its own, normalised on its own split, and they are
            copied once into the pack.
    """
    n_parameters = sum(rows * columns for block in blocks for rows, columns in block.parameters().values())
    pays = WORK_OF_A_PACK // (n_parameters * batch_size)
    fits = DATA_OF_A_PACK // (2 * 4 * n_rows * blocks[0].n_inputs)
    return max(1, min(LARGEST, pays, fits))

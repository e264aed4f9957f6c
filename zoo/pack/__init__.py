"""Training of many runs together: nets of the same shape are stacked.

For small nets, training time is dominated by overhead, which K stacked nets share. On the CPU, with one thread, the
results of a member are bit-identical in any pack: they do not depend on its size, its other members or their order.
"""

from collections.abc import Sequence

import torch

from datamodules.base import ArrayDataModule

from ..models.base import ZooModule
from ..parts.metric_names import measures_throughput
from ..plain import Config, ResolvedConfig
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

# Trainer flags that packs support.
FLAGS = {"max_epochs", "gradient_clip_val", "accelerator", "devices", "enable_progress_bar"}
LARGEST = 100
WORK_OF_A_PACK = 64_000_000  # weights times samples, in one step of all members
DATA_OF_A_PACK = 2**31  # bytes


def reason_to_run_alone(config: ResolvedConfig, model: ZooModule, data: ArrayDataModule) -> str:
    """Return why a resolved config must be trained by Lightning instead of in a pack; empty if it need not."""
    blocks = blocks_of_model(model)
    return flags_beyond(config) or augmentation(data) or (blocks if isinstance(blocks, str) else "")


def flags_beyond(config: Config) -> str:
    """Return what in a config, apart from model and data, packs do not support; empty if nothing."""
    trainer = config["trainer"]
    if measures_throughput(config["callbacks"]):
        return "callbacks.throughput measures a single run"
    if flags := sorted(trainer.keys() - FLAGS):
        return f"trainer.{flags[0]} is given"
    if trainer.get("devices", 1) not in (1, "auto") or device_of(config) is None:
        return "it uses other devices than one CPU or GPU"
    if not isinstance(trainer["max_epochs"], int) or trainer["max_epochs"] < 1:
        return "trainer.max_epochs is not a positive number"
    return ""


def augmentation(data: ArrayDataModule) -> str:
    """Return a reason if the training data is augmented, which packs do not support; otherwise empty."""
    return "" if data.train_transform() is None else "its training data are augmented"


def blocks_of_model(model: ZooModule) -> list[Block] | str:
    """Return the blocks of a model's net, or why it cannot be in a pack."""
    mro = type(model).__mro__
    for base in mro[: mro.index(ZooModule)]:
        if own := sorted(name for name in vars(base) if not name.startswith("__")):
            return f"its class defines {own[0]}"
    return "model.compile is true" if model.hparams["compile"] else blocks_of(model.net)


def device_of(config: Config) -> torch.device | None:
    """Return the device for a config's accelerator; None if packs do not support it."""
    accelerator = config["trainer"].get("accelerator", "auto")
    if accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available()):
        return torch.device("cpu")
    return torch.device("cuda", 0) if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else None


def largest_pack(blocks: Sequence[Block], batch_size: int, n_rows: int) -> int:
    """Return the number of such nets that are worth training in one pack.

    If the arithmetic of one net outweighs the shared overhead, more members only compete for the CPU's cache; see
    `results/speed/`, measured by `python -m benchmarks.measure.speed.packs`. Memory for their data is another limit.

    Args:
        blocks: Blocks of a net.
        batch_size: Samples per batch.
        n_rows: Rows of its data in all splits. Each seed has its own copy, normalised on its own training split, which
            is copied once more into the pack.
    """
    n_parameters = sum(rows * columns for block in blocks for rows, columns in block.parameters().values())
    pays = WORK_OF_A_PACK // (n_parameters * batch_size)
    fits = DATA_OF_A_PACK // (2 * 4 * n_rows * blocks[0].n_inputs)
    return max(1, min(LARGEST, pays, fits))

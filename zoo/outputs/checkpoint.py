"""Self-contained checkpoints: model name, hyperparameters, weights, the data's card, the run's config."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from datamodules.errors import InputError, require

from ..models.base import FORMAT, ZooModule
from ..models.create import create_model


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint with torch's `weights_only=True`, so that an untrusted file cannot execute code.

    Args:
        path: The file, or the folder that contains it as `best.ckpt`.

    Raises:
        InputError: If the file does not exist, is damaged, or was not written by this package.
    """
    file = Path(path)
    file = file / "best.ckpt" if file.is_dir() else file
    require(file.is_file(), f"the checkpoint {file} does not exist; check --ckpt_path, or create one with `zoo fit`.")
    try:
        with zipfile.ZipFile(file) as archive:  # torch ignores the checksums, and would load damaged weights
            require(archive.testzip() is None, "a checksum does not match.")
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle may raise anything
        raise InputError(
            f"{file} was not loaded, because it is damaged or contains more than weights and plain values; create a "
            "new checkpoint with `zoo fit`."
        ) from None
    foreign = f"{file} is not a checkpoint of ablation-zoo; create one with `zoo fit`."
    own = checkpoint.get("zoo") if isinstance(checkpoint, dict) else None
    require(isinstance(own, dict), foreign)
    assert isinstance(own, dict)
    require(
        own.get("format") == FORMAT,
        f"{file} has format {own.get('format')}, but this version reads format {FORMAT}; create a new checkpoint with "
        "`zoo fit`, or use the version that wrote it.",
    )
    require(
        {"model", "data", "config"} <= own.keys() and {"hyper_parameters", "state_dict"} <= checkpoint.keys(), foreign
    )
    return checkpoint


def load_model(path: str | Path) -> ZooModule:
    """See `zoo.load`."""
    checkpoint = read_checkpoint(path)
    own = checkpoint["zoo"]
    require(own["model"] is not None, f"{path}: the model is not registered; register its class with @register_model.")
    model = create_model(own["model"], **checkpoint["hyper_parameters"])
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not match the model: {error}") from None
    model.data_card, model.config = own["data"], own["config"]
    return model.eval()

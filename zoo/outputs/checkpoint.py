"""Checkpoints that hold all that a model needs: name, hyperparameters, weights, the data's card, the run's config."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from datamodules.errors import InputError, require

from ..models.base import FORMAT, ZooModule
from ..models.create import create_model


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of this zoo, read under torch's `weights_only=True`, so that a foreign file can run no code.

    Args:
        path: The file, or the folder that holds it as `best.ckpt`.

    Raises:
        InputError: No such file, a damaged one, or none of this zoo's.
    """
    file = Path(path)
    file = file / "best.ckpt" if file.is_dir() else file
    require(file.is_file(), f"there is no checkpoint {file}.")
    try:
        with zipfile.ZipFile(file) as archive:  # torch itself skips the checksums, and would load spoilt weights
            require(archive.testzip() is None, "a checksum does not match.")
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle fails in every way there is
        raise InputError(
            f"{file} is damaged, or holds more than weights and plain values; it was not loaded."
        ) from None
    foreign = f"{file} is no checkpoint of this zoo; make one with `zoo fit`."
    own = checkpoint.get("zoo") if isinstance(checkpoint, dict) else None
    require(isinstance(own, dict), foreign)
    assert isinstance(own, dict)
    require(own.get("format") == FORMAT, f"{file} has format {own.get('format')}; this version reads format {FORMAT}.")
    require(
        {"model", "data", "config"} <= own.keys() and {"hyper_parameters", "state_dict"} <= checkpoint.keys(), foreign
    )
    return checkpoint


def load_model(path: str | Path) -> ZooModule:
    """See `zoo.load`."""
    checkpoint = read_checkpoint(path)
    own = checkpoint["zoo"]
    require(own["model"] is not None, f"{path}: its model has no registered name; register it with @register_model.")
    model = create_model(own["model"], **checkpoint["hyper_parameters"])
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(f"{path}: its weights do not fit its model: {error}") from None
    model.data_card, model.config = own["data"], own["config"]
    return model.eval()

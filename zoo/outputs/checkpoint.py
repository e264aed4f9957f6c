"""Self-contained checkpoints: model name, hyperparameters, weights, the data's card, the run's config."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from datamodules.errors import InputError, require

from ..models.base import FORMAT, ZooModule
from ..models.create import create_model
from .checked import check_content

INITIAL = {"initializer": "default", "bias_init": None}  # shapes do not depend on it, and it may need real numbers


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint with torch's `weights_only=True`, so that an untrusted file cannot execute code.

    Args:
        path: The file, or the folder that contains it as `best.ckpt`.

    Raises:
        InputError: If the file does not exist, is damaged, or was not written by this package.
        OSError: If its name is too long, or its folder cannot be read.
    """
    file = Path(path)
    file = file / "best.ckpt" if file.is_dir() else file
    require(file.is_file(), f"the checkpoint {file} does not exist; check --ckpt_path, or create one with `zoo fit`.")
    try:
        with zipfile.ZipFile(file) as archive:  # torch ignores the checksums, and would load damaged weights
            content = sum(entry.file_size for entry in archive.infolist())
            require(content <= file.stat().st_size, "its content is compressed, which torch never does.")
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
    number = own.get("format")
    require(type(number) is int, foreign)
    require(
        number == FORMAT,
        f"{file} has format {number}, but this version reads format {FORMAT}; create a new checkpoint with "
        "`zoo fit`, or use the version that wrote it.",
    )
    require(
        {"model", "data", "config"} <= own.keys() and {"hyper_parameters", "state_dict"} <= checkpoint.keys(), foreign
    )
    try:
        check_content(checkpoint)
    except InputError as error:
        raise InputError(f"{file} is not a valid checkpoint: {error} Create one with `zoo fit`.") from None
    return checkpoint


def load_model(path: str | Path) -> ZooModule:
    """See `zoo.load`."""
    checkpoint = read_checkpoint(path)
    own = checkpoint["zoo"]
    require(own["model"] is not None, f"{path}: the model is not registered; register its class with @register_model.")
    weights = checkpoint["state_dict"]
    try:
        with torch.device("meta"):  # allocates no memory, however large the hyperparameters claim the net to be
            expected = _create(path, checkpoint, **INITIAL).state_dict()
        different = [
            name
            for name in {**expected, **weights}
            if name not in expected or name not in weights or expected[name].shape != weights[name].shape
        ]
        require(not different, f"{path}: the weights do not match the model: {', '.join(different[:3])} differ.")
        model = _create(path, checkpoint)
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not match the model: {error}") from None
    model.data_card, model.config = own["data"], own["config"]
    return model.eval()


def _create(path: str | Path, checkpoint: dict[str, Any], **instead: Any) -> ZooModule:
    """Create the model, with other values for some hyperparameters, if it has them."""
    hparams = checkpoint["hyper_parameters"]
    hparams = {**hparams, **{name: value for name, value in instead.items() if name in hparams}}
    try:
        return create_model(checkpoint["zoo"]["model"], **hparams)
    except (InputError, RuntimeError):
        raise
    except Exception as error:  # a value of a wrong type may raise anything
        raise InputError(f"{path}: the model's hyperparameters are not valid ({error}).") from None

"""Evaluation of checkpoints, for `zoo test`, `zoo validate` and `zoo predict`."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pandas as pd
import torch

from datamodules import DATAMODULES, create_datamodule
from datamodules.base import ArrayDataModule
from datamodules.errors import InputError, require

from .config import resolve
from .models.base import ZooModule
from .outputs.checkpoint import load_model
from .outputs.destination import spreadsheet_safe, write_table
from .plain import Config, canonical
from .trainer import lightning_trainer, quiet


def evaluate(checkpoint: str, config: Config, verb: str) -> dict[str, float | None]:
    """Compute the metrics of a checkpoint, with the class names and normalisation stored in it.

    Args:
        checkpoint: Path of the checkpoint.
        config: Sections `data` and `trainer` that override the checkpoint's config.
        verb: `test` or `validate`, which determines the split.

    Raises:
        InputError: If the checkpoint is invalid, or the data does not match it.
    """
    model, data = _prepare(checkpoint, config, verb)
    with quiet():
        return dict(getattr(_trainer(config), verb)(model, datamodule=data, verbose=False)[0])


def predict(checkpoint: str, config: Config, out: str | None) -> tuple[Path | None, int]:
    """Write predictions to a CSV file with columns `index`, `prediction`, `p_CLASS` for each class, and `target`.

    `index` is the row in the data set; a regression has no `p_CLASS`, and unlabelled data has no `target`.
    A `target` that is missing, or not one of the model's classes, is empty.

    Args:
        checkpoint: Path of the checkpoint.
        config: See `evaluate`.
        out: The CSV file; None means predictions.csv in the folder of the checkpoint.

    Returns:
        The CSV file, None if it is the standard output, and its number of rows.

    Raises:
        InputError: If the checkpoint is invalid, the data does not match it, or the file cannot be written.
    """
    require(out != "", "--out is empty; pass the name of a file, or leave out --out for predictions.csv.")
    path = Path(checkpoint)
    file = Path(out) if out else (path if path.is_dir() else path.parent) / "predictions.csv"
    model, data = _prepare(checkpoint, config, "predict")
    with quiet():
        batches: Any = _trainer(config).predict(model, datamodule=data)
    outputs = torch.cat(batches)
    finite = outputs.isfinite().view(len(outputs), -1).all(1)
    require(
        bool(finite.all()),
        f"the model's output is not finite for {int((~finite).sum())} rows, so there is no prediction for them; their "
        "inputs may be too far from the training data.",
    )
    names = model.data_card["class_names"]
    columns: dict[str, Any] = {"index": data.indices["test"]}
    targets = data.targets["test"].tolist()
    if names is None:
        columns["prediction"] = outputs.tolist()
        if data.labelled:
            columns["target"] = targets
    else:
        cells = [spreadsheet_safe(name) for name in names]
        columns["prediction"] = [cells[i] for i in outputs.argmax(1)]
        columns |= {f"p_{name}": outputs[:, i].tolist() for i, name in enumerate(names)}
        if data.labelled:
            columns["target"] = [cells[i] if i >= 0 else "" for i in targets]
    text = pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
    return None if write_table(file, text) else file, len(outputs)


def _prepare(checkpoint: str, config: Config, stage: str) -> tuple[ZooModule, ArrayDataModule]:
    model = load_model(checkpoint)
    if model.config is None:
        raise InputError(
            f"{checkpoint} does not contain the config of its training data; create a checkpoint with `zoo fit`."
        )
    require(
        all(bool(weight.isfinite().all()) for weight in model.state_dict().values()),
        f"the weights in {checkpoint} are not finite, so it cannot predict; train again with a lower --model.lr.",
    )
    trained_on, given = model.config["data"], config.get("data", {})
    same = given.get("name", trained_on["name"]) == trained_on["name"]
    for name in DATAMODULES.load(trained_on["name"]).fixed if same else ():
        was = trained_on.get(name)
        require(
            given.get(name, was) == was,
            f"data.{name} cannot be changed after training: the checkpoint has {canonical(was)}; remove --data.{name}.",
        )
    asked = {**trained_on, **given} if same else given
    params = resolve({"model": model.config["model"], "data": asked})["data"]
    data = create_datamodule(**params)
    # A checkpoint may not choose what is downloaded, nor into which folder.
    data.may_download = "root" in given or ("name" in given and params.get("root") is None)
    data.restore(model.data_card)
    data.setup(stage)
    return model, data


def _trainer(config: Config) -> L.Trainer:
    flags = {"enable_progress_bar": False, "enable_model_summary": False} | config.get("trainer", {})
    return lightning_trainer(flags, devices=1, logger=False, enable_checkpointing=False)

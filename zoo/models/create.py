"""Creation of models by name."""

from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError
from datamodules.parameters import check_parameters

from .registry import MODELS

if TYPE_CHECKING:
    from .base import ZooModule


def create_model(name: str, **hparams: Any) -> "ZooModule":
    """Create a model by name.

    Args:
        name: A name from `list_models()`.
        **hparams: `input_shape` (tuple, without the batch axis), `num_classes` (1: regression) and the model's
            hyperparameters.

    Raises:
        InputError: If a name, hyperparameter, activation or initializer is unknown (with the nearest match and the
            list), or a value is out of range.
    """
    cls = MODELS.load(name)
    check_parameters(f"model {name!r}", cls, hparams)
    try:
        return cls(**hparams)
    except TypeError as error:
        raise InputError(f"model {name!r} does not take {hparams}: {error}") from error

"""Creation of models by name."""

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError
from datamodules.parameters import check_parameters, parameters

from .registry import MODELS

if TYPE_CHECKING:
    from .base import ZooModule

FROM_DATA = ("input_shape", "num_classes")
# Words of torch's errors about tensors that cannot be allocated.
TOO_LARGE = ("allocate memory", "out of memory", "overflow", "storage size", "numel")


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
        if "overflow" not in str(error).lower():
            known = parameters(cls)
            given = {key: value for key, value in hparams.items() if value != known[key].default}
            shown = reprlib.repr({key: given[key] for key in given if key not in FROM_DATA})
            raise InputError(f"model {name!r} does not take {shown}: {error}; correct the type.") from error
    except (RuntimeError, MemoryError, OverflowError) as error:
        if not any(sign in str(error).lower() for sign in TOO_LARGE) and not isinstance(error, MemoryError):
            raise
    raise InputError(
        f"model {name!r} does not fit into this machine's memory; make it smaller, see {_largest(hparams)}."
    )


def _largest(hparams: Mapping[str, Any]) -> str:
    """Name the hyperparameter with the largest number, and that number."""

    def size(value: Any) -> float:
        if isinstance(value, list | tuple):
            return max(map(size, value), default=0)
        return value if isinstance(value, int | float) else 0

    name = max(hparams, key=lambda name: size(hparams[name]))
    return f"model.{name} with {size(hparams[name])}" if name not in FROM_DATA else "data"

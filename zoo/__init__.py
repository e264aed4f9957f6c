"""A zoo of small neural nets as LightningModules, with their training and evaluation.

>>> import zoo
>>> zoo.list_models("*mlp*")
['mlp', 'robust_mlp']
>>> model = zoo.create_model("mlp", input_shape=(1, 8, 8), num_classes=10, hidden_dims=[64, 64])
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.errors import InputError

    from .models.base import ZooModule
    from .models.create import create_model
    from .models.registry import list_models, register_model

# Public names and their modules, imported when they are used: torch and lightning take seconds, and as long as a
# command imports this package, Ctrl-C is a traceback; see `zoo.cli.early`.
_LAZY = {
    "InputError": "datamodules.errors",
    "ZooModule": "zoo.models.base",
    "create_model": "zoo.models.create",
    "list_models": "zoo.models.registry",
    "register_model": "zoo.models.registry",
}

# By default, MKL chooses kernels by the memory alignment of a matrix, so the same run could differ in the last bit.
# This setting has no measurable cost. It is read at the first multiplication.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

__all__ = ["InputError", "create_model", "list_models", "load", "register_model"]


def load(path: str) -> "ZooModule":
    """Load a trained model from its checkpoint, in eval mode; safe for untrusted files.

    Args:
        path: A checkpoint, or the folder that contains it as `best.ckpt`.

    Raises:
        InputError: If the file does not exist, is damaged, or was not written by this package.
    """
    from .outputs.checkpoint import load_model

    return load_model(path)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
        return value
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

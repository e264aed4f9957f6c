"""A zoo of small neural nets as LightningModules, and how one of them is trained.

>>> import zoo
>>> zoo.list_models("*mlp*")
['mlp', 'robust_mlp']
>>> model = zoo.create_model("mlp", input_shape=(1, 8, 8), num_classes=10, hidden_dims=[64, 64])
"""

import os
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError

from .models.create import create_model
from .models.registry import list_models, register_model

if TYPE_CHECKING:
    from .models.base import ZooModule

# MKL chooses its kernels by where a matrix happens to lie in memory, so that the same run could differ in the last bit;
# this costs nothing measurable. It is read at the first multiplication.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

__all__ = ["InputError", "create_model", "list_models", "load", "register_model"]


def load(path: str) -> "ZooModule":
    """A trained model from its checkpoint, in eval mode; nothing else need be known. Safe on foreign files.

    Args:
        path: A `best.ckpt`, or the folder that holds it.

    Raises:
        InputError: No such file, a damaged one, or none of this zoo's.
    """
    from .outputs.checkpoint import load_model

    return load_model(path)


def __getattr__(name: str) -> Any:
    # Lazy, since it imports torch and lightning, which takes seconds.
    if name == "ZooModule":
        from .models.base import ZooModule

        return ZooModule
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")

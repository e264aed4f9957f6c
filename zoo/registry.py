"""Model names; a name maps to its module and class, which load when a model is made."""

from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError
from datamodules.parameters import check_parameters
from datamodules.registry import Registry

if TYPE_CHECKING:
    from .module import ZooModule

MODELS = Registry("model")
register_model = MODELS.register

for _name, _target in {
    "perceptron": "perceptron:Perceptron",
    "mlp": "mlp:MLP",
    "robust_mlp": "robust_mlp:RobustMLP",
    "cnn": "cnn:CNN",
    "lenet5": "lenet:LeNet5",
}.items():
    register_model(_name, f"zoo.models.{_target}")


def create_model(name: str, **hparams: Any) -> "ZooModule":
    """Make a model by name.

    Args:
        name: A name from `list_models()`.
        **hparams: `input_shape` (tuple, without the batch axis), `num_classes` (1: regression) and the model's own.

    Raises:
        InputError: An unknown name, hyperparameter, activation or initializer (with the nearest match and the list), or
            a value out of range.
    """
    cls = MODELS.load(name)
    check_parameters(f"model {name!r}", cls, hparams)
    try:
        return cls(**hparams)
    except TypeError as error:
        raise InputError(f"model {name!r} does not take {hparams}: {error}") from error


def list_models(pattern: str = "*") -> list[str]:
    """The names of the models that match a glob pattern, sorted. Imports neither torch nor lightning."""
    return MODELS.names(pattern)

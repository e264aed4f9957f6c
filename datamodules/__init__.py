"""Data sets by name: LightningDataModules that keep their arrays in memory and slice batches from them.

>>> import datamodules
>>> datamodules.list_datamodules("m*")
['mnist', 'moons']
"""

from typing import TYPE_CHECKING, Any

from .errors import InputError
from .registry import Registry

if TYPE_CHECKING:
    from .base import ArrayDataModule

__all__ = ["InputError", "create_datamodule", "list_datamodules", "register_datamodule"]

DATAMODULES = Registry("data set")
register_datamodule = DATAMODULES.register

for _name, _target in {
    "digits": "tabular:Digits",
    "iris": "tabular:Iris",
    "wine": "tabular:Wine",
    "breast_cancer": "tabular:BreastCancer",
    "diabetes": "tabular:Diabetes",
    "csv": "csv:CSV",
    "text": "text:Text",
    "nlu_home": "utterances:NLUHome",
    "utterances": "utterances:Utterances",
    "mammography": "published:Mammography",
    "polish_bankruptcy": "published:PolishBankruptcy",
    "california_housing": "published:CaliforniaHousing",
    "xor": "synthetic:XOR",
    "moons": "synthetic:Moons",
    "spirals": "synthetic:Spirals",
    "fraud": "synthetic:Fraud",
    "sawtooth": "synthetic:Sawtooth",
    "mnist": "vision:MNIST",
    "fashion_mnist": "vision:FashionMNIST",
    "cifar10": "vision:CIFAR10",
}.items():
    register_datamodule(_name, f"{__name__}.{_target}")


def create_datamodule(name: str, **params: Any) -> "ArrayDataModule":
    """Create a data module by name.

    Args:
        name: A name from `list_datamodules()`.
        **params: Its parameters, such as `batch_size`.

    Raises:
        InputError: If a name or parameter is unknown, or a value is out of range.
    """
    from .parameters import check_parameters

    cls = DATAMODULES.load(name)
    check_parameters(f"data set {name!r}", cls, params)
    return cls(**params)


def list_datamodules(pattern: str = "*") -> list[str]:
    """List the data sets whose names match a glob pattern, sorted. Imports neither torch nor lightning."""
    return DATAMODULES.names(pattern)

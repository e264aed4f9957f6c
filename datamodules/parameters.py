"""Parameters of a class's constructor, including inherited ones."""

import inspect
from collections.abc import Iterable
from typing import Any

from .errors import InputError, unknown


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a constructor, own ones first, following `**kwargs` into base classes."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        own = base.__dict__.get("__init__")
        if own is None:
            continue
        signature = inspect.signature(own).parameters.values()
        for parameter in list(signature)[1:]:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature):
            break
    return found


def check_parameters(owner: str, cls: type, given: Iterable[str], without: Iterable[str] = ()) -> None:
    """Check for unknown and for missing required parameters.

    Args:
        owner: Description of the class, for messages.
        cls: The class.
        given: Names of the parameters given.
        without: Parameters that are filled in later; they are neither allowed nor required here.

    Raises:
        InputError: If a parameter is unknown (with the nearest match and the list) or a required one is missing.
    """
    known: dict[str, Any] = {k: v for k, v in parameters(cls).items() if k not in set(without)}
    given = list(given)
    for name in given:
        if name not in known:
            raise unknown(f"parameter of {owner}", name, known)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise InputError(f"{owner} needs the parameter {name!r}.")

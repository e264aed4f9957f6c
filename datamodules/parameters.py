"""Which parameters a class's constructor takes, inherited ones included."""

import inspect
from collections.abc import Iterable
from typing import Any

from .errors import InputError, unknown


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The named parameters of a class's constructor, following `**kwargs` into its bases, own ones first."""
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
    """Refuse a parameter that the class does not take, and the lack of one that it needs.

    Args:
        owner: The class in words, for the message.
        cls: The class.
        given: The names given.
        without: Names that are filled in later, neither allowed nor needed here.

    Raises:
        InputError: With the nearest match and the list.
    """
    known: dict[str, Any] = {k: v for k, v in parameters(cls).items() if k not in set(without)}
    given = list(given)
    for name in given:
        if name not in known:
            raise unknown(f"parameter of {owner}", name, known)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise InputError(f"{owner} needs the parameter {name!r}.")

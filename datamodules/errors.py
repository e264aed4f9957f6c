"""The one exception for bad input, so that a command can answer it with a sentence instead of a traceback."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that a person can mend: the message names the culprit and the remedy."""


def unknown(kind: str, name: object, choices: Iterable[str]) -> InputError:
    """An `InputError` for a name that is not among `choices`, with the nearest match and the list.

    Args:
        kind: What the name should have been, such as "model".
        name: What was given.
        choices: The names that exist.
    """
    names = sorted(choices)
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return InputError(f"unknown {kind} {name!r}.{hint} Available: {', '.join(names)}.")


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """`name` itself if it is among `choices`, else raise `unknown`."""
    names = list(choices)
    if name not in names:
        raise unknown(kind, name, names)
    return name


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)

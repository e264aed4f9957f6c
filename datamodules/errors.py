"""The exception for invalid input, which commands print as one sentence instead of a traceback."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Invalid input; the message names the culprit and how to fix it."""


def unknown(kind: str, name: object, choices: Iterable[str]) -> InputError:
    """Make an `InputError` for an unknown name, with the nearest match and the list of valid names.

    Args:
        kind: Kind of name, such as "model".
        name: The unknown name.
        choices: Valid names.
    """
    names = sorted(choices)
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return InputError(f"unknown {kind} {name!r}.{hint} Available: {', '.join(names)}.")


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return `name` if it is in `choices`; otherwise raise the error of `unknown`."""
    names = list(choices)
    if name not in names:
        raise unknown(kind, name, names)
    return name


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)

"""The command `bench`."""

from zoo.cli.early import CtrlCEndsIt

with CtrlCEndsIt():
    from .verbs import main

__all__ = ["main"]

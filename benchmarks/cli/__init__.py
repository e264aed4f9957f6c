"""The command `bench`."""

from .verbs import main

__all__ = ["main"]

"""The command `zoo`. `process.py` and `completion.py` serve the command `bench` too."""

from .verbs import main

__all__ = ["main"]

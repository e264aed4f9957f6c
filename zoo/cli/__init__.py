"""The command `zoo`. `early.py`, `process.py` and `completion.py` serve the command `bench` too."""

from .early import CtrlCEndsIt

with CtrlCEndsIt():
    from .verbs import main

__all__ = ["main"]

"""Tasks, which define what a trial does: `fit`, `noop`, `signal_propagation`, or a user's own `module:function`.

Imports neither torch nor lightning.
"""

import re
from functools import cache
from typing import Any

from datamodules.errors import choose, require

from .base import Task
from .fit import Fit
from .noop import Noop
from .own import Own
from .signal_propagation import SignalPropagation

BUILT_IN: dict[str, Task] = {task.name: task for task in (Fit(), Noop(), SignalPropagation())}


def find_task(name: Any) -> Task:
    """Return the task with this name; the module of a user's own task is not imported yet.

    Raises:
        InputError: There is no such task; the message lists the built-in ones.
    """
    require(isinstance(name, str), f"'task' must name a task, such as fit; got {name!r}.")
    return _find_task(name)


@cache
def _find_task(name: str) -> Task:
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        return Own(name)
    return BUILT_IN[choose("task (one of your own is written module:function)", name, BUILT_IN)]

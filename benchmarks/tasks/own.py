"""A user's own task, `module:function`, which takes the config and a folder, and returns its metrics."""

import copy
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datamodules.errors import InputError, require
from zoo.plain import Config

from ..study.study import Study
from .base import Checked, Task
from .own_code import hiding, own_version


class Own(Task):
    """A user's own function, which may run any code.

    Args:
        name: `module:function`.
    """

    is_own = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._version = ""  # version of the imported code, which this process runs even if the files change

    def check(self, study: Study) -> Checked:
        """Import the function, in a worker; its config is passed on as it is."""
        try:
            self._function()
        except InputError as error:
            return Checked(problems=[(("task",), str(error))])
        return super().check(study)

    def resolve(self, config: Config) -> Config:
        """The config as it is."""
        return config

    def metrics(self, config: Config) -> None:
        """Unknown before it has run."""
        return

    def run(self, config: Config, folder: Path, **options: Any) -> dict[str, Any]:
        """Call the function with a copy of the config."""
        metrics = self._function()(copy.deepcopy(config), folder)
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"the task {self.name!r} must return its metrics, a mapping of names to numbers; got {metrics!r}"
            )
        return {"metrics": {str(key): float(value) for key, value in metrics.items()}}

    def _function(self) -> Callable[[Config, Path], Any]:
        """The function itself.

        Raises:
            InputError: The module or function does not exist, or another module hides it.
        """
        module, _, attribute = self.name.partition(":")
        self._version = self._version or own_version(self.name)
        try:
            function = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, SyntaxError) as error:
            missing = error.name or "" if isinstance(error, ImportError) else ""
            remedy = hiding(missing.partition(".")[0]) or (
                "Put its module next to the study file, or install it; run bench verify in the folder of the module."
            )
            raise InputError(f"cannot load the task {self.name!r}: {error}. {remedy}") from None
        except (Exception, SystemExit) as error:
            raise InputError(
                f"cannot load the task {self.name!r}: {type(error).__name__}: {error}. Fix its module."
            ) from None
        require(callable(function), f"the task {self.name!r} is not callable; name a function after the colon.")
        return function

    def code_version(self) -> str:
        """The version of the imported code, or of the code that would be imported; see `own_version`."""
        return self._version or own_version(self.name)

"""Registry of names whose modules are imported on first use, so that listing names does not import torch."""

import ast
import fnmatch
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import InputError, choose


class Registry:
    """Maps a snake_case name to a class, or to "package.module:Class".

    Args:
        kind: Kind of the registered classes for messages, such as "model".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._targets: dict[str, str | type] = {}

    def register(self, name: str, target: str | None = None) -> Callable[[type], type]:
        """Register `target` ("package.module:Class") if given; otherwise return a decorator that registers a class.

        Raises:
            InputError: If the name is already registered.
        """
        if name in self._targets:
            raise InputError(f"{self.kind} {name!r} is already registered; choose another name.")

        def decorate(cls: type) -> type:
            if name in self._targets:
                raise InputError(f"{self.kind} {name!r} is already registered; choose another name.")
            self._targets[name] = cls
            return cls

        if target is not None:
            self._targets[name] = target
        return decorate

    def names(self, pattern: str = "*") -> list[str]:
        """Return the registered names that match a glob pattern, sorted."""
        return sorted(fnmatch.filter(self._targets, pattern))

    def check(self, name: str) -> str:
        """Return the name itself if it is registered.

        Raises:
            InputError: If the name is unknown, with the nearest match and the list.
        """
        return choose(self.kind, name, self._targets)

    def load(self, name: str) -> Any:
        """Return the class of a name, importing its module if necessary.

        Raises:
            InputError: If the name is unknown, with the nearest match and the list.
        """
        target = self._targets[self.check(name)]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            target = getattr(importlib.import_module(module), attribute)
        return target

    def name_of(self, cls: type) -> str | None:
        """Return the name under which a class is registered, or None."""
        full_name = f"{cls.__module__}:{cls.__qualname__}"
        return next((n for n, t in self._targets.items() if t is cls or t == full_name), None)

    def summary(self, name: str) -> str:
        """Return the first line of a class's docstring, read from source to avoid importing its module."""
        target = self._targets[name]
        if not isinstance(target, str):
            return (inspect.getdoc(target) or "").partition("\n")[0]
        module, _, attribute = target.partition(":")
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return ""
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        found = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == attribute)
        return next(((ast.get_docstring(n) or "").partition("\n")[0] for n in found), "")

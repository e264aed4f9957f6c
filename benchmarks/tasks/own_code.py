"""The modules of a user's own task: their location, and the version of their code. Imports none of them."""

import importlib
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from datamodules.errors import InputError
from zoo.outputs.provenance import code_version, hash_of
from zoo.outputs.source import closure, significant

ROOT = Path(__file__).parents[2]
OURS = ("benchmarks", "datamodules", "zoo")
STANDARD = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
INSTALLED = ("site-packages", "dist-packages")


@contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Make modules in some folders importable, in this process and in those that it starts.

    They come last in `sys.path`: a file there that is named like a module of Python, of an installed package or of this
    project must not take its place. `own_modules` refuses the task whose own module would be hidden by one of those.
    """
    added = [str(folder.resolve()) for folder in (ROOT, *folders)]
    added = [folder for folder in dict.fromkeys(added) if folder not in sys.path]
    sys.path += added
    try:
        yield
    finally:
        for folder in added:
            with suppress(ValueError):
                sys.path.remove(folder)


def own_version(task: str) -> str:
    """The version of the code of a task of the user's own, twelve hexadecimal digits.

    It is that of the project's code, see `zoo.outputs.provenance.code_version`, with all modules of `own_modules`,
    without their comments and docstrings.

    Args:
        task: `module:function`.

    Raises:
        InputError: See `own_modules`.
    """
    own = ((name, _content(file)) for name, file in sorted(own_modules(task).items()))
    return hash_of([("", code_version().encode()), *own])


def own_modules(task: str) -> dict[str, Path]:
    """The modules of the user's own that a task imports, directly or not: their names and files.

    These are the ones found next to the study file, next to the task's module, or elsewhere on `sys.path` outside of
    Python's library and of the installed packages; of an installed task, the modules of its own package. Imports in
    functions and branches count, and those whose names are computed do not: see `zoo.outputs.source.closure`. Data
    files that the code reads do not count either.

    Args:
        task: `module:function`.

    Raises:
        InputError: One of them is hidden: Python would import another module by its name.
    """
    importlib.invalidate_caches()  # files may be newer than what Python remembers of their folders
    module = task.partition(":")[0]
    return closure([module], _Finder(task, module.partition(".")[0]).find)


class _Finder:
    """Finds modules as Python would, but neither imports them nor looks at those that are loaded.

    Args:
        task: `module:function`.
        top: The task's module, or the outermost package that it is in.
    """

    def __init__(self, task: str, top: str) -> None:
        self.task, self.top = task, top
        self._specs: dict[str, ModuleSpec | None] = {}

    def find(self, name: str) -> Path | None:
        """The file of a module of the user's own; None for others, and for packages without one."""
        spec = self._spec(name)
        return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None

    def _spec(self, name: str) -> ModuleSpec | None:
        if name not in self._specs:
            package, _, last = name.rpartition(".")
            if not package:
                self._specs[name] = self._outermost(name)
            else:
                above = self._spec(package)
                within = list((above and above.submodule_search_locations) or ())
                # By the last part of its name alone, or Python would want the package to be imported.
                self._specs[name] = PathFinder.find_spec(last, within) if within else None
        return self._specs[name]

    def _outermost(self, name: str) -> ModuleSpec | None:
        spec = _found(name)
        if name in OURS:
            if name == self.top:
                self._refuse_hidden(name, spec)
            return None
        standard = spec is not None and _is_standard(spec)
        installed = spec is not None and (standard or _is_installed(Path(_location(spec))))
        if not standard or name == self.top:
            self._refuse_hidden(name, spec)
        return spec if name == self.top or not installed else None

    def _refuse_hidden(self, name: str, spec: ModuleSpec | None) -> None:
        """Raise an error for a user's own module if Python would import another module of that name."""
        if sentence := _hiding(name, spec):
            raise InputError(f"cannot load the task {self.task!r}: {sentence}")


def hiding(name: str) -> str:
    """A sentence if Python finds a top-level module by this name that hides one of the user's own; empty if not."""
    return _hiding(name, _found(name))


def _hiding(name: str, spec: ModuleSpec | None) -> str:
    if spec is None:
        return ""
    for folder in map(Path, sys.path):
        if _is_installed(folder) or folder.resolve() in (ROOT, *STANDARD) or not folder.is_dir():
            continue
        other = PathFinder.find_spec(name, [str(folder.resolve())])
        if other is None or not other.has_location or other.origin is None:
            continue
        if Path(other.origin).resolve() != Path(_location(spec)).resolve():
            return (
                f"Python finds the module {name!r} in {_location(spec)}, which hides {other.origin}; rename one of "
                "them."
            )
    return ""


def _found(name: str) -> ModuleSpec | None:
    """The spec that Python finds for the name of a top-level module."""
    for finder in sys.meta_path:
        with suppress(Exception):  # third-party finders
            if (spec := finder.find_spec(name, None)) is not None:
                return spec
    return None


def _location(spec: ModuleSpec) -> str:
    """Its file, or its first folder, or a word such as `built-in`."""
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "") or "a package without files"


def _is_standard(spec: ModuleSpec) -> bool:
    path = Path(_location(spec)).resolve()
    return spec.origin in ("built-in", "frozen") or (
        not _is_installed(path) and any(folder in path.parents for folder in STANDARD)
    )


def _is_installed(path: Path) -> bool:
    return any(part in INSTALLED for part in path.parts)


def _content(file: Path) -> bytes:
    return significant(file.read_bytes()) if file.suffix == ".py" else file.read_bytes()

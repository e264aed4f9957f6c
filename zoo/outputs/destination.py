"""Writing a table where the user said: a file, a link, a pipe or a device."""

import math
import os
import sys
from pathlib import Path

from datamodules.errors import InputError, require

from .files import make_folder, write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # starts of a cell that a spreadsheet evaluates


def write_table(path: Path, text: str) -> bool:
    """Write a table; a regular file is written atomically, a link stays a link, a pipe or device is written to.

    Returns:
        Whether the text went to this process's standard output, which should then contain nothing else.

    Raises:
        InputError: If the path is a folder, or cannot be written.
    """
    remedy = "pass another file with --out"
    try:
        require(path.name not in ("", "..") and not path.is_dir(), f"--out {path} is a folder; {remedy}.")
        if _is_stdout(path):
            sys.stdout.write(text)
            return True
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
            return False
        file_itself = path.resolve() if path.is_symlink() else path
        make_folder(file_itself.parent)
        write_atomically(file_itself, text)
        return False
    except (OSError, RuntimeError) as error:  # links that point to each other are a RuntimeError
        if isinstance(error, BrokenPipeError) and _is_stdout(path):
            raise
        raise InputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}; {remedy}.") from None


def spreadsheet_safe(value: object) -> object:
    """Put an apostrophe before text that a spreadsheet would evaluate as a formula; other values stay as they are.

    Text that is a number, such as -1, is no formula.
    """
    if not isinstance(value, str) or not value.startswith(FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _is_stdout(path: Path) -> bool:
    try:
        here, there = os.fstat(sys.stdout.fileno()), path.stat()
    except (OSError, ValueError):  # not there, or standard output is not a file, as in tests
        return False
    return os.path.samestat(here, there)

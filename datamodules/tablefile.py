"""Reads a file with a table: CSV, or by its suffix ARFF."""

import csv
import io
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from .errors import InputError, require
from .folder import data_folder


class TableFile(NamedTuple):
    """What a file holds.

    Attributes:
        rows: Its rows under the names of its columns; what is missing is NaN. Not to be changed: others share it.
        nominal: Columns that the file itself says hold classes; a CSV file says nothing of its columns.
    """

    rows: pd.DataFrame
    nominal: frozenset[str] = frozenset()


def read_file(path: str, root: str | None, sep: str = ",", header: bool = True) -> TableFile:
    """Read a table, each content once in a process.

    Args:
        path: The file; a path that is not there is looked for below the data root.
        root: The data root, see `data_folder`.
        sep: What separates the columns of a CSV file.
        header: Whether the first line of a CSV file names the columns.

    Raises:
        InputError: The file cannot be read, or is no table.
    """
    return _parse(path, read_bytes(find(path, root)), sep, header)


def find(path: str, root: str | None) -> str:
    """The path, or where it is not there and is below the data root, that one."""
    below = data_folder(root) / path
    return str(below) if not Path(path).exists() and below.is_file() else path


def read_table(path: str, sep: str, header: bool = True, option: str = "data.path", **how: Any) -> pd.DataFrame:
    """A CSV file's table, its columns named by text; only an empty field is missing.

    Args:
        path: The file.
        sep: What separates the columns.
        header: Whether the first line names the columns.
        option: What said the path, for messages.
        **how: Further options for pandas.

    Raises:
        InputError: The file cannot be read, or is no table.
    """
    return _parse_csv(path, read_bytes(path, option), sep, header, **how)


def read_bytes(path: str, option: str = "data.path") -> bytes:
    """A file's content.

    Raises:
        InputError: It cannot be read; the message names the option that said so.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Check --{option}.") from None


@lru_cache(maxsize=4)
def _parse(path: str, content: bytes, sep: str, header: bool) -> TableFile:
    if path.lower().endswith(".arff"):
        return _parse_arff(path, content)
    return TableFile(_parse_csv(path, content, sep, header))


def _parse_csv(path: str, content: bytes, sep: str, header: bool, **how: Any) -> pd.DataFrame:
    require(content.strip() != b"", f"{path} is empty.")
    engine: Literal["c", "python"] = "c" if len(sep.encode()) == 1 else "python"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Left to itself, pandas takes a surplus column for row names, and so shifts all the others.
            table = pd.read_csv(
                io.BytesIO(content),
                sep=sep,
                header=0 if header else None,
                index_col=False,
                # Only an empty field is missing: NA, None and null may be labels.
                keep_default_na=False,
                na_values=[""],
                engine=engine,
                # Chunks of a column must not be typed apart; the Python engine has none.
                low_memory=engine != "c",
                encoding="utf-8-sig",
                **how,
            )
    except pd.errors.ParserWarning:
        raise InputError(f"{path}: rows have more fields than the header has names.") from None
    except (pd.errors.ParserError, UnicodeDecodeError, ValueError, re.error) as error:
        cause = " ".join(str(error).split())
        raise InputError(f"{path} is not a table in UTF-8 separated by {sep!r}: {cause}") from None
    require(len(table) > 0, f"{path} has a header and no rows.")
    return table.rename(columns=str)


def _parse_arff(path: str, content: bytes) -> TableFile:
    """A file in Weka's format, dense, with numeric and nominal attributes; `?` is missing."""
    from scipy.io import arff

    require(content.strip() != b"", f"{path} is empty.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8: {error}.") from None
    # scipy refuses these, too, without saying which.
    if texts := re.findall(r"^\s*@attribute\s+('[^']+'|\S+)\s+string\b", text, re.IGNORECASE | re.MULTILINE):
        raise InputError(
            f"{path}: the attribute {texts[0]} holds text, and only numeric and nominal ones can be read; delete it "
            "from the file, or save the table as CSV."
        )
    try:
        found, about = arff.loadarff(io.StringIO(text))
    except StopIteration:
        raise InputError(f"{path} is no ARFF file: it has no line @data.") from None
    except IndexError:
        raise InputError(f"{path}: a row has fewer fields than there are attributes.") from None
    except (arff.ArffError, NotImplementedError, ValueError, csv.Error) as error:
        cause = " ".join(str(error).split())
        raise InputError(f"{path} is no ARFF file that can be read: {cause}") from None
    require(len(found) > 0, f"{path} has a header and no rows.")
    _refuse_surplus(path, text, len(about.names()))
    columns = {name: found[name] for name in about.names()}
    nominal = {name for name, kind in zip(about.names(), about.types(), strict=True) if kind == "nominal"}
    for name, values in columns.items():
        if name in nominal:
            words = np.char.decode(values, "utf-8").astype(object)
            columns[name] = np.where(words == "?", np.nan, words)
        elif values.dtype.kind != "f":  # a date, which pandas would take for a number
            columns[name] = values.astype(str).astype(object)
    return TableFile(pd.DataFrame(columns), frozenset(nominal))


def _refuse_surplus(path: str, text: str, n_attributes: int) -> None:
    """Refuse rows with more fields than attributes, of which scipy drops the rest without a word."""
    rows = re.split(r"^\s*@data.*$", text, maxsplit=1, flags=re.IGNORECASE | re.MULTILINE)[-1].splitlines()
    rows = [row for row in rows if row.strip() and not row.startswith("%")]
    for number, row in enumerate(rows, 1):
        if row.count(",") >= n_attributes and not set(row) & {"'", '"'}:
            raise InputError(f"{path}: row {number} has more fields than there are attributes ({n_attributes}).")

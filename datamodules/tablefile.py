"""Reads tables from CSV and ARFF files."""

import csv
import io
import json
import re
import shlex
import stat
import warnings
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from .errors import InputError, require
from .folder import data_folder


class TableFile(NamedTuple):
    """The contents of a file.

    Attributes:
        rows: The table; missing values are NaN. It is cached, so do not modify it.
        nominal: Columns declared as nominal by an ARFF file; empty for CSV files.
        csv: Arguments of `_parse_csv` that read a CSV file again; None for ARFF files.
    """

    rows: pd.DataFrame
    nominal: frozenset[str] = frozenset()
    csv: tuple[str, bytes, str, bool] | None = None

    def as_written(self, column: str) -> "pd.Series[Any]":
        """A column as text: 01234, 1.50 and TRUE, which `rows` would hold as numbers and truth values."""
        if self.csv is None:
            return self.rows[column]
        return _parse_csv(*self.csv, usecols=[list(self.rows.columns).index(column)], dtype=str)[column]


def read_file(path: str, root: str | None, sep: str = ",", header: bool = True) -> TableFile:
    """Read a table; tables are cached by the file's contents.

    Args:
        path: The file; a path that does not exist is looked up below the data root.
        root: The data root, see `data_folder`.
        sep: Column separator of a CSV file.
        header: Whether the first line of a CSV file contains the column names.

    Raises:
        InputError: If the file cannot be read or parsed.
    """
    return _parse(path, read_bytes(find(path, root)), sep, header)


def find(path: str, root: str | None) -> str:
    """Return the path itself, or the same path below the data root if only that exists."""
    below = data_folder(root) / path
    try:
        return str(below) if not Path(path).exists() and below.is_file() else path
    except (OSError, ValueError):  # a name that no file can have, which `read_bytes` rejects
        return path


def separator(sep: str) -> str:
    r"""Return a column separator: one character, or `\t` for a tab, or `\s+` for any white space.

    Raises:
        InputError: If it is anything else; pandas would take it for a regular expression, and ignore quotes.
    """
    require(len(sep) > 0, "data.sep must not be empty.")
    sep = "\t" if sep == r"\t" else sep
    require(
        sep == r"\s+" or (len(sep) == 1 and sep not in '\r\n"\0'),
        r"data.sep must be one character other than a quote or a line end, '\t' for a tab or '\s+' for white space, "
        f"got {sep!r}; replace it in the file, for example by a comma.",
    )
    return sep


def drop_hint(*columns: Any) -> str:
    """The option that drops columns, quoted for YAML and for a shell."""
    return f"--data.drop {shlex.quote(json.dumps(list(map(str, columns)), ensure_ascii=False))}"


def read_table(path: str, sep: str, header: bool = True, option: str = "data.path", **how: Any) -> pd.DataFrame:
    """Read a CSV file; column names are strings, and only empty fields are missing.

    Args:
        path: The file.
        sep: Column separator.
        header: Whether the first line contains the column names.
        option: Option that gave the path, for messages.
        **how: Further arguments of `pandas.read_csv`.

    Raises:
        InputError: If the file cannot be read or parsed.
    """
    return _parse_csv(path, read_bytes(path, option), sep, header, **how)


def read_bytes(path: str, option: str = "data.path") -> bytes:
    """Read the bytes of a file.

    Raises:
        InputError: If it cannot be read; the message names the option that gave the path.
    """
    try:
        mode = Path(path).stat().st_mode
        # A device or a FIFO may have no end, or no beginning.
        require(
            stat.S_ISREG(mode) or stat.S_ISDIR(mode), f"cannot read {path}: it is not a regular file; check --{option}."
        )
        return Path(path).read_bytes()
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check --{option}.") from None
    except ValueError:
        raise InputError(f"cannot read {path!a}: no file can have this name; check --{option}.") from None
    except MemoryError:
        raise InputError(f"cannot read {path}: it is larger than the memory; check --{option}.") from None


@lru_cache(maxsize=4)
def _parse(path: str, content: bytes, sep: str, header: bool) -> TableFile:
    if path.lower().endswith(".arff"):
        return _parse_arff(path, content)
    return TableFile(_parse_csv(path, content, sep, header), csv=(path, content, sep, header))


def _parse_csv(path: str, content: bytes, sep: str, header: bool, **how: Any) -> pd.DataFrame:
    require(content.strip() != b"", f"{path} is empty; pass a file that contains a table.")
    engine: Literal["c", "python"] = "c" if len(sep.encode()) == 1 or sep == r"\s+" else "python"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            if header and "usecols" not in how:
                _refuse_twice(path, content, sep, engine)
            # By default, pandas uses a surplus column as the index, which shifts all other columns.
            table = pd.read_csv(
                io.BytesIO(content),
                sep=sep,
                header=0 if header else None,
                index_col=False,
                # Only an empty field is missing: NA, None and null may be labels.
                keep_default_na=False,
                na_values=[""],
                engine=engine,
                # Chunks of a column must not get different types; the Python engine has no chunks.
                low_memory=engine != "c",
                encoding="utf-8-sig",
                **how,
            )
    except pd.errors.ParserWarning:
        raise InputError(f"{path}: a row has more fields than the header has names; check --data.sep.") from None
    except InputError:
        raise
    except (pd.errors.ParserError, UnicodeDecodeError, ValueError, re.error, csv.Error) as error:
        cause = " ".join(str(error).split())
        raise InputError(
            f"{path} is not a UTF-8 table with the separator {sep!r}; check the file and --data.sep. {cause}"
        ) from None
    require(len(table) > 0, f"{path} has a header but no rows; add rows, or pass another file.")
    return table.rename(columns=str)


def _refuse_twice(path: str, content: bytes, sep: str, engine: Literal["c", "python"]) -> None:
    """Check for columns of the same name, which pandas would rename: a copy of the target would become a feature."""
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "engine": engine}
    first = pd.read_csv(io.BytesIO(content), sep=sep, header=None, nrows=1, **how)
    names = Counter(name for name in first.iloc[0] if name)
    twice = [name for name, n in names.items() if n > 1]
    if twice:
        raise InputError(f"{path} has {names[twice[0]]} columns named {twice[0]!r}; rename or delete the copies.")


def _parse_arff(path: str, content: bytes) -> TableFile:
    """Parse a dense ARFF file (Weka's format) with numeric and nominal attributes; `?` is missing."""
    from scipy.io import arff

    require(content.strip() != b"", f"{path} is empty; pass a file that contains a table.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not encoded in UTF-8: {error}.") from None
    # scipy rejects string attributes as well, but without naming them.
    pattern = r"^\s*@attribute\s+('[^']+'|\"[^\"]+\"|\S+)\s+(string|relational)\b"
    if refused := re.findall(pattern, text, re.IGNORECASE | re.MULTILINE):
        name, kind = refused[0]
        what = "contains text" if kind.lower() == "string" else "contains tables"
        raise InputError(
            f"{path}: the attribute {name} {what}, but only numeric and nominal attributes are supported; delete it "
            f"from the file, or save the table as CSV and pass --data.drop."
        )
    try:
        found, about = arff.loadarff(io.StringIO(text))
    except StopIteration:
        raise InputError(f"{path} is not an ARFF file: it has no @data line.") from None
    except IndexError:
        raise InputError(f"{path}: a row has fewer fields than there are attributes.") from None
    # scipy does not check a file before it reads it: other errors come from files that are not ARFF.
    except (
        arff.ArffError,
        NotImplementedError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        csv.Error,
    ) as error:
        cause = " ".join(str(error).split())
        raise InputError(f"{path} is not a supported ARFF file: {cause}") from None
    require(len(found) > 0, f"{path} has a header but no rows; add rows, or pass another file.")
    _refuse_surplus(path, text, len(about.names()))
    columns = {name: found[name] for name in about.names()}
    nominal = {name for name, kind in zip(about.names(), about.types(), strict=True) if kind == "nominal"}
    for name, values in columns.items():
        if name in nominal:
            words = np.char.decode(values, "utf-8").astype(object)
            columns[name] = np.where(words == "?", np.nan, words)
        elif values.dtype.kind != "f":  # a date, which pandas would convert to a number
            columns[name] = values.astype(str).astype(object)
    return TableFile(pd.DataFrame(columns), frozenset(nominal))


def _refuse_surplus(path: str, text: str, n_attributes: int) -> None:
    """Check for rows with more fields than attributes; scipy silently drops the additional ones."""
    rows = re.split(r"^\s*@data.*$", text, maxsplit=1, flags=re.IGNORECASE | re.MULTILINE)[-1].splitlines()
    rows = [row for row in rows if row.strip() and not row.startswith("%")]
    for number, row in enumerate(rows, 1):
        if row.count(",") >= n_attributes and not set(row) & {"'", '"'}:
            raise InputError(f"{path}: row {number} has more fields than there are attributes ({n_attributes}).")

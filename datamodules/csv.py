"""A table of the user's own."""

import hashlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .base import ArrayDataModule, Source
from .errors import InputError, choose, require, unknown


class CSV(ArrayDataModule):
    """A CSV file of your own: every column but the target is a numeric feature; labels may be text.

    A fifth of the rows becomes the test split, by a constant; equal rows stay on one side of each split. A file other
    than the one that a checkpoint was trained on is tested and predicted whole.

    Args:
        path: The file; must be given.
        target: The column to predict, which must be given; where the file has no header, its number, from 0.
        task: `classification`, `regression`, or `auto`: classes where the target is text, or whole numbers of at most
            20 different values.
        drop: Columns to leave out.
        sep: What separates the columns.
        header: Whether the first line names the columns.

    Raises:
        InputError: The file cannot be used; the message names the column and row.
    """

    def __init__(
        self,
        *,
        path: str = "",
        target: str = "",
        task: str = "auto",
        drop: Sequence[str] = (),
        sep: str = ",",
        header: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require(path != "", "the data set 'csv' needs a file: --data.path FILE.")
        require(target != "", "the data set 'csv' needs a column to predict: --data.target COLUMN.")
        choose("data.task", task, ["auto", "classification", "regression"])
        require(len(sep) > 0, "data.sep must not be empty.")
        self.path, self.target, self.task = path, target, task
        self.drop, self.sep, self.header = list(drop), sep, header

    @classmethod
    def identity(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """As in the base, with the file's content in place of its path."""
        digest = hashlib.sha256(read_bytes(params["path"])).hexdigest()
        return super().identity({**params, "path": digest})

    def setup(self, stage: str | None = None) -> None:
        """Load, split and normalise, once; for prediction the target column may be missing."""
        self._predicting = stage == "predict"
        super().setup(stage)

    def load(self) -> Source:
        """Features (N, F) in the file's order of columns, or in the checkpoint's."""
        table = self._read()
        for column in self.drop:
            self._check_column(table, column)
        labelled = self.target in table
        if not labelled and not (self._predicting and self._restored):
            self._check_column(table, self.target)
        features = [c for c in table.columns if c != self.target and c not in self.drop]
        if self._restored is not None:
            features = self._restored.get("features", features)
            for column in features:
                self._check_column(table, column)
        require(len(features) > 0, f"{self.path} has no feature columns besides the target {self.target!r}.")
        x = np.stack([self._numbers(table[c]) for c in features], axis=1)
        y, names = self._labels(table[self.target]) if labelled else self._no_labels(len(x))
        _, groups = np.unique(x, axis=0, return_inverse=True)
        # Of what was read and not of the file's bytes, so that other line ends are no other file.
        digest = hashlib.sha256(repr((features, names)).encode() + x.tobytes() + y.tobytes()).hexdigest()
        extra = {"features": features, "sha256": digest}
        return Source(x, y, names, groups=groups.reshape(-1), labelled=labelled, extra=extra)

    def _split(self, source: Source) -> dict[str, NDArray[np.int64]]:
        if self._restored is not None and self._restored.get("sha256") != (source.extra or {})["sha256"]:
            return {"test": np.arange(len(source.x))}
        return super()._split(source)

    def _read(self) -> pd.DataFrame:
        return read_table(self.path, self.sep, self.header)

    def _check_column(self, table: pd.DataFrame, column: str) -> None:
        if column not in table:
            raise unknown(f"column of {self.path}", column, table.columns)

    def _refuse_missing(self, column: pd.Series) -> None:
        if column.isna().any():
            row = int(np.flatnonzero(column.isna())[0]) + 1
            way_out = "delete those rows" if column.name == self.target else _drop(column)
            raise InputError(
                f"{self.path}: column {column.name!r} has {int(column.isna().sum())} missing values, the first in row "
                f"{row}. Fill them in, or {way_out}."
            )

    def _numbers(self, column: pd.Series) -> NDArray[np.float64]:
        self._refuse_missing(column)
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
        bad = ~np.isfinite(numbers)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            way_out = "predict classes with --data.task classification" if column.name == self.target else _drop(column)
            raise InputError(
                f"{self.path}: column {column.name!r} must hold finite numbers, but row {row + 1} has "
                f"'{column.iloc[row]}'. Encode it as numbers, or {way_out}."
            )
        return numbers

    def _labels(self, column: pd.Series) -> tuple[NDArray, tuple[str, ...] | None]:
        self._refuse_missing(column)
        if self._restored is not None:
            names = self._restored["class_names"]
        elif self._is_classification(column):
            values = sorted(column.unique(), key=lambda v: (isinstance(v, str), v))
            names = list(dict.fromkeys(_class_name(v) for v in values))
            require(len(names) > 1, f"{self.path}: the target {self.target!r} has one class only, {names[0]!r}.")
        else:
            names = None
        if names is None:
            return self._numbers(column), None
        index = {name: i for i, name in enumerate(names)}
        text = column.map(_class_name)
        if unseen := sorted(set(text) - set(index)):
            raise InputError(f"{self.path}: the model was trained on the classes {names}; it does not know {unseen}.")
        return text.map(index).to_numpy(np.int64), tuple(names)

    def _no_labels(self, n: int) -> tuple[NDArray, tuple[str, ...] | None]:
        names = self._restored["class_names"] if self._restored else None
        return (np.full(n, np.nan), None) if names is None else (np.full(n, -1), tuple(names))

    def _is_classification(self, column: pd.Series) -> bool:
        if self.task != "auto":
            return self.task == "classification"
        numbers = pd.to_numeric(column, errors="coerce")
        if column.dtype == bool or numbers.isna().any():
            return True
        return bool((numbers == numbers.round()).all() and column.nunique() <= 20)


def _drop(column: pd.Series) -> str:
    return f"leave it out with --data.drop '[{column.name}]'"


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
    content = read_bytes(path, option)
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


def read_bytes(path: str, option: str = "data.path") -> bytes:
    """A file's content.

    Raises:
        InputError: It cannot be read; the message names the option that said so.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Check --{option}.") from None


def _class_name(value: Any) -> str:
    """A label as text; 1 and 1.0 are the same class."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

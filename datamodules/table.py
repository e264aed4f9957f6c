"""Base class of tables in a file: numeric features, a target, and imputation of missing values."""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .base import ArrayDataModule, Source
from .errors import InputError, choose, require, unknown
from .splits import refuse_rare
from .tablefile import TableFile, drop_hint, read_file

LARGEST = 1e150  # the square of a larger number may be infinite
STATISTICS: dict[str, Callable[..., NDArray[np.float64]]] = {"mean": np.nanmean, "median": np.nanmedian}


class Table(ArrayDataModule):
    """A file with one row per sample: every column except the target is a numeric feature.

    Fill-in values and the quantiles for ranks are computed on the training split. They are stored in `card()` as
    `missing` and `quantiles`, so that a checkpoint reads other files in the same way. Identical rows stay on the same
    side of every split. Subclasses set the attributes.

    Attributes:
        path: The file.
        target: Column to predict.
        task: `classification`, `regression` or `auto`; see `CSV`.
        drop: Columns to ignore.
        sep: Column separator.
        header: Whether the first line contains the column names.
        missing: How to fill in missing features: `mean` or `median` of the column; None makes them an error.
        ranks: Whether to replace features by the normal quantiles of their ranks among the training rows.
        labels: Maps the target's values in the file to class names, in class order; None uses the values of the file,
            sorted.
    """

    fixed = (*ArrayDataModule.fixed, "drop", "task", "missing", "ranks")
    path: str
    target: str
    task = "auto"
    drop: Sequence[str] = ()
    sep = ","
    header = True
    missing: str | None = None
    ranks = False
    labels: ClassVar[Mapping[str, str] | None] = None
    _features: Sequence[str] = ()

    def load(self) -> Source:
        """Features (N, F) in the column order of the file or of the checkpoint; missing values are NaN."""
        file = self._read()
        table = file.rows
        labelled = self.target in table
        if not labelled and not self._lenient:
            self._check_column(table, self.target)
        features = [c for c in table.columns if c != self.target and c not in self.drop]
        if self._restored is not None:
            features = self._restored.get("features", features)
        for column in self.drop if self._restored is None else features:
            self._check_column(table, column)
        self._features = features
        require(
            len(features) > 0,
            f"{self.path} has no feature columns besides the target {self.target!r}; check --data.sep and --data.drop.",
        )
        x = np.stack([self._numbers(table[c], self.missing is not None) for c in features], axis=1)
        y, names = self._labels(table[self.target], file) if labelled else self._no_labels(len(x))
        if self._lenient:
            labelled = bool((y >= 0).any() if names is not None else np.isfinite(y).any())
        # NaN is not equal to itself; infinities cannot occur here, so they can mark it.
        _, groups = np.unique(np.where(np.isnan(x), np.inf, x), axis=0, return_inverse=True)
        if names is not None and labelled and self._restored is None:
            different = np.unique(groups.reshape(-1) * len(names) + y) % len(names)  # class of each distinct row
            refuse_rare(self.path, names, np.bincount(different, minlength=len(names)).tolist(), "row")
        # Hash the contents, not the file's bytes, so that line endings make no difference.
        digest = hashlib.sha256(repr((features, names)).encode() + x.tobytes() + y.tobytes()).hexdigest()
        extra = {"features": features, "sha256": digest}
        return Source(x, y, names, groups=groups.reshape(-1), labelled=labelled, extra=extra)

    def statistics(self, x: NDArray) -> dict[str, Any]:
        """See the base class.

        Raises:
            InputError: If a number is too large to compute with.
        """
        for column, values in zip(self._features, x.T, strict=True):
            self._check_size(column, values, f", or {_drop(column)}")
        return super().statistics(x)

    def _check_size(self, column: str, values: NDArray, way_out: str = "") -> None:
        largest = float(np.abs(values).max(initial=0))
        require(
            largest <= LARGEST,
            f"{self.path}: column {column!r} contains a number of size {largest:g}, which is too large to compute "
            f"with; correct it{way_out}.",
        )

    def _read(self) -> TableFile:
        return read_file(self.path, self.root, self.sep, self.header)

    def featurise(self, source: Source) -> Source:
        """Fill in missing features and compute ranks, using the training split or the checkpoint."""
        extra, rows, train = source.extra or {}, source.x, self.indices.get("train")
        fill, quantiles = (None if self._restored is None else self._restored.get(k) for k in ("missing", "quantiles"))
        if self._restored is None and self.missing is not None:
            fill = self._fill(rows[train], extra["features"])
        if fill is not None:
            rows, extra = np.where(np.isnan(rows), np.array(fill), rows), {**extra, "missing": fill}
        require(
            not np.isnan(rows).any(),
            f"{self.path} has missing values, but the model was trained without data.missing, so its checkpoint has no "
            "fill-in values; fill them in yourself, or delete those rows.",
        )
        if self._restored is None and self.ranks:
            quantiles = _transformer().fit(rows[train]).quantiles_.tolist()
        if quantiles is not None:
            rows, extra = _transformer(quantiles).transform(rows), {**extra, "quantiles": quantiles}
        return replace(source, x=rows, extra=extra)

    def _fill(self, train: NDArray, features: Sequence[str]) -> list[float]:
        """Return the fill-in value of each feature."""
        empty = np.isnan(train).all(axis=0)
        if empty.any():
            name = features[int(np.flatnonzero(empty)[0])]
            raise InputError(
                f"{self.path}: column {name!r} has only missing values in the training split, so its {self.missing} is "
                f"undefined; {_drop(name)}."
            )
        return STATISTICS[self.missing or "mean"](train, axis=0).tolist()

    def _check_column(self, table: pd.DataFrame, column: str) -> None:
        if column not in table:
            raise unknown(f"column of {self.path}", column, table.columns)

    def _refuse_missing(self, column: "pd.Series[Any]") -> None:
        if column.isna().any():
            row = int(np.flatnonzero(column.isna())[0]) + 1
            n, way_out = int(column.isna().sum()), "fill in missing values or delete their rows"
            if column.name != self.target and self._restored is None:  # a checkpoint has its own features
                way_out = f"fill in missing values with --data.missing median, or {_drop(column.name)}"
            raise InputError(
                f"{self.path}: column {column.name!r} has {n} missing value{'s' * (n > 1)}, the first in row {row}; "
                f"{way_out}."
            )

    def _numbers(self, column: "pd.Series[Any]", may_miss: bool = False) -> NDArray[np.float64]:
        if not may_miss:
            self._refuse_missing(column)
        numbers = _parsed(column).to_numpy(np.float64, na_value=np.nan)
        bad = ~np.isfinite(numbers) & ~column.isna().to_numpy()
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            own = column.name == self.target
            way_out = "predict classes with --data.task classification" if own else _drop(column.name)
            if self._restored is not None:  # a checkpoint has its own task and features
                way_out = "delete those rows"
            raise InputError(
                f"{self.path}: column {column.name!r} must contain finite numbers, but row {row + 1} contains "
                f"'{column.iloc[row]}'; encode its values as numbers, or {way_out}."
            )
        return numbers

    def _labels(self, column: "pd.Series[Any]", file: TableFile) -> tuple[NDArray, tuple[str, ...] | None]:
        if not self._lenient:
            self._refuse_missing(column)
        known = self.labels or {}
        if self._restored is not None:
            names = self._restored["class_names"]
        elif known:
            names = list(known.values())
        elif self._is_classification(column, self.target in file.nominal):
            # Numbers in their own order: "10" comes after "9".
            numeric = pd.api.types.is_numeric_dtype(column) and column.dtype != bool
            found = set(file.as_written(self.target).map(_class_name))
            names = sorted(found, key=lambda name: (float(name) if numeric else 0.0, name))
            require(
                len(names) > 1,
                f"{self.path}: the target {self.target!r} has only one class, {names[0]!r}; classification needs at "
                "least two. Check --data.target, or add rows of other classes.",
            )
        else:
            names = None
        if names is None and self._lenient:
            numbers = _parsed(column).to_numpy(np.float64, na_value=np.nan)
            return np.where(np.isfinite(numbers), numbers, np.nan), None
        if names is None:
            numbers = self._numbers(column)
            self._check_size(self.target, numbers)
            return numbers, None
        index = {name: i for i, name in enumerate(names)}
        text = file.as_written(self.target).map(_class_name, na_action="ignore")
        text = text.map(lambda name: known.get(name, name), na_action="ignore")
        if self._restored is not None:
            text = text.map(_same_numbers(set(text.dropna()), names), na_action="ignore")
        if self._lenient:
            return text.map(index).fillna(-1).to_numpy(np.int64), tuple(names)
        if unseen := sorted(set(text) - set(index)):
            if self._restored is None:
                raise InputError(f"{self.path}: the target contains {unseen}, but its classes must be {list(known)}.")
            raise InputError(
                f"{self.path}: the model was trained on the classes {names}, which do not include {unseen}; remove the "
                "rows of other classes."
            )
        return text.map(index).to_numpy(np.int64), tuple(names)

    def _no_labels(self, n: int) -> tuple[NDArray, tuple[str, ...] | None]:
        names = self._restored["class_names"] if self._restored else None
        return (np.full(n, np.nan), None) if names is None else (np.full(n, -1), tuple(names))

    def _is_classification(self, column: "pd.Series[Any]", nominal: bool) -> bool:
        if self.task != "auto":
            return self.task == "classification"
        if nominal:
            return True
        numbers = _parsed(column)
        if not numbers.isna().any() and np.isinf(numbers.to_numpy(np.float64)).any():
            self._numbers(column)  # raises: infinity is a number out of range, not a class
        if column.dtype == bool or numbers.isna().any():
            return True
        return bool((numbers == numbers.round()).all() and column.nunique() <= 20)


def check_missing(missing: str | None) -> None:
    """Check the option `missing`.

    Raises:
        InputError: If it is unknown, with the nearest match and the list.
    """
    if missing is not None:
        choose("data.missing", missing, STATISTICS)


def _transformer(quantiles: list[list[float]] | None = None) -> Any:
    """Return scikit-learn's transformer to normal ranks, fitted if `quantiles` (100, F) are given."""
    from sklearn.preprocessing import QuantileTransformer

    made = QuantileTransformer(n_quantiles=100, output_distribution="normal", subsample=None)
    if quantiles is not None:
        made.quantiles_ = np.array(quantiles)
        made.n_quantiles_, made.n_features_in_ = made.quantiles_.shape
        made.references_ = np.linspace(0, 1, made.n_quantiles_)
    return made


def _parsed(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The numbers in a column: NaN for what is not a number, infinity for what is too large."""
    try:
        return pd.to_numeric(column, errors="coerce")
    except OverflowError:  # of an integer with more than 308 digits
        return column.map(_float)


def _float(cell: Any) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return math.nan


def _drop(column: Any) -> str:
    return f"drop the column with {drop_hint(column)}"


def _class_name(value: Any) -> str:
    """A label as it is written, except that 1 and 1.0 are the same class."""
    if isinstance(value, float):  # of an ARFF file
        return str(int(value)) if value.is_integer() else str(value)
    whole = re.fullmatch(r"\s*(-?(?:0|[1-9]\d*))(?:\.0*)?\s*", str(value))
    return whole[1] if whole else str(value)


def _same_numbers(found: set[str], names: Sequence[str]) -> Callable[[str], str]:
    """Map labels that are not class names to the class of the same number, if there is one: 1.50 to 1.5."""
    numbers: dict[Decimal, list[str]] = {}
    for name in names:
        if (number := _number(name)) is not None:
            numbers.setdefault(number, []).append(name)
    renamed: dict[str, str] = {}
    for label in found - set(names):
        number = _number(label)
        if number is not None and len(numbers.get(number, ())) == 1:
            renamed[label] = numbers[number][0]
    return lambda label: renamed.get(label, label)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None

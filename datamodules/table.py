"""The base of tables that lie in a file: numeric features, a target, and what fills in missing values."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .base import ArrayDataModule, Source
from .errors import InputError, choose, require, unknown
from .splits import refuse_rare
from .tablefile import TableFile, read_file

STATISTICS: dict[str, Callable[..., NDArray[np.float64]]] = {"mean": np.nanmean, "median": np.nanmedian}


class Table(ArrayDataModule):
    """A file with a row a sample: every column but the target is a numeric feature.

    What is filled in for missing features, and the quantiles that ranks are taken by, are those of the training split
    alone; they go into `card()` as `missing` and `quantiles`, so that a checkpoint reads another file alike. Equal rows
    stay on one side of each split. Subclasses set the attributes.

    Attributes:
        path: The file.
        target: The column to predict.
        task: `classification`, `regression` or `auto`; see `CSV`.
        drop: Columns to leave out.
        sep: What separates the columns.
        header: Whether the first line names the columns.
        missing: What fills in a missing feature: the column's `mean` or `median`; None refuses it.
        ranks: Whether features become the normal quantiles of their ranks among the training rows.
        labels: The target's values in the file, in the order of the classes, with their names; None for those of the
            file in sorted order.
    """

    path: str
    target: str
    task = "auto"
    drop: Sequence[str] = ()
    sep = ","
    header = True
    missing: str | None = None
    ranks = False
    labels: ClassVar[Mapping[str, str] | None] = None
    _predicting = False

    def load(self) -> Source:
        """Features (N, F) in the file's order of columns, or in the checkpoint's; NaN where one is missing."""
        file = self._read()
        table = file.rows
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
        x = np.stack([self._numbers(table[c], self.missing is not None) for c in features], axis=1)
        y, names = self._labels(table[self.target], file) if labelled else self._no_labels(len(x))
        # NaN is not equal to itself, and an infinity stands nowhere.
        _, groups = np.unique(np.where(np.isnan(x), np.inf, x), axis=0, return_inverse=True)
        if names is not None and labelled and self._restored is None:
            different = np.unique(groups.reshape(-1) * len(names) + y) % len(names)  # the class of each that differs
            refuse_rare(self.path, names, np.bincount(different, minlength=len(names)).tolist(), "row")
        # Of what was read and not of the file's bytes, so that other line ends are no other file.
        digest = hashlib.sha256(repr((features, names)).encode() + x.tobytes() + y.tobytes()).hexdigest()
        extra = {"features": features, "sha256": digest}
        return Source(x, y, names, groups=groups.reshape(-1), labelled=labelled, extra=extra)

    def _read(self) -> TableFile:
        return read_file(self.path, self.root, self.sep, self.header)

    def featurise(self, source: Source) -> Source:
        """Fill in missing features and take ranks, by the training split or as the checkpoint says."""
        extra, rows, train = source.extra or {}, source.x, self.indices.get("train")
        fill, quantiles = (None if self._restored is None else self._restored.get(k) for k in ("missing", "quantiles"))
        if self._restored is None and self.missing is not None:
            fill = self._fill(rows[train], extra["features"])
        if fill is not None:
            rows, extra = np.where(np.isnan(rows), np.array(fill), rows), {**extra, "missing": fill}
        require(
            not np.isnan(rows).any(),
            f"{self.path} has missing values, and the model was trained without data.missing, so its checkpoint does "
            "not say what to fill in; fill them in yourself, or delete those rows.",
        )
        if self._restored is None and self.ranks:
            quantiles = _transformer().fit(rows[train]).quantiles_.tolist()
        if quantiles is not None:
            rows, extra = _transformer(quantiles).transform(rows), {**extra, "quantiles": quantiles}
        return replace(source, x=rows, extra=extra)

    def _fill(self, train: NDArray, features: Sequence[str]) -> list[float]:
        """What each feature is filled in with."""
        empty = np.isnan(train).all(axis=0)
        if empty.any():
            name = features[int(np.flatnonzero(empty)[0])]
            raise InputError(
                f"{self.path}: column {name!r} has no value in the training split, so there is no {self.missing} "
                f"to fill in; {_drop(name)}."
            )
        return STATISTICS[self.missing or "mean"](train, axis=0).tolist()

    def _check_column(self, table: pd.DataFrame, column: str) -> None:
        if column not in table:
            raise unknown(f"column of {self.path}", column, table.columns)

    def _refuse_missing(self, column: "pd.Series[Any]") -> None:
        if column.isna().any():
            row = int(np.flatnonzero(column.isna())[0]) + 1
            way_out = "Fill them in, or delete those rows."
            if column.name != self.target:
                way_out = f"Fill them in, by --data.missing median or yourself, or {_drop(column.name)}."
            raise InputError(
                f"{self.path}: column {column.name!r} has {int(column.isna().sum())} missing values, the first in row "
                f"{row}. {way_out}"
            )

    def _numbers(self, column: "pd.Series[Any]", may_miss: bool = False) -> NDArray[np.float64]:
        if not may_miss:
            self._refuse_missing(column)
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        bad = ~np.isfinite(numbers) & ~column.isna().to_numpy()
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            own = column.name == self.target
            way_out = "predict classes with --data.task classification" if own else _drop(column.name)
            raise InputError(
                f"{self.path}: column {column.name!r} must hold finite numbers, but row {row + 1} has "
                f"'{column.iloc[row]}'. Encode it as numbers, or {way_out}."
            )
        return numbers

    def _labels(self, column: "pd.Series[Any]", file: TableFile) -> tuple[NDArray, tuple[str, ...] | None]:
        self._refuse_missing(column)
        known = self.labels or {}
        if self._restored is not None:
            names = self._restored["class_names"]
        elif known:
            names = list(known.values())
        elif self._is_classification(column, self.target in file.nominal):
            values = sorted(column.unique(), key=lambda v: (isinstance(v, str), v))
            names = list(dict.fromkeys(_class_name(v) for v in values))
            require(len(names) > 1, f"{self.path}: the target {self.target!r} has one class only, {names[0]!r}.")
        else:
            names = None
        if names is None:
            return self._numbers(column), None
        index = {name: i for i, name in enumerate(names)}
        text = column.map(_class_name)
        text = text.map(lambda name: known.get(name, name))
        if unseen := sorted(set(text) - set(index)):
            if self._restored is None:
                raise InputError(f"{self.path}: its target holds {unseen}, and its classes are {list(known)}.")
            raise InputError(f"{self.path}: the model was trained on the classes {names}; it does not know {unseen}.")
        return text.map(index).to_numpy(np.int64), tuple(names)

    def _no_labels(self, n: int) -> tuple[NDArray, tuple[str, ...] | None]:
        names = self._restored["class_names"] if self._restored else None
        return (np.full(n, np.nan), None) if names is None else (np.full(n, -1), tuple(names))

    def _is_classification(self, column: "pd.Series[Any]", nominal: bool) -> bool:
        if self.task != "auto":
            return self.task == "classification"
        if nominal:
            return True
        numbers = pd.to_numeric(column, errors="coerce")
        if column.dtype == bool or numbers.isna().any():
            return True
        return bool((numbers == numbers.round()).all() and column.nunique() <= 20)


def check_missing(missing: str | None) -> None:
    """Refuse what no missing value can be filled in with.

    Raises:
        InputError: With the nearest match and the list.
    """
    if missing is not None:
        choose("data.missing", missing, STATISTICS)


def _transformer(quantiles: list[list[float]] | None = None) -> Any:
    """Scikit-learn's transformer to normal ranks, fitted if it is given the quantiles of each feature, (100, F)."""
    from sklearn.preprocessing import QuantileTransformer

    made = QuantileTransformer(n_quantiles=100, output_distribution="normal", subsample=None)
    if quantiles is not None:
        made.quantiles_ = np.array(quantiles)
        made.n_quantiles_, made.n_features_in_ = made.quantiles_.shape
        made.references_ = np.linspace(0, 1, made.n_quantiles_)
    return made


def _drop(column: Any) -> str:
    return f"leave it out with --data.drop '[{column}]'"


def _class_name(value: Any) -> str:
    """A label as text; 1 and 1.0 are the same class."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""A CSV or ARFF file of the user's."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Source
from .errors import choose, require
from .table import Table, check_missing
from .tablefile import find, read_bytes, separator


class CSV(Table):
    r"""A CSV or ARFF file of your own: every column except the target is a numeric feature; labels may be text.

    20 % of the rows become the test split, drawn with a fixed seed; identical rows stay on the same side of every
    split. A file that a checkpoint was not trained on is used as a test split as a whole.

    Args:
        path: CSV or ARFF file (required). A path that does not exist is looked up below the data root. Files that end
            in .arff are read as ARFF: `sep` and `header` are ignored, nominal targets are classes, `?` marks a missing
            value.
        target: Column to predict (required); its index, starting at 0, if the file has no header.
        task: classification, regression or auto. auto means classification if the target is text or has at most 20
            different values, all integers.
        drop: List of columns to ignore.
        sep: Column separator: one character, \t for a tab or \s+ for white space.
        header: Whether the first line contains the column names.
        missing: How to fill in missing features (empty fields): mean or median of the column over the training split;
            null makes them an error. Missing targets are always an error.

    Raises:
        InputError: If the file cannot be used; the message names the column and row.
    """

    paths = ("path",)

    def __init__(
        self,
        *,
        path: str = "",
        target: str = "",
        task: str = "auto",
        drop: Sequence[str] = (),
        sep: str = ",",
        header: bool = True,
        missing: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require(path != "", "the data set 'csv' needs a file; pass --data.path FILE.")
        require(target != "", "the data set 'csv' needs a column to predict; pass --data.target COLUMN.")
        choose("data.task", task, ["auto", "classification", "regression"])
        check_missing(missing)
        self.path, self.target, self.task = path, target, task
        self.drop, self.sep, self.header, self.missing = list(drop), separator(sep), header, missing

    @classmethod
    def identity(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class; the file's content replaces its path."""
        digest = hashlib.sha256(read_bytes(find(params["path"], params.get("root")))).hexdigest()
        return super().identity({**params, "path": digest})

    def setup(self, stage: str | None = None) -> None:
        """Load, split and normalise; labels may be missing or unknown if `stage` is "predict"."""
        self._predicting = stage == "predict"
        super().setup(stage)

    def _split(self, source: Source) -> dict[str, NDArray[np.int64]]:
        if self._restored is not None and self._restored.get("sha256") != (source.extra or {})["sha256"]:
            return {"test": np.arange(len(source.x))}
        return super()._split(source)

"""A table of the user's own."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Source
from .errors import choose, require
from .table import Table, check_missing
from .tablefile import find, read_bytes


class CSV(Table):
    """A CSV or ARFF file of your own: every column but the target is a numeric feature; labels may be text.

    A fifth of the rows becomes the test split, by a constant; equal rows stay on one side of each split. A file other
    than the one that a checkpoint was trained on is tested and predicted whole.

    Args:
        path: The file; must be given. One that is not there is looked for below the data root. A name that ends in
            .arff says that it is one: `sep` and `header` say nothing then, nominal targets are classes, `?` is missing.
        target: The column to predict, which must be given; where the file has no header, its number, from 0.
        task: `classification`, `regression`, or `auto`: classes where the target is text, or whole numbers of at most
            20 different values.
        drop: Columns to leave out.
        sep: What separates the columns.
        header: Whether the first line names the columns.
        missing: What fills in a missing feature (an empty field): `mean` or `median` of its column over the training
            split; null refuses files that miss any. A missing target is always refused.

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
        missing: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require(path != "", "the data set 'csv' needs a file: --data.path FILE.")
        require(target != "", "the data set 'csv' needs a column to predict: --data.target COLUMN.")
        choose("data.task", task, ["auto", "classification", "regression"])
        require(len(sep) > 0, "data.sep must not be empty.")
        check_missing(missing)
        self.path, self.target, self.task = path, target, task
        self.drop, self.sep, self.header, self.missing = list(drop), sep, header, missing

    @classmethod
    def identity(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """As in the base, with the file's content in place of its path."""
        digest = hashlib.sha256(read_bytes(find(params["path"], params.get("root")))).hexdigest()
        return super().identity({**params, "path": digest})

    def setup(self, stage: str | None = None) -> None:
        """Load, split and normalise, once; for prediction the target column may be missing."""
        self._predicting = stage == "predict"
        super().setup(stage)

    def _split(self, source: Source) -> dict[str, NDArray[np.int64]]:
        if self._restored is not None and self._restored.get("sha256") != (source.extra or {})["sha256"]:
            return {"test": np.arange(len(source.x))}
        return super()._split(source)

"""Texts of the user's own."""

import hashlib
from collections.abc import Mapping
from typing import Any

from .corpus import Corpus, Texts, column_of
from .errors import require
from .tablefile import read_bytes, read_table


class Text(Texts):
    """A CSV file of your own with a column of texts and one of classes.

    A fifth of the rows becomes the test split, by a constant, unless there is a file for it; what stands in that one
    is left out of training. Files other than those that a checkpoint was trained on are tested and predicted whole.

    Args:
        path: The file; must be given. Its first line names the columns.
        text: The column of texts, which must be given.
        target: The column of classes to predict, which must be given.
        test_path: A file alike that is the test split.
        group: A column whose equal values stay on one side of each split, such as who wrote the text; null for the
            texts themselves, so that equal ones do.
        sep: What separates the columns.

    Raises:
        InputError: A file cannot be used; the message names the column and row.
    """

    def __init__(
        self,
        *,
        path: str = "",
        text: str = "",
        target: str = "",
        test_path: str | None = None,
        group: str | None = None,
        sep: str = ",",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require(path != "", "the data set 'text' needs a file: --data.path FILE.")
        require(text != "", "the data set 'text' needs a column of texts: --data.text COLUMN.")
        require(target != "", "the data set 'text' needs a column of classes: --data.target COLUMN.")
        require(text != target, f"data.text and data.target are both {text!r}; a text cannot be its own class.")
        require(len(sep) > 0, "data.sep must not be empty.")
        self.path, self.text, self.target = path, text, target
        self.test_path, self.group, self.sep = test_path, group, sep
        self.origin = path
        self._predicting = False

    @classmethod
    def identity(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """As in the base, with the files' content in place of their paths."""
        paths = {name: params[name] for name in ("path", "test_path") if params.get(name) is not None}
        digests = {name: hashlib.sha256(read_bytes(path, f"data.{name}")).hexdigest() for name, path in paths.items()}
        return super().identity({**params, **digests})

    def setup(self, stage: str | None = None) -> None:
        """As in the base; for prediction the column of classes may be missing."""
        self._predicting = stage == "predict"
        super().setup(stage)

    def read(self) -> tuple[Corpus, Corpus | None]:
        """The file, and the test file if there is one."""
        test = None if self.test_path is None else self._read(self.test_path, "data.test_path")
        return self._read(self.path, "data.path"), test

    def _read(self, path: str, option: str) -> Corpus:
        table = read_table(path, self.sep, option=option, dtype=str)
        labelled = self.target in table or not (self._predicting and self._restored)
        texts = column_of(table, self.text, path)
        labels = column_of(table, self.target, path) if labelled else None
        group = self.group
        if self._restored:  # its own file must be split as it was; another one is not split, so it needs no groups
            group = self._restored.get("group")
            group = group if group in table else None
        return Corpus(texts, labels, texts if group is None else column_of(table, group, path))

"""A CSV file of texts of the user's."""

import hashlib
from collections.abc import Mapping
from typing import Any

from .corpus import Corpus, Texts, column_of
from .errors import require
from .tablefile import read_bytes, read_table, separator


class Text(Texts):
    r"""A CSV file of your own with a column of texts and a column of classes.

    20 % of the rows become the test split, drawn with a fixed seed, unless `test_path` is given; texts that also occur
    there are removed from training. A file that a checkpoint was not trained on is used as a test split as a whole.

    Args:
        path: CSV file (required). Its first line contains the column names.
        text: Column of texts (required).
        target: Column of classes to predict (required).
        test_path: CSV file with the same columns, used as the test split; null takes the test split from `path`.
        group: Column such as the author: rows with the same value stay in the same split; null keeps identical texts
            together.
        sep: Column separator: one character, \t for a tab or \s+ for white space.

    Raises:
        InputError: If a file cannot be used; the message names the column and row.
    """

    paths = ("path", "test_path")

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
        require(path != "", "the data set 'text' needs a file; pass --data.path FILE.")
        require(text != "", "the data set 'text' needs a column of texts; pass --data.text COLUMN.")
        require(target != "", "the data set 'text' needs a column of classes; pass --data.target COLUMN.")
        require(text != target, f"data.text and data.target are both {text!r}; they must be different columns.")
        self.path, self.text, self.target = path, text, target
        self.test_path, self.group, self.sep = test_path, group, separator(sep)
        self.origin = path

    @classmethod
    def identity(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class; the files' contents replace their paths."""
        paths = {name: params[name] for name in ("path", "test_path") if params.get(name) is not None}
        digests = {name: hashlib.sha256(read_bytes(path, f"data.{name}")).hexdigest() for name, path in paths.items()}
        return super().identity({**params, **digests})

    def setup(self, stage: str | None = None) -> None:
        """See the base class; classes may be missing or unknown if `stage` is "predict"."""
        self._predicting = stage == "predict"
        super().setup(stage)

    def read(self) -> tuple[Corpus, Corpus | None]:
        """Return the texts of the file, and those of the test file or None."""
        test = None if self.test_path is None else self._read(self.test_path, "data.test_path")
        return self._read(self.path, "data.path"), test

    def _read(self, path: str, option: str) -> Corpus:
        table = read_table(path, self.sep, option=option, dtype=str)
        labelled = self.target in table or not self._lenient
        texts = column_of(table, self.text, path)
        labels = column_of(table, self.target, path, may_miss=self._lenient) if labelled else None
        group = self.group
        if self._restored:  # the checkpoint's own file must be split as before; other files are not split
            group = self._restored.get("group")
            group = group if group in table else None
        return Corpus(texts, labels, texts if group is None else column_of(table, group, path))

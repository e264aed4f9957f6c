"""Text classification data sets, vectorised by word n-grams."""

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .base import ArrayDataModule, Source
from .errors import InputError, choose, require, unknown
from .splits import refuse_rare
from .vectorizer import KINDS, Vectorizer, learn, no_words


@dataclass(frozen=True)
class Corpus:
    """Texts as read from a file.

    Attributes:
        texts: The texts.
        labels: Class name of each text; None if unknown.
        groups: Group of each text; texts of one group stay on the same side of every split.
    """

    texts: list[str]
    labels: list[str] | None
    groups: list[str]

    def without(self, groups: list[str]) -> "Corpus":
        """Return the texts whose group is not in `groups`."""
        gone = set(groups)
        rows = [row for row, group in enumerate(self.groups) if group not in gone]
        labels = None if self.labels is None else [self.labels[row] for row in rows]
        return Corpus([self.texts[row] for row in rows], labels, [self.groups[row] for row in rows])

    def digest(self) -> str:
        """Hash the texts and labels, not the file's bytes, so that line endings make no difference."""
        return hashlib.sha256(repr((self.texts, self.labels)).encode("utf-8", "backslashreplace")).hexdigest()


class Texts(ArrayDataModule):
    """Texts with classes, vectorised by word n-grams.

    Vocabulary and weights come from the training split. All features are divided by one number, chosen so that the
    training inputs have a root mean square of 1: initializers expect inputs of that size, and tf-idf values alone are
    about 1/sqrt(features). One number for all features preserves the row norms, the tf-idf weights and the zeros of
    absent words; a separate number for each feature would inflate the rarest words.

    Args:
        vectorizer: tfidf (the most frequent n-grams, weighted by inverse document frequency) or hashing (signed counts
            in hash buckets, without a vocabulary). A checkpoint's own vectorizer takes precedence.
        ngrams: Maximum length of an n-gram, in words; 1 uses single words only.
        max_features: Maximum number of features; with hashing, the exact number.
    """

    fixed = (*ArrayDataModule.fixed, "vectorizer", "ngrams", "max_features", "group")
    origin = ""  # name of the data in messages
    group: str | None = None  # column whose equal values stay on the same side of a split

    def __init__(self, *, vectorizer: str = "tfidf", ngrams: int = 1, max_features: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        choose("data.vectorizer", vectorizer, KINDS)
        require(ngrams >= 1, f"data.ngrams must be at least 1 word, got {ngrams}.")
        require(max_features >= 1, f"data.max_features must be at least 1, got {max_features}.")
        self.vectorizer, self.ngrams, self.max_features = vectorizer, ngrams, max_features
        self._whole = False

    def read(self) -> tuple[Corpus, Corpus | None]:
        """Return the training texts, and those of the official test split or None."""
        raise NotImplementedError

    def load(self) -> Source:
        """Texts (N,), without training texts whose group also occurs in the test split.

        A file that the checkpoint was not trained on becomes a test split as a whole.
        """
        train, test = self.read()
        digests = [train.digest(), None if test is None else test.digest()]
        if self._restored is not None:
            require(
                "vectorizer" in self._restored,
                "the model was trained on numeric data, but this data set contains texts.",
            )
            known = self._restored["sha256"]
            self._whole = digests != known
            if self._whole:
                train, test = (test if test is not None and digests[0] == known[0] else train), None
        if test is not None:
            train = train.without(test.groups)
        parts = [train] if test is None else [train, test]
        texts, groups = ([item for part in parts for item in getattr(part, kind)] for kind in ("texts", "groups"))
        labels = None if train.labels is None else [label for part in parts for label in part.labels or ()]
        names = self._class_names(labels, train, test)
        index = {name: number for number, name in enumerate(names)}
        if labels is not None and not self._lenient and (unseen := sorted(set(labels) - set(index))):
            raise InputError(
                f"{self.origin}: the model was trained on the classes {names}, which do not include {unseen}; remove "
                "the rows of other classes."
            )
        y = np.array([index.get(label, -1) for label in labels or [""] * len(texts)], np.int64)
        return Source(
            np.array(texts, dtype=object),
            y,
            tuple(names),
            n_official_test=0 if test is None else len(test.texts),
            groups=pd.factorize(np.array(groups, dtype=object))[0],
            labelled=labels is not None and bool((y >= 0).any()),
            extra={"sha256": digests, "group": self.group},
        )

    def featurise(self, source: Source) -> Source:
        """Turn the texts into vectors (N, F), with the vocabulary of the training split or of the checkpoint."""
        if self._restored is not None:
            make = Vectorizer(**self._restored["vectorizer"])
        else:
            make = learn(source.x[self.indices["train"]], self.vectorizer, self.ngrams, self.max_features)
        return replace(source, x=make(source.x), extra={**(source.extra or {}), "vectorizer": asdict(make)})

    def statistics(self, x: NDArray) -> dict[str, Any]:
        """Use one scale for all features: the root mean square of the training inputs."""
        scale = float(np.sqrt(np.square(x, dtype=np.float64).mean()))
        if scale == 0:
            raise no_words()
        return {"mean": [0.0], "std": [scale]}

    def _split(self, source: Source) -> dict[str, NDArray[np.int64]]:
        return {"test": np.arange(len(source.x))} if self._whole else super()._split(source)

    def _class_names(self, labels: list[str] | None, train: Corpus, test: Corpus | None) -> list[str]:
        """Return the checkpoint's class names, else those of the data, sorted and checked for size."""
        if self._restored is not None:
            return self._restored["class_names"]
        names = sorted(set(labels or ()))
        found = ", ".join(map(repr, names))
        require(
            len(names) > 1,
            f"{self.origin} has only one class, {found}; classification needs at least two. Check --data.target, or "
            "add rows of other classes.",
        )
        # Texts of one group stay together, so they count as one.
        counts = Counter(label for label, _ in set(zip(train.labels or (), train.groups, strict=True)))
        refuse_rare(self.origin, names, [counts[name] for name in names], "text", own_test=test is not None)
        return names


def column_of(table: pd.DataFrame, name: str, path: str, may_miss: bool = False) -> list[str]:
    """Return the values of a column, none of which may be blank unless `may_miss`.

    Args:
        table: The table.
        name: Name of the column.
        path: File of the table, for messages.
        may_miss: Whether values may be blank.

    Raises:
        InputError: If the column does not exist, or a value is missing.
    """
    if name not in table:
        raise unknown(f"column of {path}", name, table.columns)
    values = table[name].fillna("")
    blank = np.flatnonzero(values.str.strip() == "")
    if len(blank) and not may_miss:
        raise InputError(
            f"{path}: column {name!r} has {len(blank)} empty value{'s' * (len(blank) > 1)}, the first in row "
            f"{blank[0] + 1}; fill in empty values or delete their rows."
        )
    return values.tolist()

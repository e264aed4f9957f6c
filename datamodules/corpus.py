"""Texts and their classes, as vectors of their words."""

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
    """Texts as they are read.

    Attributes:
        texts: The texts.
        labels: The class of each, by name; None where they are not known.
        groups: What the texts of one group have in common; they stay on one side of each split.
    """

    texts: list[str]
    labels: list[str] | None
    groups: list[str]

    def without(self, groups: list[str]) -> "Corpus":
        """Those that are of none of the groups."""
        gone = set(groups)
        rows = [row for row, group in enumerate(self.groups) if group not in gone]
        labels = None if self.labels is None else [self.labels[row] for row in rows]
        return Corpus([self.texts[row] for row in rows], labels, [self.groups[row] for row in rows])

    def digest(self) -> str:
        """A hash of what was read, and not of a file's bytes, so that other line ends are no other file."""
        return hashlib.sha256(repr((self.texts, self.labels)).encode("utf-8", "backslashreplace")).hexdigest()


class Texts(ArrayDataModule):
    """Texts with classes, as vectors of their words.

    Vocabulary and weights come from the training split alone, and so does the one number by which all features are
    divided, so that inputs have a root mean square of 1 over it. It is one, not one a feature: rows keep their common
    length and words their tf-idf weights, where each feature's own deviation would blow up the rarest words most and
    undo both; and zero stays zero, which says that a word is absent. Without it inputs would be of a size of
    1/sqrt(features), and initializers made for 1 would start every net with a signal that is all but gone.

    Args:
        vectorizer: tfidf (term frequency times inverse document frequency, of the most frequent n-grams) or hashing
            (signed counts in buckets, which needs no vocabulary). A checkpoint's own goes before it.
        ngrams: Take sequences of up to so many words; 1 takes words alone.
        max_features: At most so many features, with hashing exactly so many.
    """

    origin = ""  # what messages call the data
    group: str | None = None  # the column whose equal values stay together

    def __init__(self, *, vectorizer: str = "tfidf", ngrams: int = 1, max_features: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        choose("data.vectorizer", vectorizer, KINDS)
        require(ngrams >= 1, f"data.ngrams must be at least 1 word, got {ngrams}.")
        require(max_features >= 1, f"data.max_features must be at least 1, got {max_features}.")
        self.vectorizer, self.ngrams, self.max_features = vectorizer, ngrams, max_features
        self._whole = False

    def read(self) -> tuple[Corpus, Corpus | None]:
        """The texts to train on, and those of the official test split if there is one."""
        raise NotImplementedError

    def load(self) -> Source:
        """Texts (N,), without those of training whose group is in the test split, too.

        Files other than those that a checkpoint was trained on are tested and predicted whole.
        """
        train, test = self.read()
        digests = [train.digest(), None if test is None else test.digest()]
        if self._restored is not None:
            require("vectorizer" in self._restored, "the model was trained on numbers, and these data are texts.")
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
        if labels is not None and (unseen := sorted(set(labels) - set(index))):
            raise InputError(f"{self.origin}: the model was trained on the classes {names}; it does not know {unseen}.")
        y = np.full(len(texts), -1) if labels is None else np.array([index[label] for label in labels], np.int64)
        return Source(
            np.array(texts, dtype=object),
            y,
            tuple(names),
            n_official_test=0 if test is None else len(test.texts),
            groups=pd.factorize(np.array(groups, dtype=object))[0],
            labelled=labels is not None,
            extra={"sha256": digests, "group": self.group},
        )

    def featurise(self, source: Source) -> Source:
        """Vectors (N, F) in place of the texts, by the vocabulary of the training split, or of the checkpoint."""
        if self._restored is not None:
            make = Vectorizer(**self._restored["vectorizer"])
        else:
            make = learn(source.x[self.indices["train"]], self.vectorizer, self.ngrams, self.max_features)
        return replace(source, x=make(source.x), extra={**(source.extra or {}), "vectorizer": asdict(make)})

    def statistics(self, x: NDArray) -> dict[str, Any]:
        """One scale for all features: the root mean square of the training inputs."""
        scale = float(np.sqrt(np.square(x, dtype=np.float64).mean()))
        if scale == 0:
            raise no_words()
        return {"mean": [0.0], "std": [scale]}

    def _split(self, source: Source) -> dict[str, NDArray[np.int64]]:
        return {"test": np.arange(len(source.x))} if self._whole else super()._split(source)

    def _class_names(self, labels: list[str] | None, train: Corpus, test: Corpus | None) -> list[str]:
        """The checkpoint's, else those of the data in alphabetical order, each with enough to train on."""
        if self._restored is not None:
            return self._restored["class_names"]
        names = sorted(set(labels or ()))
        require(len(names) > 1, f"{self.origin} has one class only, {', '.join(map(repr, names))}.")
        # Those of one group stand together, so they count as one.
        counts = Counter(label for label, _ in set(zip(train.labels or (), train.groups, strict=True)))
        refuse_rare(self.origin, names, [counts[name] for name in names], "text", own_test=test is not None)
        return names


def column_of(table: pd.DataFrame, name: str, path: str) -> list[str]:
    """A column's values, none of them blank.

    Args:
        table: The table.
        name: The column.
        path: Its file, for messages.

    Raises:
        InputError: There is no such column, or a value is missing.
    """
    if name not in table:
        raise unknown(f"column of {path}", name, table.columns)
    values = table[name].fillna("")
    blank = np.flatnonzero(values.str.strip() == "")
    if len(blank):
        raise InputError(
            f"{path}: column {name!r} has {len(blank)} empty values, the first in row {blank[0] + 1}. Fill them in, or "
            "delete those rows."
        )
    return values.tolist()

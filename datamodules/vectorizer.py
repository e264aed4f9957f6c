"""Vectors of word n-grams, computed by scikit-learn."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

KINDS = ("tfidf", "hashing")


@dataclass(frozen=True)
class Vectorizer:
    """A fitted text vectorizer, made of plain values that a checkpoint can store.

    Words are sequences of two or more letters, digits or underscores, in lower case.

    Attributes:
        kind: `tfidf` or `hashing`.
        ngrams: Maximum length of an n-gram, in words.
        max_features: Number of features for `hashing`, maximum number for `tfidf`.
        vocabulary: The n-gram of each feature; empty for `hashing`.
        idf: The weight of each feature; empty for `hashing`.
    """

    kind: str
    ngrams: int
    max_features: int
    vocabulary: list[str] = field(default_factory=list)
    idf: list[float] = field(default_factory=list)

    def __call__(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return vectors (N, F) of norm 1, or 0 for texts that contain none of the n-grams."""
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

        words = (1, self.ngrams)
        if self.kind == "hashing":
            counts = HashingVectorizer(n_features=self.max_features, ngram_range=words)
            return counts.transform(texts).astype(np.float32).toarray()
        tfidf = TfidfVectorizer(ngram_range=words, vocabulary=self.vocabulary)
        tfidf.idf_ = np.array(self.idf)
        return tfidf.transform(texts).astype(np.float32).toarray()


def learn(texts: Iterable[str], kind: str, ngrams: int, max_features: int) -> Vectorizer:
    """Fit a vectorizer: for `tfidf`, the most frequent n-grams with the weights ln((1 + N)/(1 + n)) + 1.

    N is the number of texts, n the number of texts that contain the n-gram (scikit-learn's smoothed inverse document
    frequency).

    Args:
        texts: The training texts.
        kind: `tfidf` or `hashing`.
        ngrams: Maximum length of an n-gram, in words.
        max_features: See `Vectorizer`.

    Raises:
        InputError: If the texts contain no words.
    """
    if kind == "hashing":
        return Vectorizer(kind, ngrams, max_features)
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(ngram_range=(1, ngrams))
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # for a list of strings, there is no other cause
        raise no_words() from None
    # scikit-learn's own `max_features` breaks ties by an unstable sort; here they are broken alphabetically.
    total = np.asarray(counts.sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-total, kind="stable")[:max_features])
    idf = TfidfTransformer().fit(counts[:, kept]).idf_
    return Vectorizer(kind, ngrams, max_features, counter.get_feature_names_out()[kept].tolist(), idf.tolist())


def no_words() -> InputError:
    """Make the error for training texts without words."""
    return InputError(
        "the training texts contain no word of two letters or more, so there is no vocabulary; pass the column of "
        "texts with --data.text COLUMN."
    )

"""Texts become vectors of word n-grams, by scikit-learn."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

KINDS = ("tfidf", "hashing")


@dataclass(frozen=True)
class Vectorizer:
    """Makes a vector of a text, as plain values that a checkpoint can carry.

    Words are runs of two or more letters, digits or underscores, in lower case.

    Attributes:
        kind: `tfidf` or `hashing`.
        ngrams: The most words of an n-gram.
        max_features: Of `hashing` the number of features, of `tfidf` the most that there may be.
        vocabulary: The n-gram of each feature; empty for `hashing`, which needs none.
        idf: The weight of each feature, likewise.
    """

    kind: str
    ngrams: int
    max_features: int
    vocabulary: list[str] = field(default_factory=list)
    idf: list[float] = field(default_factory=list)

    def __call__(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Vectors (N, F) of length 1, or 0 where a text has none of the n-grams."""
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

        words = (1, self.ngrams)
        if self.kind == "hashing":
            counts = HashingVectorizer(n_features=self.max_features, ngram_range=words)
            return counts.transform(texts).astype(np.float32).toarray()
        tfidf = TfidfVectorizer(ngram_range=words, vocabulary=self.vocabulary)
        tfidf.idf_ = np.array(self.idf)
        return tfidf.transform(texts).astype(np.float32).toarray()


def learn(texts: Iterable[str], kind: str, ngrams: int, max_features: int) -> Vectorizer:
    """The vectorizer of a training split: for `tfidf` its most frequent n-grams, with ln((1 + N)/(1 + n)) + 1 of each.

    N are the texts, n those with the n-gram (scikit-learn's smoothed inverse document frequency).

    Args:
        texts: The training texts alone.
        kind: `tfidf` or `hashing`.
        ngrams: The most words of an n-gram.
        max_features: See `Vectorizer`.

    Raises:
        InputError: There is no word in them.
    """
    if kind == "hashing":
        return Vectorizer(kind, ngrams, max_features)
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(ngram_range=(1, ngrams))
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # nothing else is wrong with a list of texts
        raise no_words() from None
    # scikit-learn's own `max_features` breaks ties as its sort happens to; here by the alphabet, on every machine.
    total = np.asarray(counts.sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-total, kind="stable")[:max_features])
    idf = TfidfTransformer().fit(counts[:, kept]).idf_
    return Vectorizer(kind, ngrams, max_features, counter.get_feature_names_out()[kept].tolist(), idf.tolist())


def no_words() -> InputError:
    """The refusal of training texts that leave nothing to learn from."""
    return InputError(
        "the training texts hold no word of two letters or more, so there is no vocabulary; say which column holds the "
        "texts with --data.text COLUMN."
    )

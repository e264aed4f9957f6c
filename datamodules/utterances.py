"""Short spoken commands: a real corpus, and a synthetic substitute of the same shape."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .corpus import Corpus, Texts, column_of
from .errors import choose, require
from .tablefile import read_table

_SEED = 7
_N_TRAIN, _N_TEST = 9627, 1076
_N_CLASSES, _N_WORDS, _N_TOPICAL = 18, 3000, 40


class NLUHome(Texts):
    """Spoken commands to a home robot: 9,627 + 1,076 short texts in 18 scenarios or 64 intents (Liu et al. 2019).

    One fold of HWU64, from "Benchmarking Natural Language Understanding Services for building Conversational Agents"
    (IWSDS 2019), CC BY 4.0. Reads `text/nlu_home_hwu/{train,test}.csv` below the data root. Of 9,960 training rows, 333
    are dropped because their `answerid` also occurs in the test file (128 ids, one of which is `null`, for texts of
    unknown origin). The texts are the column `answer_from_anno`. The other two columns are not suitable:
    `answer_annotation` marks slots such as [date : tomorrow], whose names reveal the class; `answer_from_user` still
    contains such marks in 78 rows, placeholders such as `xxx`, and texts that occur in both files.

    Args:
        target: Column to predict: scenario (18 classes) or intent (64 classes, such as alarm_set).
    """

    origin = "nlu_home"
    group = "answerid"

    def __init__(self, *, target: str = "scenario", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = choose("data.target", target, ["scenario", "intent"])

    def read(self) -> tuple[Corpus, Corpus | None]:
        """Both files."""
        folder = self.folder / "text" / "nlu_home_hwu"
        for file in (folder / "train.csv", folder / "test.csv"):
            require(
                file.is_file(),
                f"{file} of the data set 'nlu_home' does not exist. Point ZOO_DATA_DIR or --data.root to a folder that "
                "contains text/nlu_home_hwu/train.csv and test.csv (HWU64, from github.com/xliuhw/"
                "NLU-Evaluation-Data), or use the synthetic substitute --data utterances.",
            )
        return self._read(str(folder / "train.csv")), self._read(str(folder / "test.csv"))

    def _read(self, path: str) -> Corpus:
        table = read_table(path, ";", option="data.root", dtype=str)
        texts, scenarios, intents, ids = (
            column_of(table, column, path) for column in ("answer_from_anno", "scenario", "intent", "answerid")
        )
        # The intent `query` occurs in many scenarios: only the pairs give 64 classes.
        both = [f"{scenario}_{intent}" for scenario, intent in zip(scenarios, intents, strict=True)]
        return Corpus(texts, scenarios if self.target == "scenario" else both, ids)


class Utterances(Texts):
    """Synthetic short texts: about 9,600 + 1,076 in 18 classes of unequal size, a substitute for `nlu_home`.

    Each class has 0.87 times as many texts as the previous one, as in `nlu_home`: the largest has 14 % of the texts,
    the smallest a tenth of that. A text has at least two words, seven on average, drawn by Zipf's law: 30 % of them
    from 40 words that are typical of its class (some are typical of other classes as well), the rest from 3,000 words
    common to all classes. Texts of common words only are not predictable, so no net can be always right.
    """

    origin = "utterances"

    def read(self) -> tuple[Corpus, Corpus | None]:
        """Return the training and test texts, which are always the same."""
        rng = np.random.default_rng(_SEED)
        n = _N_TRAIN + _N_TEST
        shares = 0.87 ** np.arange(_N_CLASSES)
        labels = rng.choice(_N_CLASSES, n, p=shares / shares.sum())
        topical = np.stack([rng.choice(_N_WORDS, _N_TOPICAL, replace=False) for _ in range(_N_CLASSES)])
        lengths = 2 + rng.poisson(5, n)
        class_of = np.repeat(labels, lengths)
        common, own = (_zipf(rng, size, len(class_of)) for size in (_N_WORDS, _N_TOPICAL))
        words = np.where(rng.random(len(class_of)) < 0.3, topical[class_of, own], common)
        texts = [" ".join(f"word{word}" for word in text) for text in np.split(words, np.cumsum(lengths)[:-1])]
        names = [f"topic_{label + 1:02}" for label in labels]
        parts = slice(None, _N_TRAIN), slice(_N_TRAIN, None)
        train, test = (Corpus(texts[part], names[part], texts[part]) for part in parts)
        return train, test


def _zipf(rng: np.random.Generator, size: int, n: int) -> NDArray[np.int64]:
    """Draw n indices below `size`, (n,), with probability proportional to 1 / (index + 1)."""
    weight = 1 / np.arange(1, size + 1)
    return rng.choice(size, n, p=weight / weight.sum())

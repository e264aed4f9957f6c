"""Short spoken commands: a corpus, and a synthetic one in its shape for machines without that."""

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
    (IWSDS 2019), CC BY 4.0; `text/nlu_home_hwu/{train,test}.csv` below the data root. Of 9,960 training rows those 333
    are left out whose `answerid` stands in the test file, too (128 ids; one of them is `null`, of texts of unknown
    origin). Texts are the column `answer_from_anno`, what was said, in plain words: `answer_annotation` marks slots,
    such as [date : tomorrow], whose names give the class away, and `answer_from_user`, as typed, has such marks left in
    78 rows, placeholders such as `xxx`, and texts that stand in both files.

    Args:
        target: scenario (18 classes) or intent (64: an intent within its scenario, such as alarm_set).
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
                f"the corpus nlu_home is not here: there is no {file}. Point ZOO_DATA_DIR or --data.root to a folder "
                "that has text/nlu_home_hwu/train.csv and test.csv (HWU64, from github.com/xliuhw/"
                "NLU-Evaluation-Data), or take the synthetic --data utterances, which stands in for it.",
            )
        return self._read(str(folder / "train.csv")), self._read(str(folder / "test.csv"))

    def _read(self, path: str) -> Corpus:
        table = read_table(path, ";", option="data.root", dtype=str)
        texts, scenarios, intents, ids = (
            column_of(table, column, path) for column in ("answer_from_anno", "scenario", "intent", "answerid")
        )
        # `query` is an intent of many scenarios: only together are they the 64.
        both = [f"{scenario}_{intent}" for scenario, intent in zip(scenarios, intents, strict=True)]
        return Corpus(texts, scenarios if self.target == "scenario" else both, ids)


class Utterances(Texts):
    """Synthetic short texts: about 9,600 + 1,076 of them in 18 classes of unequal size, a stand-in for `nlu_home`.

    A class has .87 of the texts of the one before, as in that corpus, so that the largest has 14 % and the smallest a
    tenth of that. A text has two words or more, seven on average, drawn by Zipf's law: three of ten from 40 that its
    class prefers, some of which other classes prefer, too, and the rest from 3,000 that are the same for all. A text of
    these alone says nothing of its class, so that no net can be always right.
    """

    origin = "utterances"

    def read(self) -> tuple[Corpus, Corpus | None]:
        """Always the same texts."""
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
    """Ranks below `size`, (n,), each with a probability proportional to one over it."""
    weight = 1 / np.arange(1, size + 1)
    return rng.choice(size, n, p=weight / weight.sum())

"""Texts: features from the training split alone, files that are read again, the real corpus and its stand-in."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifier

from datamodules import create_datamodule
from datamodules.text import Text
from datamodules.utterances import NLUHome

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
ROOT = next((r for r in (os.environ.get("ZOO_DATA_DIR"), SHARED) if r and Path(r, "text/nlu_home_hwu").is_dir()), "")
needs_corpus = pytest.mark.skipif(not ROOT, reason="text/nlu_home_hwu is neither in ZOO_DATA_DIR nor ../shared/data")
FRUIT, TOOL = ["apple", "pear"], ["hammer", "saw"]


def table(n=60):
    """Texts that each hold a word of their own, in two classes."""
    rows = np.arange(n)
    texts = [f"bring the {(TOOL if i % 3 else FRUIT)[i % 2]} number{i} please" for i in rows]
    return pd.DataFrame({"id": rows // 2, "said": texts, "kind": np.where(rows % 3, "tool", "fruit")})


def write(folder, frame, name="texts.csv", sep=","):
    file = folder / name
    frame.to_csv(file, index=False, sep=sep)
    return str(file)


def make(path, stage=None, card=None, name="text", **params):
    columns = {"path": str(path), "text": "said", "target": "kind"} if name == "text" else {}
    data = create_datamodule(name, **{**columns, **params})
    if card is not None:
        data.restore(card)
    data.setup(stage)
    return data


@pytest.fixture(scope="module")
def utterances():
    return make("", name="utterances", max_features=300, seed=0)


def test_a_file_becomes_splits_of_dense_vectors(tmp_path):
    data = make(write(tmp_path, table(), sep=";"), sep=";")
    assert data.class_names == ["fruit", "tool"]
    assert {split: len(rows) for split, rows in data.indices.items()} == {"train": 38, "val": 10, "test": 12}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(data.indices.values()))), np.arange(60))
    for split, rows in data.indices.items():
        x, y = data.arrays(split)
        assert x.dtype == torch.float32
        assert x.shape == (len(rows), *data.input_shape)
        assert y.tolist() == [int(row % 3 > 0) for row in rows]


def test_features_are_scikit_learns_tf_idf_of_the_training_texts_with_one_scale(tmp_path):
    data, texts = make(write(tmp_path, table()), ngrams=2), table()["said"].to_numpy()
    expected = TfidfVectorizer(ngram_range=(1, 2)).fit(texts[data.indices["train"]])
    assert data.card()["vectorizer"]["vocabulary"] == expected.get_feature_names_out().tolist()
    np.testing.assert_allclose(data.card()["vectorizer"]["idf"], expected.idf_, rtol=1e-12)
    (scale,), (mean,) = (data.card()["normalisation"][k] for k in ("std", "mean"))
    assert mean == 0
    for split, rows in data.indices.items():
        found = data.arrays(split)[0]
        np.testing.assert_allclose(found * scale, expected.transform(texts[rows]).toarray(), atol=1e-6)
        torch.testing.assert_close((found * scale).norm(dim=1), torch.ones(len(rows)))
    assert data.arrays("train")[0].square().mean().item() == pytest.approx(1, rel=1e-5)


def test_the_most_frequent_words_are_kept_and_ties_go_by_the_alphabet(tmp_path):
    data = make(write(tmp_path, table()), max_features=5)
    texts = table()["said"].to_numpy()[data.indices["train"]]
    counts = Counter(word for text in texts for word in text.split())
    first = sorted(counts, key=lambda word: (-counts[word], word))[:5]
    assert data.card()["vectorizer"]["vocabulary"] == sorted(first)
    assert data.input_shape == (5,)


def test_hashing_has_no_vocabulary_and_exactly_so_many_features(tmp_path):
    data = make(write(tmp_path, table()), vectorizer="hashing", max_features=64)
    assert data.input_shape == (64,)
    assert data.card()["vectorizer"]["vocabulary"] == []
    assert data.arrays("train")[0].square().mean().item() == pytest.approx(1, rel=1e-5)
    again = make(write(tmp_path, table(20), "new.csv"), card=data.card())
    assert again.arrays("test")[0].shape == (20, 64)


@pytest.mark.parametrize("vectorizer", ["tfidf", "hashing"])
@pytest.mark.parametrize("official", [False, True])
def test_texts_of_validation_and_test_leave_no_trace_in_training(tmp_path, vectorizer, official):
    frame, params = table(), {"vectorizer": vectorizer, "seed": 3, "group": "id"}  # so that splits stay as they are
    if official:
        params["test_path"] = write(tmp_path, table(20).assign(id=lambda f: f.id + 1000), "test.csv")
    before = make(write(tmp_path, frame), **params)
    frame.loc[np.isin(frame.index, before.indices["train"], invert=True), "said"] = "quite other words all over"
    if official:
        write(tmp_path, table(20).assign(id=lambda f: f.id + 1000, said="strange language"), "test.csv")
    after = make(write(tmp_path, frame), **params)
    for split, rows in before.indices.items():
        np.testing.assert_array_equal(after.indices[split], rows)
    assert torch.equal(after.arrays("train")[0], before.arrays("train")[0])
    for key in ("vectorizer", "normalisation"):
        assert after.card()[key] == before.card()[key]
    assert not torch.equal(after.arrays("val")[0], before.arrays("val")[0])
    assert not torch.equal(after.arrays("test")[0], before.arrays("test")[0])


def test_a_smaller_train_size_learns_its_own_vocabulary(tmp_path):
    path = write(tmp_path, table())
    small, whole = make(path, train_size=10), make(path)
    own = set(" ".join(table()["said"].to_numpy()[small.indices["train"]]).split())
    assert set(small.card()["vectorizer"]["vocabulary"]) == own
    assert own < set(whole.card()["vectorizer"]["vocabulary"])
    np.testing.assert_array_equal(small.indices["val"], whole.indices["val"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("group", [None, "id"])
def test_equal_texts_or_groups_stay_on_one_side(tmp_path, seed, group):
    frame = table() if group else pd.concat([table()] * 3, ignore_index=True)
    data = make(write(tmp_path, frame), seed=seed, group=group)
    held = [set(frame[group or "said"].to_numpy()[rows]) for rows in data.indices.values()]
    assert sum(map(len, data.indices.values())) == len(frame)
    assert sum(map(len, held)) == len(set.union(*held))


def test_a_test_file_is_the_test_split_and_what_it_shares_is_left_out_of_training(tmp_path):
    frame = table()
    test = frame[frame["id"].isin([4, 7])].assign(said="entirely new sentence")
    paths = {"path": write(tmp_path, frame), "test_path": write(tmp_path, test, "test.csv")}
    grouped = make(group="id", **paths)
    assert {s: len(rows) for s, rows in grouped.indices.items()} == {"train": 44, "val": 12, "test": 4}
    kept = frame[~frame["id"].isin([4, 7])]["kind"].tolist() + test["kind"].tolist()
    for split, rows in grouped.indices.items():
        assert grouped.arrays(split)[1].tolist() == [int(kept[row] == "tool") for row in rows]
    np.testing.assert_array_equal(grouped.indices["test"], np.arange(56, 60))
    assert len(make(**paths).indices["train"]) == 48  # without the column only equal texts count, and none is
    same = make(paths["path"], test_path=write(tmp_path, frame[:8], "same.csv"))
    assert sum(map(len, same.indices.values())) == 60


def test_the_file_of_the_checkpoint_keeps_its_splits_wherever_it_lies(tmp_path):
    trained = make(write(tmp_path, table()), seed=1, group="id")
    again = make(write(tmp_path, table(), "moved.csv"), seed=1, card=trained.card())  # the group is the checkpoint's
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(again.indices[split], trained.indices[split])
        assert torch.equal(again.arrays(split)[0], trained.arrays(split)[0])


def test_another_file_is_tested_whole_by_the_checkpoints_words(tmp_path):
    trained = make(write(tmp_path, table()))
    new = pd.DataFrame({"said": ["Apple, please!", "the SAW", "unheard of"], "kind": ["fruit", "tool", "tool"]})
    data = make(write(tmp_path, new, "new.csv"), card=trained.card())
    assert data.indices.keys() == {"test"}
    vocabulary = trained.card()["vectorizer"]["vocabulary"]
    words = [[vocabulary[i] for i in row.nonzero().flatten()] for row in data.arrays("test")[0]]
    assert words == [["apple", "please"], ["saw", "the"], []]
    assert data.arrays("test")[1].tolist() == [0, 1, 1]
    assert data.card()["normalisation"] == trained.card()["normalisation"]
    assert data.card()["vectorizer"] == trained.card()["vectorizer"]
    data = make(write(tmp_path, new.drop(columns="kind"), "bare.csv"), stage="predict", card=trained.card())
    assert not data.labelled
    assert len(data.arrays("test")[0]) == 3


def test_another_test_file_than_the_checkpoints_is_what_is_tested(tmp_path):
    path = write(tmp_path, table())
    trained = make(path, test_path=write(tmp_path, table(10).assign(said="so it goes"), "test.csv"))
    other = write(tmp_path, table(7).assign(said="saw saw"), "other.csv")
    data = make(path, test_path=other, card=trained.card())
    assert {split: len(rows) for split, rows in data.indices.items()} == {"test": 7}


def test_a_file_counts_by_its_content_not_by_its_place(tmp_path):
    def identity(path, test_path=None):
        return Text.identity({"path": path, "test_path": test_path, "text": "said", "root": "x"})

    here, moved, other = (
        write(tmp_path, table()),
        write(tmp_path, table(), "b.csv"),
        write(tmp_path, table(61), "c.csv"),
    )
    assert identity(here) == identity(moved) != identity(other)
    assert identity(here, here) == identity(moved, moved) != identity(here, other) != identity(here)
    assert "root" not in identity(here)
    assert NLUHome.identity({"name": "nlu_home", "root": "x"}) == {"name": "nlu_home"}


# --- the stand-in and the corpus --------------------------------------------------------------------------------------


def test_utterances_are_the_same_each_time_whatever_the_seed(utterances):
    one, other = utterances.load(), create_datamodule("utterances", seed=5).load()
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.y, other.y)
    assert one.x[0] == other.x[0] != one.x[1]


def test_utterances_have_the_shape_of_the_corpus(utterances):
    sizes = {split: len(rows) for split, rows in utterances.indices.items()}
    assert sizes["test"] == 1076
    assert 9000 < sizes["train"] + sizes["val"] <= 9627
    assert utterances.num_classes == 18
    assert utterances.input_shape == (300,)
    counts = utterances.class_counts()
    assert 5 < counts.max() / counts.min() < 15
    source = utterances.load()
    assert not set(source.x[:-1076]) & set(source.x[-1076:])
    assert 5 < np.mean([len(text.split()) for text in source.x]) < 9


def test_utterances_can_be_learned_and_are_not_trivial(utterances):
    (x, y), (x_test, y_test) = (tuple(map(np.asarray, utterances.arrays(split))) for split in ("train", "test"))
    accuracy = RidgeClassifier().fit(x, y).score(x_test, y_test)
    assert 0.55 < accuracy < 0.9
    assert np.bincount(y_test).max() / len(y_test) < 0.2


@needs_corpus
@pytest.mark.parametrize(("target", "n_classes"), [("scenario", 18), ("intent", 64)])
def test_the_corpus_has_its_official_test_split_and_shares_no_answer_with_it(target, n_classes):
    data = make("", name="nlu_home", root=str(ROOT), target=target, max_features=200)
    assert data.num_classes == n_classes
    assert len(data.indices["test"]) == 1076
    assert len(data.indices["train"]) + len(data.indices["val"]) == 9960 - 333
    folder = Path(ROOT, "text/nlu_home_hwu")
    train, test = (
        pd.read_csv(folder / f"{s}.csv", sep=";", dtype=str, keep_default_na=False) for s in ("train", "test")
    )
    shared = set(train["answerid"]) & set(test["answerid"])
    assert len(shared) == 128
    kept = pd.concat([train[~train["answerid"].isin(shared)], test], ignore_index=True)
    source = data.load()
    assert source.x.tolist() == kept["answer_from_anno"].tolist()
    assert not any("[" in text for text in source.x)
    names = kept["scenario"] if target == "scenario" else kept["scenario"] + "_" + kept["intent"]
    assert [data.class_names[y] for y in source.y] == names.tolist()
    ids = [set(kept["answerid"].to_numpy()[rows]) for rows in data.indices.values()]
    assert sum(map(len, ids)) == len(set.union(*ids))


@needs_corpus
def test_chance_on_the_corpus_is_what_the_study_says(monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(ROOT))
    counts = np.bincount(create_datamodule("nlu_home").load().y[-1076:])
    assert counts.max() / counts.sum() == pytest.approx(0.170, abs=5e-4)

"""Bad texts get a sentence that names the culprit and the remedy."""

import pytest

from datamodules import InputError, create_datamodule

GOOD = "said,kind\n" + "".join(f"word{i} one,{'ab'[i % 2]}\n" for i in range(30))
COLUMNS = {"text": "said", "target": "kind"}


def make(folder, content=GOOD, card=None, **params):
    (folder / "bad.csv").write_text(content)
    data = create_datamodule("text", **{"path": str(folder / "bad.csv"), **COLUMNS, **params})
    if card is not None:
        data.restore(card)
    data.setup()
    return data


FILES = {
    "empty": ("", r"bad\.csv is empty; pass a file"),
    "header only": ("said,kind\n", r"bad\.csv has a header but no rows; add rows"),
    "no texts": (GOOD.replace("said", "says"), r"unknown column of .*bad\.csv 'said'\. Did you mean 'says'\?"),
    "no classes": (GOOD.replace("kind", "kin"), r"unknown column of .*bad\.csv 'kind'\. Did you mean 'kin'\?"),
    "empty texts": (
        GOOD + ",a\n  ,b\n",
        r"column 'said' has 2 empty values, the first in row 31; fill in empty values or delete their rows",
    ),
    "empty class": (
        GOOD + "two,\n",
        r"column 'kind' has 1 empty value, the first in row 31; fill in empty values or delete their rows",
    ),
    "one class": (
        GOOD.replace(",a\n", ",b\n"),
        r"bad\.csv has only one class, 'b'; classification needs at least two\. Check --data\.target",
    ),
    "rare class": (
        GOOD + "two,c\n",
        r"the class 'c' has 1 distinct text, but the training, validation and test splits need one each; add texts of",
    ),
    "the same text thrice": (GOOD + "two,c\n" * 3, r"the class 'c' has 1 distinct text, .* or delete the class\."),
    "no words": ("said,kind\n" + "".join(f"{i % 10} !{'?' * i},{'ab'[i % 2]}\n" for i in range(30)), "no word of two"),
    "ragged": (GOOD + "two,a,b,c\n", r"bad\.csv is not a UTF-8 table with the separator ','"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file(tmp_path, case):
    content, sentence = FILES[case]
    with pytest.raises(InputError, match=sentence):
        make(tmp_path, content)


def test_texts_without_words_leave_hashing_nothing_either(tmp_path):
    with pytest.raises(InputError, match=r"no word of two letters or more, so there is no vocabulary.*--data\.text"):
        make(tmp_path, FILES["no words"][0], vectorizer="hashing")


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"path": ""}, r"needs a file; pass --data\.path FILE"),
        ({"text": ""}, r"needs a column of texts; pass --data\.text COLUMN"),
        ({"target": ""}, r"needs a column of classes; pass --data\.target COLUMN"),
        ({"text": "kind"}, r"data\.text and data\.target are both 'kind'"),
        ({"sep": ""}, r"data\.sep must not be empty"),
        ({"vectorizer": "tfid"}, r"unknown data\.vectorizer 'tfid'\. Did you mean 'tfidf'\?"),
        ({"ngrams": 0}, r"data\.ngrams must be at least 1 word, got 0"),
        ({"max_features": 0}, r"data\.max_features must be at least 1, got 0"),
        ({"group": "id"}, r"unknown column of .*bad\.csv 'id'"),
        ({"path": "none.csv"}, r"cannot read none\.csv: No such file or directory; check --data\.path\."),
        ({"test_path": "none.csv"}, r"cannot read none\.csv: No such file or directory; check --data\.test_path\."),
    ],
)
def test_bad_parameters(tmp_path, params, sentence):
    with pytest.raises(InputError, match=sentence):
        make(tmp_path, **params)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("said\nyes\n", r"unknown column of .*test\.csv 'kind'"),
        ("said,kind\n,a\n", r"test\.csv: column 'said' has 1 empty value"),
        ("said,kind\nnew,c\n", r"the class 'c' has 0 distinct texts, but the training and validation splits need"),
        (
            GOOD,
            r"the class 'a' has 0 distinct texts, but the training and validation splits need",
        ),  # all of training is in it
    ],
)
def test_a_bad_test_file(tmp_path, content, sentence):
    (tmp_path / "test.csv").write_text(content)
    with pytest.raises(InputError, match=sentence):
        make(tmp_path, test_path=str(tmp_path / "test.csv"))


def test_what_does_not_fit_a_checkpoint(tmp_path):
    card = make(tmp_path).card()
    with pytest.raises(InputError, match=r"trained on the classes \['a', 'b'\], which do not include \['c'\]"):
        make(tmp_path, "said,kind\none,c\n", card)
    with pytest.raises(InputError, match="unknown column of"):  # only prediction can do without classes
        make(tmp_path, "said\none\n", card)
    iris = create_datamodule("iris")
    iris.setup()
    with pytest.raises(InputError, match="the model was trained on numeric data, but this data set contains texts"):
        make(tmp_path, card=iris.card())
    iris = create_datamodule("iris")
    iris.restore(card)
    with pytest.raises(InputError, match="the model was trained on inputs of shape"):
        iris.setup()


@pytest.mark.parametrize("there", [[], ["train.csv"]])
def test_a_corpus_that_is_not_here_says_where_it_was_looked_for_and_what_stands_in(tmp_path, monkeypatch, there):
    folder = tmp_path / "text" / "nlu_home_hwu"
    folder.mkdir(parents=True)
    for name in there:
        (folder / name).write_text("answerid\n1\n")
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    missing = "test" if there else "train"
    sentence = (
        rf"{folder}/{missing}\.csv of the data set 'nlu_home' does not exist\. Point ZOO_DATA_DIR or --data\.root"
    )
    sentence += " .*--data utterances"
    with pytest.raises(InputError, match=sentence):
        create_datamodule("nlu_home").setup()


def test_a_corpus_of_other_columns_gets_a_sentence(tmp_path):
    folder = tmp_path / "text" / "nlu_home_hwu"
    folder.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text("answerid;scenario;intent;answer\n1;alarm;set;wake me\n")
    with pytest.raises(InputError, match=r"unknown column of .*train\.csv 'answer_from_anno'"):
        create_datamodule("nlu_home", root=str(tmp_path)).setup()


def test_an_unknown_target_of_the_corpus_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown data\.target 'intents'\. Did you mean 'intent'\?"):
        create_datamodule("nlu_home", target="intents")

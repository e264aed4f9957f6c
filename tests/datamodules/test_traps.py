"""CSV files with the traps of public bug reports: read as written, or refused with a remedy that works."""

import os
import shlex

import numpy as np
import pandas as pd
import pytest

from datamodules import InputError, create_datamodule
from tests.datamodules.csv_data import make
from tests.small_files import write_small_files
from zoo.yaml_lines import parse_value


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_small_files(folder)
    return folder


def table(folder, label, name="t.csv", n=60, **columns):
    rows = np.arange(n)
    frame = pd.DataFrame({"a": rows, "b": 0.5 * rows, "label": np.resize(np.array(label, dtype=object), n), **columns})
    frame.to_csv(folder / name, index=False)
    return folder / name


def test_two_columns_of_one_name_are_refused(small, tmp_path):
    with pytest.raises(InputError, match=r"dup\.csv has 2 columns named 'label'; rename or delete the copies"):
        make(small / "dup.csv")
    (tmp_path / "x.csv").write_text("x0,x0,label\n" + "1,2,a\n3,4,b\n" * 9)
    with pytest.raises(InputError, match="2 columns named 'x0'"):
        make(tmp_path / "x.csv")
    (tmp_path / "text.csv").write_text("text,text,label\n" + "red,x,a\nblue,x,b\n" * 9)
    with pytest.raises(InputError, match="2 columns named 'text'"):
        create_datamodule("text", path=str(tmp_path / "text.csv"), text="text", target="label").setup()


def test_truth_values_keep_their_spelling(small, tmp_path):
    data = make(small / "flag.csv")
    assert data.class_names == ["false", "true", "unknown"]
    new = make(small / "flag_new.csv", card=data.card())
    labels = pd.read_csv(small / "flag_new.csv", dtype=str).label
    assert [data.class_names[y] for y in new.arrays("test")[1]] == labels.tolist()
    assert make(table(tmp_path, ["TRUE", "FALSE"])).class_names == ["FALSE", "TRUE"]


def test_codes_keep_their_zeros(small, tmp_path):
    assert make(small / "code.csv").class_names == ["01234", "02345"]
    assert make(table(tmp_path, ["1.10", "1.9", "2.0", "10"]), task="classification").class_names == [
        "1.10",
        "1.9",
        "2",
        "10",
    ]
    assert make(table(tmp_path, ["+1", "1e3", "5"])).class_names == ["+1", "5", "1e3"]


def test_another_file_may_write_a_number_in_another_way(tmp_path):
    card = make(table(tmp_path, ["1.5", "2"]), task="classification").card()
    other = make(table(tmp_path, ["1.50", "2.00"], "other.csv", n=10), card=card, task="classification")
    assert other.arrays("test")[1][:4].tolist() == [0, 1, 0, 1]
    with pytest.raises(InputError, match=r"which do not include \['3'\]"):
        make(table(tmp_path, ["1.5", "3"], "three.csv"), card=card, task="classification")


@pytest.mark.parametrize("sep", [r"\t", "\t"])
def test_a_tab_may_be_written_as_an_escape_and_quotes_are_quotes(small, sep):
    data = make(small / "q.tsv", sep=sep)
    assert data.class_names == ["no", "yes"]
    assert data.card()["features"] == ["a", "b"]


def test_white_space_separates_columns(tmp_path):
    (tmp_path / "space.csv").write_text("a   b label\n" + "".join(f'{i}  1.5   "{"xy"[i % 2]}"\n' for i in range(40)))
    assert make(tmp_path / "space.csv", sep=r"\s+").class_names == ["x", "y"]


@pytest.mark.parametrize("sep", ["||", ", ", "[", ".*", '"', "\n", "\\"][:-1])
def test_a_separator_that_is_no_single_character_is_refused(sep, tmp_path):
    if sep == "[":  # one character, not the start of a regular expression
        (tmp_path / "x.csv").write_text("a[label\n" + "".join(f"{i}[{'xy'[i % 2]}\n" for i in range(40)))
        assert make(tmp_path / "x.csv", sep=sep).class_names == ["x", "y"]
        return
    for name, columns in (("csv", {}), ("text", {"text": "a"})):
        with pytest.raises(InputError, match=r"data\.sep must be one character.*'\\t' for a tab.*got"):
            create_datamodule(name, path="x", target="label", sep=sep, **columns)


NAMES = ["on", "1", "yes", "null", "1e3", "price, USD", "a: b", "it's", "#id", "*a", '"q"', "true", "&x", "[x]", "{x}"]
NAMES += ["- x", "!x", "%x", "@x", "`x`", "010", "1:30", "~", " x ", "$HOME", "a\\b", "größe", "🙂", "|", ">", "?"]


@pytest.mark.parametrize("name", NAMES)
def test_the_hint_that_drops_a_column_works(tmp_path, name):
    file = table(tmp_path, ["x", "y"], **{name: "text"})
    with pytest.raises(InputError) as refused:
        make(file)
    words = shlex.split(str(refused.value)[str(refused.value).index("--data.drop") :].removesuffix("."))
    assert parse_value(words[1], "data.drop") == [name]
    assert make(file, drop=parse_value(words[1], "data.drop")).card()["features"] == ["a", "b"]


def test_hints_of_a_prediction_name_nothing_that_a_checkpoint_fixes(small):
    card = make(small / "base.csv").card()
    (small / "hole.csv").write_text("a,b,label\n1,,yes\n")
    (small / "word.csv").write_text("a,b,label\n1,red,yes\n")
    for name, hint in (("hole", "fill in missing values or delete their rows"), ("word", "or delete those rows")):
        with pytest.raises(InputError, match=hint) as refused:
            make(small / f"{name}.csv", card=card, stage="predict")
        assert "--data" not in str(refused.value)


@pytest.mark.parametrize("labels", [[""], ["perhaps"], ["yes", "", "perhaps"]])
def test_prediction_ignores_labels_that_it_cannot_use(small, tmp_path, labels):
    card = make(small / "base.csv").card()
    data = make(table(tmp_path, labels, n=9), card=card, stage="predict")
    assert data.labelled == ("yes" in labels)
    assert (data.targets["test"] == 1).sum() == 3 * ("yes" in labels)
    assert (data.targets["test"] == -1).sum() == 9 - 3 * ("yes" in labels)
    with pytest.raises(InputError, match=r"missing value|do not include \['perhaps'\]"):
        make(tmp_path / "t.csv", card=card, stage="test")


def test_prediction_of_an_empty_target(small):
    data = make(small / "empty_target.csv", card=make(small / "base.csv").card(), stage="predict")
    assert not data.labelled
    assert len(data.arrays("test")[0]) == 9


def test_prediction_of_a_regression_ignores_text_in_the_target(small, tmp_path):
    card = make(small / "stamp.csv", target="when").card()
    file = table(tmp_path, ["1.7e9", "", "later", "inf"], n=8)
    data = make(file, card=card, stage="predict")
    assert data.labelled
    np.testing.assert_array_equal(data.targets["test"], [1.7e9, *[np.nan] * 3] * 2)


def test_texts_need_no_labels_either(tmp_path):
    rows = pd.DataFrame({"words": ["red wine", "white bread", "red cherry", "black bread"] * 9})
    rows = rows.assign(
        words=rows.words + " number" + rows.index.map(lambda i: chr(97 + i % 26) * 2), kind=["x", "y"] * 18
    )
    rows.to_csv(tmp_path / "train.csv", index=False)
    trained = create_datamodule("text", path=str(tmp_path / "train.csv"), text="words", target="kind")
    card = trained.card()
    rows[:3].assign(kind=["x", "", "z"]).to_csv(tmp_path / "new.csv", index=False)
    for stage in ("predict", "test"):
        data = create_datamodule("text", path=str(tmp_path / "new.csv"), text="words", target="kind")
        data.restore(card)
        if stage == "test":
            with pytest.raises(InputError, match="empty value"):
                data.setup(stage)
            return
        data.setup(stage)
        assert data.targets["test"].tolist() == [0, -1, -1]


@pytest.mark.parametrize("stage", ["fit", "predict"])
def test_a_number_that_is_too_large_is_named_with_its_column(small, tmp_path, stage):
    if stage == "fit":
        with pytest.raises(InputError, match=r"column 'b' contains a number of size 1e\+300.*--data\.drop"):
            make(table(tmp_path, ["x", "y"], b=[1e300] + [1.0] * 59))
        with pytest.raises(InputError, match=r"column 'label' contains a number of size 1e\+300"):
            make(table(tmp_path, [1e300, 0.5, 1.5]))
        return
    card = make(small / "base.csv").card()
    with pytest.raises(InputError, match=r"row 2, column 'a': 1e\+39 is not finite, or too far from the training data"):
        make(table(tmp_path, ["yes"], n=3, a=[1, 1e39, 1]), card=card, stage=stage)


def test_infinity_is_no_class(tmp_path):
    with pytest.raises(InputError, match=r"column 'label' must contain finite numbers, but row 1 contains 'inf'"):
        make(table(tmp_path, ["inf", "1"]))
    assert make(table(tmp_path, ["inf", "1"]), task="classification").class_names == ["1", "inf"]
    assert make(table(tmp_path, ["inf", "none"])).class_names == ["inf", "none"]


def test_a_constant_regression_target_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"the target of this regression is 2\.5 in every row"):
        make(table(tmp_path, [2.5]))
    with pytest.raises(InputError, match=r"the target of this regression is 3 in every row"):
        make(table(tmp_path, [3]), task="regression")


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/urandom", "/dev/zero", "/dev/null"):
        for kind in (make, lambda p: create_datamodule("text", path=str(p), text="a", target="b").setup()):
            with pytest.raises(InputError, match=r"cannot read .*: it is not a regular file; check --data\.path\."):
                kind(path)
    with pytest.raises(InputError, match=r"cannot read x+: File name too long; check --data\.path\."):
        make("x" * 300)
    for name in ("a\0b", "\ud800"):
        with pytest.raises(InputError, match=r"no file can have this name; check --data\.path\."):
            make(name)


@pytest.mark.parametrize(
    "content",
    [
        "@relation r\n@attribute bag relational\n@attribute x real\n@end bag\n@attribute c {a}\n@data\n'1\\n2',a\n",
        "@relation r\n@attribute 'my bag' RELATIONAL\n@attribute x numeric\n@end bag\n@data\n1,2\n",
        "@relation r\n@attribute x\n@data\n1\n",
        "@relation r\n@attribute\n@data\n1\n",
        "@relation\n@data\n",
        "@relation r\n@attribute x {a,b\n@data\na\n",
        "@relation r\n@attribute x date\n@data\n2001\n",
        "@relation r\n@attribute d date 'QQ'\n@attribute x numeric\n@data\n2001,1\n",
        "@data\n1,2\n",
        "\0\0",
        "@relation r\n@attribute x numeric\n@data\n{0 1}\n",
        "@relation r\n@attribute x numeric\n@attribute label {a,b}\n@data\n1,c\n",
    ],
)
def test_an_arff_file_that_cannot_be_read_gets_a_sentence(tmp_path, content):
    (tmp_path / "x.arff").write_text(content)
    with pytest.raises(InputError, match=r"x\.arff"):
        make(tmp_path / "x.arff")

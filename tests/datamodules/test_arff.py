"""ARFF files through the data set `csv`."""

import numpy as np
import pandas as pd
import pytest

from datamodules import InputError, create_datamodule

# As Weka writes them: comments, quoted names, upper case, blank lines, other words for numeric.
HEADER = """\
% 1. Title: a relation
%
@RELATION 'a relation-weka.filters.unsupervised.instance.SubsetByExpression-Enot ismissing(ATT20)'

@attribute 'first ratio' REAL
@ATTRIBUTE b integer
@attribute flag {0,1}
@attribute kind {low,'high'}

@DATA
"""


def rows(n=60):
    return [f"{i / 4},{i % 9},{i % 2},{'high' if i % 3 else 'low'}" for i in range(n)]


def make(folder, text, target="kind", name="table.arff", **params):
    (folder / name).write_text(text)
    data = create_datamodule("csv", path=str(folder / name), target=target, **params)
    data.setup()
    return data


def test_a_real_header_is_read(tmp_path):
    data = make(tmp_path, HEADER + "\n".join(rows()) + "\n\n% the end\n", name="TABLE.ARFF")
    assert data.class_names == ["high", "low"]
    assert data.card()["features"] == ["first ratio", "b", "flag"]
    mean, std = (np.array(data.card()["normalisation"][k]) for k in ("mean", "std"))
    expected = np.array([[i / 4, i % 9, i % 2] for i in range(60)])
    for split, own in data.indices.items():
        x, y = data.arrays(split)
        np.testing.assert_allclose(x.numpy() * std + mean, expected[own], rtol=1e-4, atol=1e-4)
        assert y.tolist() == [int(i % 3 == 0) for i in own]


def test_an_arff_file_is_as_the_same_table_in_csv(tmp_path):
    arff = make(tmp_path, HEADER + "\n".join(rows()))
    csv = make(tmp_path, "first ratio,b,flag,kind\n" + "\n".join(rows()), name="table.csv")
    assert arff.card() == csv.card()
    assert all((arff.arrays(split)[0] == csv.arrays(split)[0]).all() for split in arff.indices)


def test_nominal_targets_are_classes_though_they_look_like_numbers(tmp_path):
    text = "@relation r\n@attribute a numeric\n@attribute y {0.5,1.5}\n@data\n"
    text += "\n".join(f"{i},{0.5 + i % 2}" for i in range(40))
    assert make(tmp_path, text, "y").class_names == ["0.5", "1.5"]
    assert make(tmp_path, text, "y", task="regression").class_names is None


def test_question_marks_are_missing(tmp_path):
    lines = rows()
    lines[4] = "?,?,?,low"
    with pytest.raises(InputError, match=r"column 'first ratio' has 1 missing value, the first in row 5"):
        make(tmp_path, HEADER + "\n".join(lines))
    data = make(tmp_path, HEADER + "\n".join(lines), missing="median")
    train = [i for i in data.indices["train"] if i != 4]
    assert data.card()["missing"] == [np.median([i / 4 for i in train]), *np.median([[i % 9, i % 2] for i in train], 0)]
    lines[4] = "1,2,0,?"
    with pytest.raises(
        InputError, match=r"column 'kind' has 1 missing value.*fill in missing values or delete their rows"
    ):
        make(tmp_path, HEADER + "\n".join(lines), missing="median")


SMALL = "@relation r\n@attribute a numeric\n@attribute y {no,yes}\n"
BAD = {
    "string": (SMALL.replace("a numeric", "note string"), "the attribute note contains text.*delete it from the file"),
    "nominal": (SMALL.replace("a numeric", "a {red,blue}") + "@data\nred,no\nblue,yes\n", "but row 1 contains 'red'"),
    "date": (
        SMALL.replace("a numeric", "a date yyyy-MM-dd") + "@data\n2020-01-31,no\n2020-02-01,yes\n",
        "column 'a' must contain finite numbers, but row 1 contains '2020-01-31'",
    ),
    "no data": (SMALL, "it has no @data line"),
    "no rows": (SMALL + "@data\n", "has a header but no rows"),
    "short": (SMALL + "@data\n1,no\n2\n", "a row has fewer fields than there are attributes"),
    "long": (SMALL + "@data\n1,no\n% a, b, c\n2,yes,3\n", r"row 2 has more fields than there are attributes \(2\)"),
    "undeclared": (SMALL + "@data\n1,no\n2,maybe\n", "is not a supported ARFF file: maybe value not in"),
    "sparse": (SMALL + "@data\n{0 1, 1 no}\n", "is not a supported ARFF file"),
    "twice": (SMALL.replace("@attribute y", "@attribute a") + "@data\n1,no\n", "is not a supported ARFF file"),
    "csv": ("a,y\n1,no\n2,yes\n", "it has no @data line"),
    "empty": ("", "is empty"),
    "one class": (SMALL + "@data\n1,no\n2,no\n", "the target 'y' has only one class, 'no'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_a_sentence(tmp_path, case):
    text, sentence = BAD[case]
    with pytest.raises(InputError, match=f"table.arff.*{sentence}"):
        make(tmp_path, text, "y")


def test_a_file_not_in_utf8_gets_a_sentence(tmp_path):
    (tmp_path / "latin.arff").write_bytes((SMALL + "@data\n1,n\xf6\n").encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.arff is not encoded in UTF-8"):
        create_datamodule("csv", path=str(tmp_path / "latin.arff"), target="y").setup()


def test_a_checkpoint_reads_arff_as_csv(tmp_path):
    card = make(tmp_path, HEADER + "\n".join(rows())).card()
    frame = pd.DataFrame({"first ratio": [1.0, 2.0], "b": [3, 4], "flag": [0, 1], "kind": ["low", "high"]})
    frame.to_csv(tmp_path / "other.csv", index=False)
    data = create_datamodule("csv", path=str(tmp_path / "other.csv"), target="kind")
    data.restore(card)
    data.setup()
    assert data.arrays("test")[1].tolist() == [1, 0]

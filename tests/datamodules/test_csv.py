import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer

from datamodules import InputError, create_datamodule
from datamodules.csv import CSV
from tests.datamodules.csv_data import make

N = 60


def table(n=N):
    """Two features that tell their row, and a text label."""
    i = np.arange(n)
    return pd.DataFrame({"a": i, "b": 0.5 * i - 3, "label": np.where(i % 3, "yes", "no")})


def write(folder, frame, name="table.csv", **options):
    file = folder / name
    frame.to_csv(file, index=False, **options)
    return str(file)


def rows_of(data, split):
    """Which rows of `table()` a split holds, from its first feature."""
    scale = data.card()["normalisation"]
    return (data.arrays(split)[0][:, 0].double() * scale["std"][0] + scale["mean"][0]).round().int().tolist()


def test_text_labels_become_classes_in_sorted_order(tmp_path):
    data = make(write(tmp_path, table()))
    assert data.class_names == ["no", "yes"]
    assert data.input_shape == (2,)
    assert sorted(row for split in data.indices for row in rows_of(data, split)) == list(range(N))
    for split in data.indices:
        assert data.arrays(split)[1].tolist() == [int(row % 3 > 0) for row in rows_of(data, split)]


@pytest.mark.parametrize("label", [[0, 1], [0.0, 1.0]], ids=["whole", "float"])
def test_whole_numbers_become_classes_whichever_way_they_are_written(tmp_path, label):
    frame = table().assign(label=np.resize(label, N))
    assert make(write(tmp_path, frame)).class_names == ["0", "1"]


def test_truth_values_are_classes_and_features(tmp_path):
    frame = table().assign(a=np.arange(N) % 2 == 0, label=np.arange(N) % 3 == 0)
    assert make(write(tmp_path, frame)).class_names == ["False", "True"]


def test_a_file_without_header_has_numbers_for_names(tmp_path):
    path = write(tmp_path, table(), header=False)
    data = make(path, target="2", header=False)
    assert data.class_names == ["no", "yes"]
    assert data.card()["features"] == ["0", "1"]
    assert sum(len(rows) for rows in data.indices.values()) == N


def test_another_separator_a_byte_order_mark_and_dropped_columns(tmp_path):
    path = write(tmp_path, table().assign(note="text"), sep=";", encoding="utf-8-sig")
    assert make(path, sep=";", drop=["note"]).card()["features"] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "task", "regression"),
    [
        (np.arange(N) / 7, "auto", True),
        (np.arange(N), "auto", True),
        (np.arange(N) % 20, "auto", False),
        (np.arange(N) % 20, "regression", True),
        (np.arange(N) % 21, "auto", True),
        (np.arange(N) % 20 / 2, "classification", False),
    ],
)
def test_regression_or_classes_comes_from_the_target_or_from_task(tmp_path, values, task, regression):
    data = make(write(tmp_path, table().assign(label=values)), task=task)
    assert (data.class_names is None) == regression
    if regression:
        scale = data.card()["target"]
        for split, rows in data.indices.items():
            found = data.arrays(split)[1] * scale["std"] + scale["mean"]
            np.testing.assert_allclose(found, values[rows], rtol=1e-4, atol=1e-4)


TEXT = {
    "empty": ("", r"bad\.csv is empty; pass a file"),
    "blank": (" \n\n", r"bad\.csv is empty; pass a file"),
    "header only": ("a,b,label\n", r"bad\.csv has a header but no rows; add rows"),
    "no target": (
        "a,b,labels\n1,2,x\n",
        r"unknown column of .*bad\.csv 'label'\. Did you mean 'labels'\?.*a, b, labels",
    ),
    "no feature": (
        "label\nx\ny\n",
        r"has no feature columns besides the target 'label'; check --data\.sep and --data\.drop",
    ),
    "text": (
        "a,b,label\n1,2,x\n2,red,y\n",
        r"column 'b' must contain finite numbers, but row 2 contains 'red'.*--data\.drop",
    ),
    "missing": (
        "a,b,label\n1,2,x\n2,,y\n",
        r"column 'b' has 1 missing value, the first in row 2; fill in missing values with --data\.missing",
    ),
    "missing label": (
        "a,b,label\n1,2,x\n2,3,\n",
        r"column 'label' has 1 missing value.*fill in missing values or delete their rows",
    ),
    "400 digits": (f"a,b,label\n1,2,x\n2,{'9' * 400},y\n", r"column 'b' must contain finite numbers, but row 2 con"),
    "400 digits in the target": (
        "a,label\n" + f"1,{'9' * 400}\n2,{'8' * 400}\n" * 30,
        r"column 'label' must contain finite numbers, but row 1 contains '9+'",
    ),
    "infinite": ("a,b,label\n1,2,x\n2,inf,y\n", r"column 'b' must contain finite numbers, but row 2 contains 'inf'"),
    "one class": (
        "a,b,label\n1,2,x\n2,3,x\n",
        r"the target 'label' has only one class, 'x'; classification needs at least two\. Check --data\.target",
    ),
    "ragged": ("a,b,label\n1,2,x\n1,2,3,4,x\n", r"is not a UTF-8 table with the separator ','"),
    "surplus": ("a,b,label\n1,2,x,0\n2,3,y,0\n", r"a row has more fields than the header has names"),
    "too few": (
        "a,b,label\n1,2,x\n2,3,y\n",
        r"the class 'x' has 1 distinct row, but the training, validation and test splits need one each",
    ),
    "all alike": (
        "a,b,label\n" + "1,2,x\n1,2,y\n" * 20,
        r"the class 'x' has 1 distinct row, .*delete the class\.",
    ),
    "class of two": ("a,label\n" + "".join(f"{i},x\n" for i in range(9)) + "9,y\n10,y\n", r"'y' has 2 distinct rows,"),
}


@pytest.mark.parametrize("case", TEXT)
def test_a_bad_file_gets_a_sentence(tmp_path, case):
    content, sentence = TEXT[case]
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(InputError, match=sentence):
        make(tmp_path / "bad.csv")


def test_a_file_that_is_not_there_or_a_folder_gets_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.csv: No such file or directory; check --data\.path\."):
        make(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        make(tmp_path)


def test_a_file_that_is_not_utf8_gets_a_sentence(tmp_path):
    (tmp_path / "latin.csv").write_bytes("a,label\n1,süß\n2,bitter\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv is not a UTF-8 table"):
        make(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"target": "label"}, "needs a file; pass --data.path"),
        ({"path": "x.csv"}, "needs a column to predict; pass --data.target"),
        ({"path": "x.csv", "target": "y", "task": "regresion"}, "Did you mean 'regression'"),
        ({"path": "x.csv", "target": "y", "sep": ""}, "data.sep must not be empty"),
    ],
)
def test_bad_parameters_get_a_sentence(params, sentence):
    with pytest.raises(InputError, match=sentence):
        create_datamodule("csv", **params)


@pytest.mark.parametrize("seed", range(3))
def test_equal_rows_stay_on_one_side_of_each_split(tmp_path, seed):
    frame = pd.concat([table()] * 4, ignore_index=True).sample(frac=1, random_state=0)
    data = make(write(tmp_path, frame), seed=seed)
    held = {split: set(rows_of(data, split)) for split in data.indices}
    assert sum(len(data.arrays(split)[0]) for split in held) == 4 * N
    assert not held["train"] & held["val"]
    assert not held["train"] & held["test"]
    assert not held["val"] & held["test"]
    assert all(held.values())


def test_the_file_of_the_checkpoint_keeps_its_splits_wherever_it_lies(tmp_path):
    trained = make(write(tmp_path, table()), seed=1)
    again = make(write(tmp_path, table(), "moved.csv"), seed=1, card=trained.card())
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(again.indices[split], trained.indices[split])


def test_another_file_than_the_checkpoints_is_tested_whole_under_its_normalisation(tmp_path):
    card = make(write(tmp_path, table())).card()
    other = table(25).assign(a=lambda frame: frame.a + 1000)[["label", "b", "a"]]  # and in another order
    data = make(write(tmp_path, other, "other.csv"), card=card)
    assert data.indices.keys() == {"test"}
    assert rows_of(data, "test") == list(range(1000, 1025))
    assert data.card()["normalisation"] == card["normalisation"]
    with pytest.raises(InputError, match="this data has no val split, only a test split"):
        data.val_dataloader()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": "perhaps"}, r"which do not include \['perhaps'\]"),
        (  # a column of the checkpoint cannot be dropped
            {"a": "red"},
            "column 'a' must contain finite numbers, but row 1 contains 'red'; encode its values as numbers, or delete "
            r"those rows\.",
        ),
        ({"a": np.nan}, r"the first in row 1; fill in missing values or delete their rows\."),
    ],
)
def test_another_file_that_does_not_fit_the_checkpoint_is_refused(tmp_path, change, sentence):
    card = make(write(tmp_path, table())).card()
    with pytest.raises(InputError, match=sentence):
        make(write(tmp_path, table().assign(**change), "other.csv"), card=card)
    with pytest.raises(InputError, match=r"unknown column of .* 'b'"):
        make(write(tmp_path, table().drop(columns="b"), "narrow.csv"), card=card)


@pytest.mark.parametrize("label", ["text", "number"])
def test_prediction_needs_no_labels_and_testing_does(tmp_path, label):
    frame = table() if label == "text" else table().assign(label=np.arange(N) / 7)
    card = make(write(tmp_path, frame)).card()
    unlabelled = write(tmp_path, frame.drop(columns="label"), "unlabelled.csv")
    data = make(unlabelled, stage="predict", card=card)
    assert not data.labelled
    assert data.class_names == (["no", "yes"] if label == "text" else None)
    assert rows_of(data, "test") == list(range(N))
    assert sum(len(x) for x, _ in data.predict_dataloader()) == N
    with pytest.raises(InputError, match="unknown column"):
        make(unlabelled, stage="test", card=card)


def test_a_file_counts_by_its_content_not_by_its_place(tmp_path):
    here, there = write(tmp_path, table()), write(tmp_path, table(), "moved.csv")
    other = write(tmp_path, table(61), "other.csv")
    one, moved, changed = (
        CSV.identity({"path": path, "target": "label", "root": "x"}) for path in (here, there, other)
    )
    assert one == moved != changed
    assert "root" not in one


def test_large_features_keep_their_differences(tmp_path):
    # Seconds since 1970: float32 steps by 128 there, so that 30 seconds vanish unless the mean goes first.
    small = np.random.default_rng(0).normal(size=200) * 30
    frame = pd.DataFrame({"t": 1.7e9 + small, "label": np.where(small > 0, "late", "early")})
    data = make(write(tmp_path, frame))
    x, y = data.arrays("train")
    assert ((x[:, 0] > x[y == 0].max()) == (y == 1)).all()


def test_a_constant_that_floats_cannot_hold_counts_as_constant(tmp_path):
    frame = pd.DataFrame({"c": [0.1] * 500, "a": range(500), "label": ["x", "y"] * 250})
    assert make(write(tmp_path, frame)).card()["normalisation"]["std"][0] == 1.0


def test_other_line_ends_are_no_other_file(tmp_path):
    path = write(tmp_path, table())
    data = make(path)
    crlf = tmp_path / "crlf.csv"
    crlf.write_bytes(b"\r\n".join((tmp_path / "table.csv").read_bytes().splitlines()) + b"\r\n")
    assert len(make(str(crlf), card=data.card()).indices["test"]) == len(data.indices["test"])


def test_a_long_column_is_typed_as_a_whole(tmp_path):
    # pandas alone would read the first chunk as numbers and the last as text.
    labels = ["1", "2"] * 200_000 + ["x"] * 1000
    frame = pd.DataFrame({"a": np.arange(len(labels)), "label": labels})
    assert make(write(tmp_path, frame)).class_names == ["1", "2", "x"]


# --- missing values ---------------------------------------------------------------------------------------------------


def holes(n=N):
    """`table()` whose column b is missing in each fifth row."""
    frame = table(n)
    frame.loc[frame.index % 5 == 2, "b"] = np.nan
    return frame


@pytest.mark.parametrize("missing", ["mean", "median"])
def test_missing_values_are_filled_in_by_the_training_split_alone(tmp_path, missing):
    frame = holes().assign(b=lambda f: f.b**3)  # mean and median differ, as do those of the splits
    data = make(write(tmp_path, frame), missing=missing)
    train = frame.b.to_numpy()[data.indices["train"]]
    value = SimpleImputer(strategy=missing).fit(train[:, None]).statistics_[0]
    assert data.card()["missing"][1] == pytest.approx(value)
    assert value != pytest.approx(getattr(frame.b, missing)(), rel=1e-3)
    filled = frame.b.fillna(value).to_numpy()
    mean, std = (data.card()["normalisation"][k][1] for k in ("mean", "std"))
    assert (mean, std) == pytest.approx((filled[data.indices["train"]].mean(), filled[data.indices["train"]].std()))
    for split, rows in data.indices.items():
        found = data.arrays(split)[0][:, 1] * std + mean
        np.testing.assert_allclose(found, filled[rows], rtol=1e-4, atol=1e-2)


def test_what_other_splits_hold_changes_nothing_that_is_filled_in(tmp_path):
    frame = holes()
    data = make(write(tmp_path, frame), missing="mean")
    frame.loc[[*data.indices["val"], *data.indices["test"]], "b"] *= 1000
    other = make(write(tmp_path, frame, "other.csv"), missing="mean")
    np.testing.assert_array_equal(other.indices["train"], data.indices["train"])
    assert other.card()["missing"] == data.card()["missing"]
    assert other.card()["normalisation"] == data.card()["normalisation"]


def test_nothing_missing_is_as_without_the_option(tmp_path):
    plain, filling = (make(write(tmp_path, table()), missing=missing) for missing in (None, "median"))
    assert filling.card()["normalisation"] == plain.card()["normalisation"]
    assert "missing" not in plain.card()
    assert all((plain.arrays(split)[0] == filling.arrays(split)[0]).all() for split in plain.indices)


def test_equal_rows_that_miss_a_value_stay_on_one_side(tmp_path):
    frame = pd.concat([table().assign(b=np.nan), table()] * 3, ignore_index=True)
    data = make(write(tmp_path, frame.assign(c=frame.index % 120 < 60)), missing="mean")
    sides = {split: {int(row) % 120 for row in rows} for split, rows in data.indices.items()}
    assert sum(map(len, sides.values())) == 120
    assert not sides["train"] & sides["val"]
    assert not sides["test"] & (sides["train"] | sides["val"])


def test_another_file_is_filled_in_as_the_checkpoint_says(tmp_path):
    card = make(write(tmp_path, holes()), missing="mean").card()
    other = table(5).assign(b=[np.nan, 1.0, np.nan, 2.0, 3.0], a=[0, 1, 2, 3, np.nan])
    data = make(write(tmp_path, other, "other.csv"), missing="mean", card=card)
    scale = card["normalisation"]
    found = data.arrays("test")[0].numpy() * np.array(scale["std"]) + np.array(scale["mean"])
    a, b = card["missing"]
    np.testing.assert_allclose(found, [[0, b], [1, 1], [2, b], [3, 2], [a, 3]], rtol=1e-4, atol=1e-4)
    assert data.card()["missing"] == card["missing"]
    full = make(write(tmp_path, table(), "full.csv")).card()
    with pytest.raises(InputError, match=r"the model was trained without data\.missing"):
        make(write(tmp_path, other, "other.csv"), missing="mean", card=full)


@pytest.mark.parametrize(
    ("frame", "params", "sentence"),
    [
        (holes(), {}, r"column 'b' has 12 missing values, the first in row 3;.*--data\.missing median.*--data\.drop"),
        (holes(), {"missing": "mode"}, r"unknown data\.missing 'mode'.*Available: mean, median"),
        (
            table().assign(b=np.nan),
            {"missing": "mean"},
            r"column 'b' has only missing values in the training split.*--data\.drop",
        ),
        (holes().assign(label=holes().b), {"missing": "mean"}, r"column 'label' has 12 missing.*delete their rows"),
        (
            holes().assign(a="?"),
            {"missing": "mean"},
            r"column 'a' must contain finite numbers, but row 1 contains '\?'",
        ),
    ],
)
def test_what_cannot_be_filled_in_is_refused(tmp_path, frame, params, sentence):
    with pytest.raises(InputError, match=sentence):
        make(write(tmp_path, frame), **params)


def test_a_path_is_looked_for_below_the_data_root_too(tmp_path, monkeypatch):
    write(tmp_path, table())
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    with pytest.raises(InputError, match=r"cannot read table\.csv"):
        make("table.csv")
    assert make("table.csv", root=str(tmp_path)).class_names == ["no", "yes"]
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    assert make("table.csv").class_names == ["no", "yes"]
    params = {"path": "table.csv", "target": "label"}
    assert CSV.identity(params) == CSV.identity({**params, "path": str(tmp_path / "table.csv")})

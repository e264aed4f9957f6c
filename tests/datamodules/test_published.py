"""The published tables: real files where they are, and what is said where they are not."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import QuantileTransformer

from benchmarks.running.plan import trial_key
from datamodules import DATAMODULES, InputError, create_datamodule
from zoo.config import resolve

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
ROOT = next((p for p in (Path(os.environ.get("ZOO_DATA_DIR", SHARED)), SHARED) if (p / "tabular").is_dir()), None)
needs_files = pytest.mark.skipif(ROOT is None, reason="no tabular/ in ZOO_DATA_DIR, nor in ../shared/data")

# Rows, features, class names, rows of the second class in all splits together.
FACTS = {
    "mammography": (11183, 6, ["non-calcification", "calcification"], 260),
    "polish_bankruptcy": (7027, 64, ["operating", "bankrupt"], 271),
    "california_housing": (20640, 8, None, None),
}
FILES = {
    "mammography": "tabular/mammography.csv",
    "polish_bankruptcy": "tabular/polish_bankruptcy_1year.arff",
    "california_housing": "tabular/california_housing.csv",
}


@pytest.fixture(scope="module")
def loaded():
    made = {name: create_datamodule(name, root=str(ROOT)) for name in FACTS}
    for data in made.values():
        data.setup()
    return made


@needs_files
@pytest.mark.parametrize("name", FACTS)
def test_rows_features_and_classes(loaded, name):
    n, n_features, class_names, n_rare = FACTS[name]
    data = loaded[name]
    assert sorted(np.concatenate(list(data.indices.values()))) == list(range(n))
    assert (data.input_shape, data.class_names) == ((n_features,), class_names)
    for split in data.indices:
        x, y = data.arrays(split)
        assert x.isfinite().all()
        assert y.isfinite().all()
        if n_rare is not None:
            assert y.float().mean().item() == pytest.approx(n_rare / n, abs=0.01)  # shares are those of distinct rows
    if n_rare is not None:
        assert sum(int((data.arrays(split)[1] == 1).sum()) for split in data.indices) == n_rare


@needs_files
def test_equal_mammograms_stay_on_one_side(loaded):
    data = loaded["mammography"]
    frame = pd.read_csv(ROOT / FILES["mammography"], header=None)
    rows = frame.groupby(list(range(6))).ngroup().to_numpy()
    sides = {split: set(rows[own]) for split, own in data.indices.items()}
    assert sum(map(len, sides.values())) == len(set(rows)) == 7848
    labels = (frame[6] == "'1'").to_numpy()
    assert all((data.arrays(split)[1].numpy() == labels[own]).all() for split, own in data.indices.items())


@needs_files
def test_ratios_are_filled_in_and_ranked_by_the_training_split(loaded, tmp_path):
    data = create_datamodule("polish_bankruptcy", root=str(ROOT), ranks=False)
    data.setup()
    lines = (ROOT / FILES["polish_bankruptcy"]).read_text().partition("@data\n")[2].split()
    x = pd.DataFrame([line.split(",")[:-1] for line in lines]).replace("?", None).astype(float).to_numpy()
    assert np.isnan(x).sum() == 5835
    medians = np.nanmedian(x[data.indices["train"]], axis=0)
    np.testing.assert_allclose(data.card()["missing"], medians)
    mean, std = (np.array(data.card()["normalisation"][k]) for k in ("mean", "std"))
    for split, own in data.indices.items():
        expected = (np.where(np.isnan(x[own]), medians, x[own]) - mean) / std
        np.testing.assert_allclose(data.arrays(split)[0], expected, rtol=1e-4, atol=1e-5)
    # By ranks each ratio is about normal; nothing lies further out than sklearn's bounds.
    ranked = loaded["polish_bankruptcy"]
    assert ranked.card()["missing"] == data.card()["missing"]
    own = data.indices["train"]
    filled = np.where(np.isnan(x), medians, x)
    transformer = QuantileTransformer(n_quantiles=100, output_distribution="normal", subsample=None).fit(filled[own])
    mean, std = (np.array(ranked.card()["normalisation"][k]) for k in ("mean", "std"))
    for split, own in data.indices.items():
        found = ranked.arrays(split)[0].numpy() * std + mean
        np.testing.assert_allclose(found, transformer.transform(filled[own]), rtol=1e-4, atol=1e-4)
    # A checkpoint reads another file alike, with holes in it, too.
    other = pd.DataFrame(x[:50], columns=ranked.card()["features"]).assign(y="operating")
    other.to_csv(tmp_path / "other.csv", index=False)
    again = create_datamodule("csv", path=str(tmp_path / "other.csv"), target="y", missing="median")
    again.restore(ranked.card())
    again.setup()
    expected = (transformer.transform(filled[:50]) - mean) / std
    np.testing.assert_allclose(again.arrays("test")[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FACTS)
def test_a_key_has_the_name_and_not_the_place(name):
    def key(root):
        config = resolve({"model": "mlp", "data": {"name": name, "root": root}})
        seed = config.pop("seed_everything")
        return trial_key("fit", config, DATAMODULES.load(name).identity(config["data"]), seed)

    assert key("here") == key("there") == key(None)


@pytest.mark.parametrize("name", FACTS)
def test_a_file_that_is_not_there_or_is_another_gets_a_sentence(tmp_path, name):
    origin = {"mammography": "OpenML 310", "polish_bankruptcy": "UCI 365", "california_housing": "StatLib"}[name]
    with pytest.raises(InputError, match=rf"{tmp_path}/{FILES[name]} does not exist .*{origin}.*--data\.root"):
        create_datamodule(name, root=str(tmp_path)).setup()
    (tmp_path / "tabular").mkdir()
    (tmp_path / FILES[name]).write_text("no table")
    with pytest.raises(InputError, match=origin):
        create_datamodule(name, root=str(tmp_path)).setup()
    rows = [f"{i},{i % 7},{i % 5},0,1,2,{q}" for i in range(40) for q in (["'-1'"] if i % 2 else ["'1'"])]
    if name == "mammography":
        (tmp_path / FILES[name]).write_text("\n".join(rows))
        with pytest.raises(
            InputError, match=r"is not the expected file: it contains 40 rows of 6 features, 20 of class"
        ):
            create_datamodule(name, root=str(tmp_path)).setup()
        (tmp_path / FILES[name]).write_text("\n".join(rows).replace("'-1'", "no"))
        with pytest.raises(InputError, match=r"the target contains \['no'\], but its classes must be"):
            create_datamodule(name, root=str(tmp_path)).setup()


def test_bad_options_are_refused():
    with pytest.raises(InputError, match=r"unknown data\.missing 'zero'"):
        create_datamodule("polish_bankruptcy", missing="zero")
    with pytest.raises(InputError, match="unknown parameter of data set 'mammography' 'path'"):
        create_datamodule("mammography", path="x.csv")

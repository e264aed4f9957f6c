import numpy as np
import pytest
import torch

import datamodules
from datamodules import InputError, create_datamodule

DOWNLOADED = {"mnist", "fashion_mnist", "cifar10"}
OWN_FILE = {"csv", "mammography", "polish_bankruptcy", "california_housing"}  # see test_csv.py, test_published.py
TEXTS = {"text", "nlu_home", "utterances"}  # see test_text.py
HERE = sorted(set(datamodules.list_datamodules()) - DOWNLOADED - OWN_FILE - TEXTS)

# Rows, shape of one input, number of classes (1: regression).
FACTS = {
    "breast_cancer": (569, (30,), 2),
    "diabetes": (442, (10,), 1),
    "digits": (1797, (1, 8, 8), 10),
    "fraud": (8000, (20,), 2),
    "iris": (150, (4,), 3),
    "moons": (1000, (2,), 2),
    "sawtooth": (1000, (1,), 1),
    "spirals": (1000, (2,), 2),
    "wine": (178, (13,), 3),
    "xor": (1000, (2,), 2),
}


def make(name, **params):
    data = create_datamodule(name, **params)
    data.setup()
    return data


def test_every_set_of_the_design_is_there():
    assert set(datamodules.list_datamodules()) >= {*FACTS, *DOWNLOADED, *OWN_FILE, *TEXTS}
    assert datamodules.list_datamodules("*mnist") == ["fashion_mnist", "mnist"]


@pytest.mark.parametrize("name", HERE)
def test_rows_shapes_and_classes(name):
    data = make(name)
    n, shape, num_classes = FACTS[name]
    assert sum(len(rows) for rows in data.indices.values()) == n
    assert (data.input_shape, data.num_classes) == (shape, num_classes)
    assert (data.class_names is None) == (num_classes == 1)
    for split, rows in data.indices.items():
        x, y = data.arrays(split)
        assert x.shape == (len(rows), *shape)
        assert x.dtype == torch.float32
        assert x.isfinite().all()
        assert y.shape == (len(rows),)
        assert y.dtype == (torch.float32 if num_classes == 1 else torch.int64)
    if num_classes > 1:
        assert data.class_counts().min() > 0
        assert len(data.class_counts()) == num_classes


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("seed", [0, 1])
def test_splits_share_no_row_and_leave_none_out(name, seed):
    data = make(name, seed=seed)
    rows = np.concatenate(list(data.indices.values()))
    assert sorted(data.indices) == ["test", "train", "val"]
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(rows)))


@pytest.mark.parametrize("name", HERE)
def test_the_seed_redraws_validation_and_never_the_test_split(name):
    one, again, other = (make(name, seed=seed) for seed in (1, 1, 2))
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one.indices[split], again.indices[split])
    np.testing.assert_array_equal(one.indices["test"], other.indices["test"])
    assert set(one.indices["val"]) != set(other.indices["val"])


@pytest.mark.parametrize("name", HERE)
def test_normalisation_comes_from_the_training_split_alone(name):
    data = make(name, seed=1)
    raw, train = data.load().x, data.indices["train"]
    axes = (0, 2, 3) if raw.ndim == 4 else (0,)
    mean, std = raw[train].mean(axes), raw[train].std(axes)
    np.testing.assert_allclose(data.card()["normalisation"]["mean"], mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(data.card()["normalisation"]["std"], std, rtol=1e-9, atol=1e-12)
    other = make(name, seed=2).card()["normalisation"]
    assert other != data.card()["normalisation"]
    shape = (-1, 1, 1) if raw.ndim == 4 else (-1,)
    for split, rows in data.indices.items():
        expected = (raw[rows] - mean.reshape(shape)) / std.reshape(shape)
        np.testing.assert_allclose(data.arrays(split)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_regression_target_is_standardised_on_train_and_its_scale_is_kept():
    data = make("diabetes", seed=1)
    _, y = data.arrays("train")
    assert abs(y.mean()) < 1e-5
    assert abs(y.std(correction=0) - 1) < 1e-5
    scale = data.card()["target"]
    for split, rows in data.indices.items():
        np.testing.assert_allclose(data.arrays(split)[1] * scale["std"] + scale["mean"], data.load().y[rows], rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in HERE if FACTS[name][2] > 1])
def test_class_shares_are_alike_in_all_splits(name):
    data = make(name)
    shares = {s: np.bincount(data.arrays(s)[1], minlength=data.num_classes) for s in data.indices}
    total = sum(shares.values())
    for counts in shares.values():
        assert np.abs(counts - counts.sum() * total / total.sum()).max() <= 2


def test_fraud_is_exactly_three_percent():
    counts = np.bincount(create_datamodule("fraud").load().y)
    assert counts.tolist() == [7760, 240]


def test_xor_is_the_exclusive_or_of_its_corner():
    source = create_datamodule("xor", noise=0.0).load()
    np.testing.assert_array_equal(source.y, source.x[:, 0].astype(int) ^ source.x[:, 1].astype(int))


@pytest.mark.parametrize("name", ["moons", "spirals", "xor", "fraud", "sawtooth"])
def test_synthetic_sets_are_the_same_each_time(name):
    one, other = create_datamodule(name, seed=1).load(), create_datamodule(name, seed=2).load()
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.y, other.y)


def test_train_sizes_are_nested_and_share_validation_and_test():
    sizes = [make("digits", train_size=size, seed=3) for size in (50, 0.5, None)]
    small, half, full = (set(data.indices["train"]) for data in sizes)
    assert small < half < full
    assert (len(small), len(half)) == (50, round(0.5 * len(full)))
    for split in ("val", "test"):
        for data in sizes[1:]:
            np.testing.assert_array_equal(data.indices[split], sizes[0].indices[split])


def test_loaders_cut_the_splits():
    data = make("iris", batch_size=20)
    assert len(next(iter(data.train_dataloader()))[1]) == 20
    for split in ("val", "test"):
        batches = list(getattr(data, f"{split}_dataloader")())
        assert torch.equal(torch.cat([x for x, _ in batches]), data.arrays(split)[0])


def test_a_restored_card_brings_its_own_normalisation():
    card = make("iris", seed=1).card()
    data = create_datamodule("iris", seed=2)
    data.restore(card)
    data.setup()
    assert data.card()["normalisation"] == card["normalisation"] != make("iris", seed=2).card()["normalisation"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wine", r"trained on inputs of shape \[2\], but this data has shape \[13\]; pass data of the same shape"),
        ("xor", r"classes \['upper', 'lower'\]"),
    ],
)
def test_a_card_of_other_data_is_refused(name, sentence):
    data = create_datamodule(name)
    data.restore(make("moons").card())
    with pytest.raises(InputError, match=sentence):
        data.setup()


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"batch_size": 0}, r"data\.batch_size must be at least 1, got 0\."),
        ({"val_fraction": 1.0}, r"data\.val_fraction must be between 0 and 1"),
        ({"val_fraction": 0.0}, r"data\.val_fraction must be between 0 and 1"),
        ({"train_size": 0}, r"data\.train_size must be at least 1"),
        ({"train_size": 1.5}, r"data\.train_size as a fraction must be in"),
        ({"train_size": 1000}, r"data\.train_size must select between 1 and 96 training rows.* but selects 1000"),
        ({"seed": -1}, r"data\.seed must not be negative"),
        ({"batchsize": 8}, r"unknown parameter .*Did you mean 'batch_size'\?"),
    ],
)
def test_bad_parameters_get_a_sentence(params, sentence):
    with pytest.raises(ValueError, match=sentence):
        make("iris", **params)


def test_an_unknown_set_names_the_nearest_and_the_list():
    with pytest.raises(ValueError, match=r"unknown data set 'digit'\. Did you mean 'digits'\? Available: .*xor"):
        create_datamodule("digit")

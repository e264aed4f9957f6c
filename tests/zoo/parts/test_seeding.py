import lightning.pytorch as L
import numpy as np
import pytest
import torch

import zoo
from zoo import train
from zoo.config import resolve
from zoo.parts.seeding import derive_seeds

CONFIG = {
    "seed_everything": 3,
    "model": {"name": "robust_mlp", "hidden_dims": [16]},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"max_epochs": 3},
}


def changed(section=None, **values):
    if section is None:
        return {**CONFIG, **values}
    return {**CONFIG, section: {**CONFIG[section], **values}}


def start(config):
    """What a run starts from: initial weights, splits, and the order of its first two epochs."""
    model, data = train.prepare(resolve(config))
    loader = data.train_dataloader()
    x, _ = data.arrays("train")
    number = {tuple(row): i for i, row in enumerate(x.tolist())}
    order = [[number[tuple(row)] for batch, _ in loader for row in batch.tolist()] for _ in range(2)]
    return model.state_dict(), {split: rows.tolist() for split, rows in data.indices.items()}, order


def same_weights(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_one_seed_becomes_four_that_differ_and_stay():
    seeds = derive_seeds(0)
    assert seeds._fields == ("split", "init", "order", "dropout")
    assert seeds == derive_seeds(0)
    assert len({seed for run in range(100) for seed in derive_seeds(run)}) == 400


@pytest.mark.parametrize("name", ["robust_mlp", "cnn"])
def test_the_same_seed_gives_the_same_bits_whatever_else_ran_before(tmp_path, name):
    shift = {"conv_dropout": 0.2} if name == "cnn" else {}
    config = changed("data", name="digits", train_size=100) if name == "cnn" else CONFIG
    config = {**config, "model": {"name": name, "dropout": 0.3, **shift}}
    first = train.fit(config, tmp_path / "first")
    train.fit(changed(seed_everything=9), tmp_path / "other")  # other work: draws, trainings, global seeds
    L.seed_everything(77, verbose=False)
    torch.rand(1000), np.random.default_rng().random(10)
    again = train.fit(config, tmp_path / "again")
    assert again.metrics == first.metrics
    for file in ("metrics.csv", "config.yaml"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "first" / file).read_bytes()
    weights = [zoo.load(tmp_path / run).state_dict() for run in ("first", "again")]
    assert same_weights(*weights)


def test_another_seed_gives_other_weights_splits_and_orders():
    (weights, rows, order), (weights2, rows2, order2) = start(CONFIG), start(changed(seed_everything=4))
    assert not same_weights(weights, weights2)
    assert rows["test"] == rows2["test"]
    assert set(rows["val"]) != set(rows2["val"])
    assert order != order2
    assert order[0] != order[1]


@pytest.mark.parametrize(
    "change",
    [{"initializer": "orthogonal"}, {"activation": "tanh"}, {"hidden_dims": [32, 32]}, {"dropout": 0.0}],
    ids=lambda change: next(iter(change)),
)
def test_an_ablation_of_the_model_leaves_split_and_order_as_they_were(change):
    (_, rows, order), (_, rows2, order2) = start(CONFIG), start(changed("model", **change))
    assert rows == rows2
    assert order == order2


def test_an_init_study_varies_the_weights_alone():
    weights, weights2 = start(CONFIG)[0], start(changed("model", initializer="xavier_normal"))[0]
    assert not torch.equal(weights["net.1.weight"], weights2["net.1.weight"])


@pytest.mark.parametrize(
    "change", [{"activation": "gelu"}, {"dropout": 0.5}, {"lr": 0.1}, {"optimizer": "sgd"}], ids=lambda c: next(iter(c))
)
def test_variants_whose_shapes_agree_start_from_the_same_draws(change):
    base = changed("model", initializer="xavier_normal")
    other = {**base, "model": {**base["model"], **change}}
    assert same_weights(start(base)[0], start(other)[0])


def test_data_seed_redraws_validation_alone():
    (weights, rows, order), (weights2, rows2, order2) = start(CONFIG), start(changed("data", seed=12))
    assert same_weights(weights, weights2)
    assert order == order2  # the same places in the training split, whichever rows stand there
    assert rows["test"] == rows2["test"]
    assert set(rows["val"]) != set(rows2["val"])


def test_weights_come_from_the_init_seed_alone():
    torch.manual_seed(derive_seeds(CONFIG["seed_everything"]).init)
    model = zoo.create_model(**CONFIG["model"], input_shape=(13,), num_classes=3)
    assert same_weights(start(CONFIG)[0], model.state_dict())


def test_dropout_draws_from_its_own_seed_however_much_the_initializer_drew(tmp_path, monkeypatch):
    states = []
    monkeypatch.setattr(
        zoo.ZooModule, "on_train_start", lambda self: states.append(torch.get_rng_state().clone()), raising=False
    )
    other_init = changed("model", initializer="default")  # draws but once
    for number, config in enumerate([CONFIG, other_init, changed(seed_everything=4)]):
        train.fit({**config, "trainer": {"max_epochs": 1}}, tmp_path / str(number), pack=False)
    base, same, other = states
    assert torch.equal(base, same)
    assert not torch.equal(base, other)

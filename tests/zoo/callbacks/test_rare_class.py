"""The callback rare_class: its numbers against scikit-learn's; its threshold never sees the test split."""

import json
import math

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

import datamodules
import zoo
from benchmarks.study.study import Study
from benchmarks.tasks.fit_check import check_study
from datamodules import InputError, create_datamodule, register_datamodule
from datamodules.base import ArrayDataModule, Source
from zoo import train
from zoo.callbacks.rare_class import best_threshold, rare_class_metrics, rare_class_of
from zoo.config import resolve
from zoo.pack import Pack
from zoo.parts.metric_names import RARE_CLASS, direction, has_direction

MODEL = {"name": "mlp", "hidden_dims": [16], "lr": 0.01, "class_weights": "balanced"}
PLAIN = {"name": "mlp", "hidden_dims": [16]}


def config(data="imbalanced", model=MODEL, on=True, seed=0, **trainer):
    return {
        "seed_everything": seed,
        "model": model,
        "data": {"name": data} if isinstance(data, str) else data,
        "trainer": {"max_epochs": 3, "accelerator": "cpu", **trainer},
        "callbacks": {"rare_class": on},
    }


class Imbalanced(ArrayDataModule):
    """Two overlapping clouds in the plane.

    Args:
        n_rare: Points of the small one, of 400.
        rare: The small one's class.
    """

    def __init__(self, *, n_rare: int = 60, rare: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.n_rare, self.rare = n_rare, rare

    def load(self):
        y = np.full(400, 1 - self.rare)
        y[: self.n_rare] = self.rare
        shift = 1.5 * (y == self.rare)[:, None]
        return Source(np.random.default_rng(0).normal(size=(400, 2)) + shift, y, ("no", "yes"))


@pytest.fixture(scope="module", autouse=True)
def imbalanced():
    register_datamodule("imbalanced")(Imbalanced)
    yield
    del datamodules.DATAMODULES._targets["imbalanced"]


def scored(folder, split, rare=1):
    """The rare class's probability and which are rare, of the checkpoint left and the data as a config says."""
    model = zoo.load(folder)
    x, y = create_datamodule(**model.config["data"]).arrays(split)
    with torch.no_grad():
        return model(x).double().softmax(1)[:, rare].numpy(), (y == rare).numpy()


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("rare", [0, 1])
def test_numbers_are_scikit_learns_of_the_checkpoint(tmp_path, rare, pack):
    result = train.fit(config({"name": "imbalanced", "rare": rare}), tmp_path, pack=pack)
    assert (result.environment["pack_size"] == 1) is pack
    measured = {name: result.metrics[name] for name in RARE_CLASS}
    (val, val_hits), (test, test_hits) = (scored(tmp_path, split, rare) for split in ("val", "test"))
    precision, recall, thresholds = sk.precision_recall_curve(val_hits, val)
    with np.errstate(invalid="ignore"):
        best = np.nanmax(2 * precision * recall / (precision + recall))
    assert measured["val/f1_rare"] == pytest.approx(best)
    # Single precision differs with the size of a batch, so that the score at the threshold falls on either side.
    assert np.abs(thresholds - measured["threshold"]).min() < 1e-6
    threshold = measured["threshold"] - 1e-6
    assert measured["test/f1_rare"] == pytest.approx(sk.f1_score(test_hits, test >= threshold))
    assert measured["test/f1_rare_at_half"] == pytest.approx(sk.f1_score(test_hits, test >= 0.5))
    assert measured["val/auprc"] == pytest.approx(sk.average_precision_score(val_hits, val), abs=1e-6)
    assert measured["test/auprc"] == pytest.approx(sk.average_precision_score(test_hits, test), abs=1e-6)
    assert 0 < measured["test/f1_rare"] < measured["val/f1_rare"] + 0.2
    assert measured["test/f1_rare"] != measured["test/f1_rare_at_half"]


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_the_best_of_all_and_of_equals_the_highest(seed):
    draw = np.random.default_rng(seed)
    scores, hits = draw.integers(0, 12, 40) / 16, draw.random(40) < 0.3
    hits[0] = True
    f1 = {score: sk.f1_score(hits, scores >= score, zero_division=0.0) for score in scores}
    found = best_threshold(scores, hits)
    assert f1[found] == max(f1.values())
    assert found == max(score for score, value in f1.items() if value == max(f1.values()))
    order = draw.permutation(40)
    assert best_threshold(scores[order], hits[order]) == found


def outputs(scores, hits):
    return torch.tensor([[0.0, s] for s in scores]), torch.tensor(hits)


def test_the_threshold_does_not_see_the_test_split():
    val = outputs([3, 2, 1, 0], [1, 1, 0, 0])
    found = [
        rare_class_metrics(1, {"val": val, "test": outputs(scores, [1, 0, 1, 0])})
        for scores in ([4, 3, 2, 1], [-1, -2, -3, -4])
    ]
    assert found[0]["threshold"] == found[1]["threshold"] == torch.tensor(2.0).double().sigmoid()
    assert [m["test/f1_rare"] for m in found] == [pytest.approx(0.8), 0.0]  # what is not called rare is not skipped
    assert [m["test/f1_rare_at_half"] for m in found] == [pytest.approx(2 / 3), 0.0]
    assert [m["val/f1_rare"] for m in found] == [1.0, 1.0]


def test_sure_scores_keep_their_order():
    scores = outputs([30, 29, 28, 27], [1, 0, 1, 0])  # all one in single precision
    assert rare_class_metrics(1, {"val": scores, "test": scores})["test/auprc"] == pytest.approx((1 + 2 / 3) / 2)


def test_scores_that_are_no_numbers_have_no_metrics():
    fine, nan = outputs([1, 0], [1, 0]), outputs([math.nan, 0], [1, 0])
    assert all(math.isnan(v) for v in rare_class_metrics(1, {"val": fine, "test": nan}).values())


def test_a_pack_measures_what_lightning_does(tmp_path):
    packed, alone = (train.fit(config(), tmp_path / str(pack), pack=pack).metrics for pack in (True, False))
    assert set(RARE_CLASS) <= packed.keys()
    assert packed == pytest.approx(alone, rel=2e-4, abs=2e-5)


def test_numbers_do_not_depend_on_the_pack_nor_on_whether_its_partners_measure_them():
    def member(seed, on, lr):
        return config(model={**MODEL, "lr": lr, "optimizer": "sgd"}, on=on, seed=seed, gradient_clip_val=None)

    configs = [member(seed, on, lr) for lr in (0.1, 1e30) for seed in range(4) for on in (True, False)]

    def tested(configs):
        members = [train.make_member(resolve(c), {}) for c in configs]
        Pack(members, torch.device("cpu")).fit()
        return [member.tested for member in members]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        together = tested(configs)
        assert [tested([c])[0] for c in configs] == together
        assert tested(configs[3:7]) == together[3:7]
    finally:
        torch.set_num_threads(threads)
    assert all(set(RARE_CLASS) <= m.keys() for m in together[:8:2])
    assert [{n: v for n, v in m.items() if n not in RARE_CLASS} for m in together[:8:2]] == together[1:8:2]
    assert together[8:] == [{}] * 8


@pytest.mark.parametrize("pack", [True, False])
def test_all_other_numbers_are_those_of_a_run_without_it(tmp_path, pack):
    on, off = (train.fit(config(on=on), tmp_path / str(on), pack=pack) for on in (True, False))
    assert off.metrics == {n: v for n, v in on.metrics.items() if n not in RARE_CLASS}
    assert (tmp_path / "True/metrics.csv").read_text() == (tmp_path / "False/metrics.csv").read_text()
    assert json.loads((tmp_path / "True/result.json").read_text())["metrics"] == on.metrics
    assert "rare_class" not in resolve(config(on=False))["callbacks"]


def test_the_rare_class_is_that_of_fewer_training_rows():
    def rare(**params):
        return rare_class_of(create_datamodule("imbalanced", **params))

    assert (rare(), rare(rare=0), rare(n_rare=340), rare(n_rare=200), rare(n_rare=200, rare=0)) == (1, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("iris", "callbacks.rare_class needs data with two classes, but there are 3"),
        ("diabetes", "callbacks.rare_class needs data with two classes, but this is a regression"),
        ({"name": "imbalanced", "n_rare": 1}, "the rare class 'yes' in every split, but there are"),
        (
            {"name": "imbalanced", "n_rare": 0},
            "the rare class 'yes' in every split, but there are 0 in train, 0",
        ),
    ],
)
def test_data_without_a_rare_class_are_refused_before_training(tmp_path, data, sentence):
    for pack in (True, False):
        with pytest.raises(InputError, match=sentence):
            train.fit(config(data, PLAIN), tmp_path / "run", pack=pack)
    assert not (tmp_path / "run").exists()
    base = {key: value for key, value in config(data, PLAIN).items() if key != "seed_everything"}
    study = Study("s", base, {"model.lr": [0.1]}, {"model.lr": 0.1}, "test/f1_rare")
    assert sentence in " ".join(problem for _, problem in check_study(study).problems)


def test_studies_compare_its_metrics_only_where_it_is_on():
    def problems(metric, on=True):
        base = {key: value for key, value in config(on=on).items() if key != "seed_everything"}
        study = Study("s", base, {"model.lr": [0.1]}, {"model.lr": 0.1}, metric)
        return [problem for _, problem in check_study(study).problems]

    assert [problems(metric) for metric in RARE_CLASS] == [[]] * len(RARE_CLASS)
    (sentence,) = problems("test/f1_rares")
    assert "Did you mean 'test/f1_rare'" in sentence
    (sentence,) = problems("test/auprc", on=False)
    assert "unknown metric 'test/auprc'" in sentence
    assert "Set callbacks.rare_class: true in all trials" in sentence


def test_more_is_better_but_of_the_threshold():
    assert {direction(name) for name in RARE_CLASS} == {"max"}
    assert [name for name in RARE_CLASS if not has_direction(name)] == ["threshold"]

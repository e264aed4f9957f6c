"""Metrics where float32 is too coarse: targets with a large offset, saturated probabilities."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
import torch

import zoo
from tests.small_files import write_small_files
from zoo import train
from zoo.config import resolve
from zoo.evaluate import predict


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_small_files(folder)
    points = pd.read_csv(folder / "base.csv")
    (points[["a", "b"]].assign(when=(2e7 + points.a).round(3))).to_csv(folder / "far.csv", index=False)
    return folder


def config(model="perceptron", **data):
    return {"model": model, "data": data, "trainer": {"max_epochs": 5, "enable_progress_bar": False}}


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("file", ["stamp", "far"])
def test_metrics_of_targets_with_an_offset_are_those_of_the_predictions(small, tmp_path, pack, file):
    path = small / f"{file}.csv"
    result = train.fit(config(name="csv", path=str(path), target="when"), tmp_path, pack=pack)
    predict(str(tmp_path), {}, str(tmp_path / "p.csv"))
    rows = pd.read_csv(tmp_path / "p.csv")
    targets = pd.read_csv(path).when.to_numpy()[rows["index"]]
    np.testing.assert_array_equal(rows.target, targets)
    expected = {
        "test/mse": sk.mean_squared_error(targets, rows.prediction),
        "test/mae": sk.mean_absolute_error(targets, rows.prediction),
        "test/r2": sk.r2_score(targets, rows.prediction),
    }
    assert expected["test/mae"] > 0.1
    assert expected["test/r2"] < 0.9
    assert {name: result.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("pack", [True, False])
def test_auroc_of_a_confident_net_is_that_of_its_logits(tmp_path, pack):
    long = {
        "seed_everything": 0,
        "model": {"name": "mlp", "hidden_dims": [64], "lr": 0.1},
        "data": "breast_cancer",
        "trainer": {"max_epochs": 60, "enable_progress_bar": False},
        "callbacks": {"early_stopping": None, "model_checkpoint": {"monitor": "val/accuracy"}},
    }
    result = train.fit(long, tmp_path, pack=pack)
    model = zoo.load(str(tmp_path))
    _, data = train.prepare(resolve(long))
    x, y = data.arrays("test")
    with torch.no_grad():
        logits = model(x).double()
    margin = logits[:, 1] - logits[:, 0]
    assert (margin.float().sigmoid() == 1).sum() > 10  # saturated
    assert result.metrics["test/auroc"] == pytest.approx(sk.roc_auc_score(y, margin), abs=1e-6)

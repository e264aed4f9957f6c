import numpy as np
import pytest
import sklearn.metrics as sk
import torch

import zoo
from zoo.parts.metric_names import direction, metric_names
from zoo.parts.metrics import LossMean, make_metrics
from zoo.parts.scores import log_odds

RNG = np.random.default_rng(0)


def sample(num_classes, n=200):
    """Logits that know a little of the labels."""
    y = RNG.integers(0, num_classes, n)
    logits = RNG.standard_normal((n, num_classes)) + 1.5 * np.eye(num_classes)[y]
    return torch.from_numpy(logits).float(), torch.from_numpy(y)


def measure(num_classes, predictions, y, batches=3):
    metrics = make_metrics(num_classes)
    for p, t in zip(predictions.chunk(batches), y.chunk(batches), strict=True):
        metrics.update(p, t)
    return {name: value.item() for name, value in metrics.compute().items()}


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_classification_metrics_are_scikit_learns(num_classes):
    logits, y = sample(num_classes)
    found = measure(num_classes, logits, y)
    p = logits.double().softmax(1)
    p64 = p.numpy()
    auroc = sk.roc_auc_score(y, p64[:, 1]) if num_classes == 2 else sk.roc_auc_score(y, p64, multi_class="ovr")
    expected = {
        "accuracy": sk.accuracy_score(y, p.argmax(1)),
        "f1_macro": sk.f1_score(y, p.argmax(1), average="macro"),
        "auroc": auroc,
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_regression_metrics_are_scikit_learns():
    y = RNG.normal(150, 70, 200)
    p = y + RNG.normal(0, 40, 200)
    expected = {
        "mse": sk.mean_squared_error(y, p),
        "mae": sk.mean_absolute_error(y, p),
        "r2": sk.r2_score(y, p),
    }
    assert measure(1, torch.from_numpy(p), torch.from_numpy(y)) == pytest.approx(expected, rel=1e-5)


def test_macro_f1_leaves_out_a_class_that_nobody_names_and_counts_one_never_found():
    y = torch.tensor([0, 0, 1, 1, 2])
    p = torch.eye(4)[torch.tensor([0, 0, 1, 0, 1])]
    expected = sk.f1_score(y, p.argmax(1), average="macro", zero_division=0)
    assert measure(4, p, y, batches=1)["f1_macro"] == pytest.approx(expected)


def test_auroc_is_nan_where_a_class_has_no_sample_and_the_rest_stands():
    p, _ = sample(3, 20)
    y = torch.arange(20) % 2
    found = measure(3, p, y)
    assert np.isnan(found["auroc"])
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, p.argmax(1)))


def test_r2_does_not_depend_on_the_unit_and_is_nan_where_the_target_is_constant():
    y = RNG.normal(5e-4, 1e-4, 200)
    p = y + RNG.normal(0, 5e-5, 200)
    found = measure(1, torch.from_numpy(p), torch.from_numpy(y))
    assert found["r2"] == pytest.approx(sk.r2_score(y, p), rel=1e-5)
    assert np.isnan(measure(1, torch.from_numpy(p), torch.ones(200))["r2"])


def test_r2_of_one_sample_is_nan_and_its_errors_are_not():
    found = measure(1, torch.tensor([3.0]), torch.tensor([5.0]), batches=1)
    assert np.isnan(found["r2"])
    assert (found["mse"], found["mae"]) == (4, 2)


def test_the_mean_loss_weighs_batches_by_size_and_shows_a_nan():
    mean = LossMean()
    mean.update(torch.tensor([1.0, 4.0]), torch.tensor([30, 10]))
    assert mean.compute().item() == 1.75
    mean.update(torch.tensor([torch.nan]), torch.tensor([1]))
    assert mean.compute().isnan()


@pytest.mark.parametrize("num_classes", [1, 3])
def test_the_names_are_what_a_model_logs(num_classes):
    assert {"loss", *make_metrics(num_classes)} == set(metric_names(num_classes))
    assert set(make_metrics(num_classes, train=True)) <= set(make_metrics(num_classes))


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("val/loss", "min"),
        ("val/mse", "min"),
        ("val/mae", "min"),
        ("val/r2", "max"),
        ("test/accuracy", "max"),
        ("val/f1_macro", "max"),
        ("val/auroc", "max"),
        ("train_eval/accuracy", "max"),
        ("train_eval/loss", "min"),
        ("gap/accuracy", "min"),
        ("gap/r2", "min"),
        ("gap/loss", "min"),
    ],
)
def test_direction(metric, better):
    assert direction(metric) == better


@pytest.mark.parametrize("num_classes", [1, 4])
def test_predictions_are_probabilities_or_values_in_the_targets_units(num_classes):
    model = zoo.create_model("perceptron", input_shape=(5,), num_classes=num_classes).eval()
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    if num_classes == 1:
        model.data_card = {"target": {"mean": 150.0, "std": 70.0}}
        torch.testing.assert_close(model.predict_step((x, None), 0), 150 + 70 * model(x)[:, 0].double())
    else:
        p = model.predict_step((x, None), 0)
        assert p.shape == (6, 4)
        torch.testing.assert_close(p.sum(1), torch.ones(6))


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_auroc_ranks_saturated_probabilities_by_their_logits(num_classes):
    logits, y = sample(num_classes)
    large = 60 * logits  # in float32, most probabilities are 0 or 1
    scores = log_odds(large.T).T.double().numpy()
    exact = large.double().numpy()
    others = [np.delete(exact, c, 1) for c in range(num_classes)]
    expected = np.stack([exact[:, c] - np.logaddexp.reduce(others[c], 1) for c in range(num_classes)], 1)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    auroc = np.mean([sk.roc_auc_score(y == c, expected[:, c]) for c in range(num_classes)])
    assert measure(num_classes, large, y)["auroc"] == pytest.approx(auroc, abs=1e-6)
    saturated = np.mean([sk.roc_auc_score(y == c, large.softmax(1)[:, c]) for c in range(num_classes)])
    assert abs(saturated - auroc) > 1e-3


def test_auroc_of_a_logit_that_is_not_finite_is_nan():
    logits, y = sample(3)
    logits[5, 1] = torch.inf
    assert np.isnan(measure(3, logits, y)["auroc"])

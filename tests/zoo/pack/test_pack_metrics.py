"""The metrics of a pack are those of torchmetrics."""

import pytest
import torch

from zoo.pack import metrics
from zoo.parts.metrics import make_metrics

# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_classes"), [(2, 2), (50, 2), (333, 10), (1500, 4)])
@pytest.mark.parametrize("ties", [False, True])
def test_metrics_are_torchmetrics_own(n, n_classes, ties):
    generator = torch.Generator().manual_seed(n)
    logits = torch.randn(3, n_classes, n, generator=generator)
    logits = logits.round() if ties else logits
    y = torch.randint(n_classes, (3, n), generator=generator)
    y[:, :n_classes] = torch.arange(n_classes)[:n]
    y[2] = y[2].clamp(max=max(n_classes - 2, 0))  # a class that is not there
    mine = metrics.classification(logits, y)
    for member in range(3):
        theirs = make_metrics(n_classes)
        theirs.update(logits[member].T, y[member])
        own = {name: float(values[member]) for name, values in mine.items()}
        assert own == pytest.approx({k: float(v) for k, v in theirs.compute().items()}, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("unit", [1.0, 1e-6])
@pytest.mark.parametrize("n", [1, 2, 77])
def test_metrics_of_a_regression_are_those_of_a_run_alone(unit, n):
    generator = torch.Generator().manual_seed(n)
    out, y = (unit * (30 * torch.randn(3, n, generator=generator) + 90) for _ in range(2))
    y[2] = 7 * unit
    mine = metrics.regression(out, y)
    for member in range(3):
        theirs = make_metrics(1)
        theirs.update(out[member], y[member])
        own = {name: float(values[member]) for name, values in mine.items()}
        assert own == pytest.approx({k: float(v) for k, v in theirs.compute().items()}, rel=1e-4, nan_ok=True)

"""Runs with all diagnosis callbacks, for the tests of those."""

import csv

import pytest

from zoo.config import resolve
from zoo.parts.metric_names import DIAGNOSIS

ALL = {**dict.fromkeys(DIAGNOSIS, True), "gradient_flow": {"every_n_steps": 1}}
PACKED = pytest.mark.parametrize("pack", [True, False])


def config(model=None, callbacks=ALL, seed=0, data=None, **trainer):
    return resolve(
        {
            "seed_everything": seed,
            "model": {"name": "mlp", "hidden_dims": [16, 8], **(model or {})},
            "data": {"name": "wine", "batch_size": 16, **(data or {})},
            "trainer": {"max_epochs": 3, "accelerator": "cpu", **trainer},
            "callbacks": dict(callbacks),
        }
    )


def rows_of(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]

"""Configs of runs that can be packed, for the tests of packs."""

import csv

from zoo.config import merge, resolve

BASE = {
    "model": {"name": "mlp", "hidden_dims": [32, 32], "schedule": "cosine", "lr": 3e-3},
    "data": {"name": "wine", "batch_size": 32},
    "trainer": {"max_epochs": 4, "accelerator": "cpu"},
}


def config(seed=0, model=(), callbacks=(), **sections):
    over = {"model": dict(model), "callbacks": dict(callbacks), **sections}
    return resolve({**merge(merge(BASE, {"data": over.pop("data", BASE["data"])}), over), "seed_everything": seed})


def rows_of(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


def state(model):
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}

import json
import subprocess
import sys

import lightning.pytorch as L
import pytest
import torch
from torch import nn

import zoo
from datamodules import DATAMODULES, register_datamodule
from datamodules.tabular import Iris
from zoo import train
from zoo.models.registry import MODELS


@pytest.fixture
def names_given_back():
    before = [(registry, dict(registry._targets)) for registry in (MODELS, DATAMODULES)]
    yield
    for registry, targets in before:
        registry._targets.clear()
        registry._targets.update(targets)


def test_the_models_of_the_design_are_there():
    assert set(zoo.list_models()) >= {"perceptron", "mlp", "robust_mlp", "cnn", "lenet5"}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("*mlp*", ["mlp", "robust_mlp"]), ("lenet?", ["lenet5"]), ("nothing*", []), ("[cp]*", ["cnn", "perceptron"])],
)
def test_a_glob_lists_the_models_that_match(pattern, names):
    assert zoo.list_models(pattern) == names


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_name_leads_to_its_class_and_back_and_has_a_summary(name):
    cls = MODELS.load(name)
    assert issubclass(cls, zoo.ZooModule)
    assert MODELS.name_of(cls) == name
    assert cls.__doc__.startswith(MODELS.summary(name))
    assert MODELS.summary(name).endswith(".")


@pytest.mark.usefixtures("names_given_back")
def test_registering_a_name_twice_raises():
    with pytest.raises(ValueError, match="model 'mlp' is already registered"):
        zoo.register_model("mlp")
    with pytest.raises(ValueError, match="data set 'iris' is already registered"):
        register_datamodule("iris", "somewhere:Else")
    once, twice = zoo.register_model("new"), zoo.register_model("new")
    once(zoo.ZooModule)
    with pytest.raises(ValueError, match="model 'new' is already registered"):
        twice(L.LightningModule)
    assert MODELS.load("new") is zoo.ZooModule


@pytest.mark.usefixtures("names_given_back")
def test_a_users_own_model_and_data_train_test_and_load(tmp_path):
    @zoo.register_model("two_towers")
    class TwoTowers(zoo.ZooModule):
        """Two towers side by side."""

        def __init__(self, input_shape, num_classes, *, width: int = 8, **kwargs):
            super().__init__(input_shape, num_classes, **kwargs)
            self.net = nn.Linear(input_shape[0], width)
            self.other = nn.Linear(input_shape[0], width)
            self.out = nn.Linear(width, num_classes)

        def forward(self, x):
            return self.out(self.net(x).relu() * self.other(x).tanh())

    register_datamodule("my_iris")(Iris)
    result = train.fit(
        {
            "model": {"name": "two_towers", "width": 16, "lr": 0.01},
            "data": {"name": "my_iris", "batch_size": 16},
            "trainer": {"max_epochs": 20},
        },
        tmp_path,
    )
    assert result.status == "done"
    assert result.metrics["test/accuracy"] > 0.8
    model = zoo.load(tmp_path)
    assert type(model) is TwoTowers
    assert model.hparams["width"] == 16
    assert model(torch.zeros(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: zoo.create_model("robust_mpl", input_shape=(4,), num_classes=2),
            r"unknown model 'robust_mpl'\. Did you mean 'robust_mlp'\? Available: cnn, lenet5, mlp, perceptron, robust",
        ),
        (
            lambda: zoo.create_model("mlp", input_shape=(4,), num_classes=2, hidden_dim=[3]),
            r"unknown parameter of model 'mlp' 'hidden_dim'\. Did you mean 'hidden_dims'\? Available: activation",
        ),
        (lambda: zoo.create_model("mlp", num_classes=2), r"model 'mlp' needs the parameter 'input_shape'"),
    ],
)
def test_unknown_names_get_the_nearest_and_the_list(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_listing_imports_neither_torch_nor_lightning():
    code = """
import json, sys, zoo, datamodules
from zoo.models.registry import MODELS
names = zoo.list_models(), datamodules.list_datamodules(), [MODELS.summary(n) for n in zoo.list_models()]
heavy = [m for m in ("torch", "lightning", "pytorch_lightning", "torchmetrics", "numpy") if m in sys.modules]
print(json.dumps([*names, heavy]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    models, data, summaries, heavy = json.loads(run.stdout)
    assert models == zoo.list_models()
    assert "digits" in data
    assert all(summaries)
    assert heavy == []

"""The figure of what diagnosis callbacks measure by layer."""

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.report.diagnosis import layer_means, layers_figure
from benchmarks.study.file import load_study

STUDY = """
base: {model: mlp, data: wine}
vary: {model.activation: [relu, tanh, gelu]}
baseline: {model.activation: relu}
metric: test/accuracy
seeds: 2
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "layers.yaml").write_text(STUDY)
    return load_study(str(tmp_path / "layers.yaml"))


def trials(**statuses):
    rows = [(f"{name}{seed}", name, statuses.get(name, "done")) for name in ("relu", "tanh", "gelu") for seed in (0, 1)]
    return pd.DataFrame(rows, columns=["key", "variant", "status"])


def curve(first, second, **others):
    return {"epoch": [0, 1], "gradient_norm/layer_1": first, "gradient_norm/layer_2": second, **others}


def test_means_are_those_of_the_seeds_that_got_so_far():
    curves = [curve([1.0, 2.0], [4.0, None]), curve([3.0], [6.0]), {"val/loss": [1.0]}]
    expected = [[2.0, 2.0], [5.0, math.nan]]
    np.testing.assert_array_equal(layer_means(curves, "gradient_norm"), expected)
    before = {"gradient_norm/before_clipping": [9.0], "init/gradient_norm/layer_1": [9.0]}
    assert layer_means([before], "gradient_norm").size == 0
    many = {f"gradient_norm/layer_{n}": [float(n)] for n in (10, 2, 1)}  # in the order of numbers, not of text
    np.testing.assert_array_equal(layer_means([many], "gradient_norm")[[0, 1, 9], 0], [1, 2, 10])


def test_it_draws_a_panel_a_variant_that_has_the_columns(study, tmp_path):
    names = ["gelu", "relu", "tanh"]
    found = {f"{n}{s}": curve([1e-3, 1e-12], [0.0, 2.0]) for n in names for s in (0, 1)}
    assert layers_figure(study, trials(tanh="failed"), lambda keys: {k: found[k] for k in keys}, tmp_path, "layers")
    svg = (tmp_path / "layers.svg").read_text()
    assert ">relu<" in svg
    assert ">gelu<" in svg
    assert ">tanh<" not in svg
    assert ">gradient norm<" in svg
    assert (tmp_path / "layers.png").stat().st_size > 5000
    layers_figure(study, trials(tanh="failed"), lambda keys: {k: found[k] for k in keys}, tmp_path, "again")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "layers.png").read_bytes()


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_it_shows_dead_units_where_there_is_no_gradient(study, tmp_path, value):
    found = {"relu0": {"dead_units/layer_1": [value, value]}}
    assert layers_figure(study, trials(), lambda keys: found, tmp_path, "layers")
    assert ">dead units<" in (tmp_path / "layers.svg").read_text()


def test_there_is_none_without_such_columns(study, tmp_path):
    assert not layers_figure(study, trials(), lambda keys: {k: {"val/loss": [1.0]} for k in keys}, tmp_path, "layers")
    assert not list(tmp_path.glob("layers.p*"))

"""The studies that compare conv nets with MLPs at equal parameters do so."""

import pytest

import zoo
from benchmarks.study.file import load_study

SHAPES = {"cnn_vs_mlp": (1, 12, 12), "cnn_vs_mlp_mnist": (1, 28, 28)}
COUNTS = {
    "cnn_vs_mlp": {"cnn 2.7k": 2698, "mlp 2.7k": 2645, "cnn 7.7k": 7690, "mlp 7.7k": 7760},
    "cnn_vs_mlp_mnist": {"cnn": 8778, "mlp": 8755},
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_agree_within_two_percent_on_all_images(name):
    study = load_study(name)
    found = {}
    for variant in study.variants:
        config = study.config(variant)
        model = zoo.create_model(**config["model"], input_shape=SHAPES[name], num_classes=10)
        n = sum(p.numel() for p in model.parameters())
        assert found.setdefault(variant.cell["net"], n) == n
    assert found == COUNTS[name], "the study's comment says so"
    for conv in (net for net in found if net.startswith("cnn")):
        assert found[conv.replace("cnn", "mlp")] == pytest.approx(found[conv], rel=0.02)
    assert all(f"{n:,}" in study.comment for n in found.values())


@pytest.mark.parametrize("name", COUNTS)
def test_the_images_of_all_variants_have_one_shape(name):
    study = load_study(name)
    changed = {key for variant in study.variants for key in variant.varied if key.startswith("data.")}
    assert changed == {"data.shift", "data.permute_pixels"}, "neither changes a shape"
    shape = SHAPES[name]
    assert shape[1] - 2 * study.base["data"].get("pad", 0) == {"digits": 8, "mnist": 28}[study.base["data"]["name"]]

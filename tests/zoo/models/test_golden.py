"""Each registered model learns what it learned when its golden curve was recorded, packed and by Lightning."""

import pytest

import zoo
from tests.zoo.models import golden

RECORDED = golden.read()
WRITE = "record it with: python -m tests.zoo.models.golden"
# Other kernels (AVX2 instead of AVX-512) shift these losses by at most 1e-4 of their size; a learning rate that is 1 %
# higher shifts them by 1.6e-3 to 4e-3, another seed by 7e-3 to 8e-2.
CLOSE = {"rel": 1e-3}


@pytest.mark.parametrize("name", zoo.list_models())
def test_each_model_has_a_golden_curve_for_each_way_of_training(name):
    assert name in RECORDED, f"{name} has no golden curve; {WRITE} {name}"
    assert set(RECORDED[name]) - {"machine"} == set(golden.ways_of(name)), f"{WRITE} {name}"


def test_no_golden_curve_is_left_of_a_model_that_is_gone():
    assert set(RECORDED) <= set(zoo.list_models())


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name, record in RECORDED.items() for way in record if way != "machine"]
)
def test_a_model_learns_what_it_learned_when_its_curve_was_recorded(name, way):
    recorded, found = RECORDED[name][way], golden.train(name, way)
    assert [len(recorded[loss]) for loss in golden.LOSSES] == [3, 3]
    assert recorded["train/loss"][0] > recorded["train/loss"][-1], "it learns"
    if RECORDED[name]["machine"] == golden.machine():
        assert found == recorded
    else:
        assert found == {loss: pytest.approx(values, **CLOSE) for loss, values in recorded.items()}

"""Plain values as JSON and as numbers."""

import math

import pytest

from benchmarks.running.plan import trial_key
from zoo.plain import canonical, is_number


def test_equal_values_give_the_same_text_whatever_their_order():
    assert canonical({"b": [1, 2.0, None], "a": True}) == '{"a":true,"b":[1,2.0,null]}'
    assert canonical({"a": True, "b": [1, 2.0, None]}) == '{"a":true,"b":[1,2.0,null]}'


def test_true_is_not_1():
    assert canonical(True) != canonical(1)


def test_the_key_of_a_trial_never_changes():
    # Computed by the version that made the first records: other text, even other spaces, would orphan them all.
    assert trial_key("noop", {"sleep": 0.0, "returns": {"value": 1.0}}, None, 3) == "262ea36221c96fb1"


@pytest.mark.parametrize("value", [0, -1, 2.5, 1e308, 10**300])
def test_finite_numbers_are_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize("value", [True, False, None, "1", [1], math.inf, -math.inf, math.nan, 10**400])
def test_nothing_else_is_a_number(value):
    assert not is_number(value)

import numpy as np
import pytest

from datamodules.splits import split_off, stratified_order

ROWS = np.arange(100, 400)  # not from 0, so that row numbers cannot pass for positions
LABELS = (np.arange(400) % 10 == 0).astype(int)
GROUPS = np.arange(400) // 7

FORMS = {
    "plain": {},
    "stratified": {"labels": LABELS},
    "grouped": {"groups": GROUPS},
    "both": {"labels": LABELS, "groups": GROUPS},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.9])
def test_parts_are_disjoint_and_cover_all_rows(form, fraction):
    part, rest = split_off(ROWS, fraction, 3, **FORMS[form])
    assert len(part) > 0
    assert len(rest) > 0
    np.testing.assert_array_equal(np.sort(np.concatenate([part, rest])), ROWS)


@pytest.mark.parametrize("form", ["plain", "stratified"])
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.9])
def test_part_has_the_share_asked_for(form, fraction):
    part, _ = split_off(ROWS, fraction, 3, **FORMS[form])
    assert len(part) == round(fraction * len(ROWS))


@pytest.mark.parametrize("form", FORMS)
def test_same_seed_same_split_and_another_seed_another(form):
    first, again, other = (split_off(ROWS, 0.2, seed, **FORMS[form])[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("seed", range(5))
def test_each_class_has_about_its_share_in_both_parts(seed):
    part, rest = split_off(ROWS, 0.2, seed, LABELS)
    assert LABELS[ROWS].sum() == 30
    assert LABELS[part].sum() in (5, 6, 7)
    assert LABELS[part].sum() + LABELS[rest].sum() == 30


@pytest.mark.parametrize("seed", range(5))
def test_every_prefix_of_a_stratified_order_holds_each_class_in_its_share(seed):
    labels = np.random.default_rng(0).choice(3, 500, p=[0.7, 0.25, 0.05])
    order = stratified_order(labels, 500, seed)
    np.testing.assert_array_equal(np.sort(order), np.arange(500))
    for label in range(3):
        so_far = np.cumsum(labels[order] == label)
        expected = (labels == label).mean() * np.arange(1, 501)
        assert np.abs(so_far - expected).max() <= 2


@pytest.mark.parametrize("labels", [None, LABELS], ids=["plain", "stratified"])
def test_rows_of_one_group_stay_on_one_side(labels):
    part, rest = split_off(ROWS, 0.3, 0, labels, GROUPS)
    assert not set(GROUPS[part]) & set(GROUPS[rest])
    assert 0.2 < len(part) / len(ROWS) < 0.4


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_part_is_empty_while_there_are_two_rows(fraction):
    part, rest = split_off(np.array([4, 9]), fraction, 0)
    assert len(part) == len(rest) == 1

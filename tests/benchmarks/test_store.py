import pytest

from benchmarks.store import Store
from datamodules.errors import InputError


def test_a_trial_appears_whole_with_its_record(tmp_path):
    store = Store(tmp_path / "study")
    store.create({"name": "study"})
    scratch = store.scratch("abc")
    (scratch / "metrics.csv").write_text("epoch\n")
    assert store.record("abc") is None
    store.commit(scratch, {"key": "abc", "status": "done"})
    assert store.record("abc") == {"key": "abc", "status": "done"}
    assert sorted(path.name for path in (tmp_path / "study/trials/abc").iterdir()) == ["metrics.csv", "result.json"]
    assert [path.name for path in (tmp_path / "study/trials").iterdir()] == ["abc"]


def test_the_first_of_two_records_stays(tmp_path):
    store = Store(tmp_path)
    for value in (1, 2):
        store.commit(store.scratch("abc"), {"key": "abc", "status": "done", "value": value})
    assert store.record("abc") == {"key": "abc", "status": "done", "value": 1}


def test_a_crash_and_an_unreadable_record_give_way_to_another(tmp_path):
    store = Store(tmp_path)
    for status in ("crashed", "done"):
        store.commit(store.scratch("abc"), {"key": "abc", "status": status})
        assert store.record("abc") == {"key": "abc", "status": status}
    (tmp_path / "trials/abc/result.json").write_text('{"key": "a')
    assert store.record("abc") is None
    store.commit(store.scratch("abc"), {"key": "abc", "status": "done", "value": 2})
    assert store.record("abc") == {"key": "abc", "status": "done", "value": 2}


def test_a_record_that_is_no_json_number_is_not_written(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.commit(store.scratch("abc"), {"key": "abc", "value": float("nan")})
    assert store.record("abc") is None


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Choose another --out"):
        Store(tmp_path / "file" / "study").create({})

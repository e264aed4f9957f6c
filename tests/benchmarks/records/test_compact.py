"""`records.zip` gives back exactly what was put in, and says where it is damaged."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.records.columns import Column
from benchmarks.records.compact import CompactArchive, write_compact
from datamodules.errors import InputError

ENVIRONMENT = {"git": {"commit": "abc", "dirty": False}, "packages": {"torch": "2"}, "gpus": []}
CONFIG = {"seed_everything": 0, "model": {"name": "mlp", "hidden_dims": [8], "norm": None}, "data": {"name": "iris"}}


def record(key: str, **more) -> dict:
    opening = {
        "schema": 1,
        "key": key,
        "variant": "v",
        "seed": 0,
        "status": "done",
        "reason": "",
        "metrics": {"a": 0.1},
    }
    return {**opening, "environment": ENVIRONMENT, "config": CONFIG, **more}


def with_model(**values) -> dict:
    return {**CONFIG, "model": {**CONFIG["model"], **values}}


RECORDS = [
    record("plain"),
    record("other value", config=with_model(hidden_dims=[8, 8]), environment={**ENVIRONMENT, "gpus": ["A"]}),
    record("other keys", config=with_model(dropout=0.5)),
    record("other section", config={**CONFIG, "trainer": {}}),
    record("a list in place of a section", config={**CONFIG, "model": [1, {"a.b": None}]}),
    record("no section in place of one", config={"data": CONFIG["data"]}),
    record("other order", config=dict(reversed(CONFIG.items()))),
    record("an equal number of another type", config={**CONFIG, "seed_everything": 0.0}),
    record("another number of another type", config={**CONFIG, "seed_everything": False}),
    record("negative zero", config={**CONFIG, "seed_everything": -0.0}),
    record("no config", config=None, environment=None),
    record("ünicode \u2028 \n", reason="line 1\nline 2\u2028\x85"),
    record(
        "attempts",
        attempts=[record("attempts", status="crashed", config=with_model(norm="batch")), {"status": "unreadable"}, [1]],
    ),
    {"key": "pending", "variant": "v", "seed": 0, "status": "pending", "reason": "", "metrics": {}},
]


def test_records_come_back_with_their_order_and_types(tmp_path):
    write_compact(tmp_path / "records.zip", [(one, {}) for one in RECORDS])
    again = CompactArchive(tmp_path / "records.zip")
    assert [json.dumps(one) for one in again.records] == [json.dumps(one) for one in RECORDS]
    assert again.curves("plain") == {}
    assert again.records[0]["environment"] is again.records[2]["environment"], "kept in memory once"
    shared = json.loads(zipfile.ZipFile(tmp_path / "records.zip").read("shared.json"))
    assert shared["config"] == CONFIG
    assert shared["environments"] == [ENVIRONMENT, {**ENVIRONMENT, "gpus": ["A"]}, None]


TINY, NOT_SINGLE = 1e-42, 0.1 + 1e-12
CURVES = {
    "plain": {"epoch": [0, 1, 2], "val/loss": [0.1, 2.5, 1e-30], "lr": [1, 0.5, 0.25]},
    "gaps": {
        "epoch": [0, None, 2**40],
        "val/loss": [float("nan"), None, float("-inf")],
        "größe/ä b": ["a text", 1.5, ""],
    },
    "range": {"lr": [1e300, -1e39, TINY], "epoch": [7, 8, 9]},
    "long": {
        "epoch": list(range(50)),
        "val/loss": np.float32(np.linspace(0, 1, 50)).astype(str).astype(float).tolist(),
    },
}


def written(path: Path) -> CompactArchive:
    write_compact(path, [(record(key), curves) for key, curves in (*CURVES.items(), ("none", {}))])
    return CompactArchive(path)


def test_curves_come_back_whatever_is_in_them(tmp_path):
    archive = written(tmp_path / "records.zip")
    again = {key: {name: list(column) for name, column in archive.curves(key).items()} for key in CURVES}
    assert repr(again["gaps"]) == repr(CURVES["gaps"])
    assert again["long"] == CURVES["long"]
    assert again["plain"] == CURVES["plain"]
    assert again["range"] == CURVES["range"]
    assert list(archive.curves("range")) == ["lr", "epoch"], "in their order"
    assert archive.curves("none") == {}
    with pytest.raises(KeyError):
        archive.curves("range")["val/loss"]


def test_floats_are_rounded_to_single_precision():
    (value,) = Column.of([NOT_SINGLE])
    assert value == 0.1 != NOT_SINGLE
    assert Column.of([NOT_SINGLE]).floats().tolist() == [float(np.float32(NOT_SINGLE))]
    gaps = Column.of([None, "a text", "nan", "-inf", 1e300, 2]).floats()
    np.testing.assert_array_equal(gaps, [np.nan, np.nan, np.nan, -np.inf, np.inf, 2])


def test_the_same_records_give_the_same_bytes(tmp_path):
    first = written(tmp_path / "records.zip")
    curves = {key: first.curves(key) for key in (*CURVES, "none")}
    write_compact(tmp_path / "again.zip", [(one, curves[one["key"]]) for one in first.records])
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "records.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.zip", "records.zip"]


def test_a_column_can_be_read_with_numpy_alone(tmp_path):
    written(tmp_path / "records.zip")
    rows = np.load(tmp_path / "records.zip")["curves/val/loss"]
    np.testing.assert_array_equal(np.ascontiguousarray(rows.T).view("<f4").ravel()[:2], np.float32([0.1, 2.5]))


def changed(path: Path, entry: str, change) -> None:
    """Write the archive again with one entry changed, or left out where the change gives None."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries[entry] = change(entries[entry])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            if data is not None:
                archive.writestr(name, data)


def longer(data: bytes) -> bytes:
    array, file = np.load(io.BytesIO(data)), io.BytesIO()
    np.save(file, np.concatenate([array, array]))
    return file.getvalue()


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "records.zip"
    written(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"shared.json in .*records.zip cannot be read .*restore the file"):
        CompactArchive(path)


@pytest.mark.parametrize(
    ("entry", "change", "words"),
    [
        ("shared.json", lambda data: None, "shared.json in .*There is no item named"),
        ("shared.json", lambda data: data[:-9], "shared.json in .*restore the file"),
        ("shared.json", lambda data: b"[]", "shared.json in .*restore the file"),
        ("shared.json", lambda data: data.replace(b'"format": 2', b'"format": 3'), "has format 3.* only reads up to 2"),
        (
            "records.jsonl",
            lambda data: data.replace(b'"status"', b'"stat"', 1),
            "line 1 of records.jsonl in .*is not a",
        ),
        (
            "records.jsonl",
            lambda data: data.replace(b'"metrics": {', b'"metrics": null, "was": {', 1),
            "line 1 of records.jsonl in .*is not a",
        ),
        (
            "records.jsonl",
            lambda data: data.replace(b'"status": "done"', b'"status": ["done"]', 1),
            "line 1 of records.jsonl in .*is not a",
        ),
        ("records.jsonl", lambda data: data.replace(b'"environment": 0', b'"environment": 9', 1), "line 1 of records"),
        ("records.jsonl", lambda data: data[:-90], "line 5 of records.jsonl in .*is not a trial's record"),
        ("records.jsonl", lambda data: data.replace(b'"schema": 1', b'"schema": 7', 1), "line 1 .*has schema 7"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path, entry, change, words):
    written(tmp_path / "records.zip")
    changed(tmp_path / "records.zip", entry, change)
    with pytest.raises(InputError, match=words):
        CompactArchive(tmp_path / "records.zip")


def header(old: bytes, new: bytes):
    """Changes the header of an array, which has padding at its end, so that its length stays the same."""

    def change(data: bytes) -> bytes:
        assert old in data
        start, end = data.index(old), data.index(b"\n")
        fitted = (data[:start] + new + data[start + len(old) : end]).ljust(end)[:end]
        return fitted + data[end:]

    return change


HEADERS = [
    header(b"}", b"]"),
    header(b"{", b"("),
    header(b"(", b"(0"),
    header(b"(", b"(1" + b"0" * 30),
    header(b",), }", b"0000000000000,), }"),
    header(b"<i8", b"<c16"),
    header(b"<i8", b"<M8[s]"),
    header(b"<i8", b"<U2"),
    header(b"<i8", b"|O"),
]


@pytest.mark.parametrize("change", [lambda data: None, lambda data: data[:-3], longer, lambda data: b"text", *HEADERS])
def test_damaged_curves_are_named_when_they_are_asked_for(tmp_path, change):
    written(tmp_path / "records.zip")
    changed(tmp_path / "records.zip", "curves/epoch.npy", change)
    archive = CompactArchive(tmp_path / "records.zip")
    assert list(archive.curves("plain")["val/loss"]) == CURVES["plain"]["val/loss"]
    with pytest.raises(InputError, match=r"curves/epoch.npy in .*restore the file"):
        archive.curves("plain")["epoch"]


@pytest.mark.parametrize("entry", ["shared.json", "records.jsonl", "curves/a.npy", "more"])
def test_a_decompression_bomb_is_refused_before_it_is_read(tmp_path, monkeypatch, entry):
    write_compact(tmp_path / "good.zip", [(record("a"), {"a": [0.5, 1.0]})])
    path = tmp_path / "records.zip"
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for one in good.infolist():
            if one.filename != entry:
                bomb.writestr(one, good.read(one))
        bomb.writestr(entry, bytes(10**8), compresslevel=1)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *given: pytest.fail("the bomb is read"))
    with pytest.raises(
        InputError, match=r"records\.zip would decompress to 100,000,\d{3} bytes, which is not plausible"
    ):
        CompactArchive(path)


def test_columns_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(InputError, match="the curves of plain have columns of different lengths"):
        write_compact(tmp_path / "records.zip", [(record("plain"), {"a": [1], "b": [1, 2]})])
    assert not list(tmp_path.iterdir())

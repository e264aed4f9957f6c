import os

# Before torch is imported: small nets are faster on one thread, and numbers then do not depend on the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BLOCK, HEADER = 32 * 1024, 7
FULL, FIRST, LAST = 1, 2, 4  # kinds of a piece of a record; 3 is one between


@dataclass
class WandbRun:
    """An offline file of W&B, read back.

    Attributes:
        path: The file.
        run: Its record of the run: group, job type, tags and more.
        config: The config, nested.
        history: The rows, each with its numbers and media by name.
        summary: What the summary was last set to, by name.
        metrics: What `define_metric` said, by name or by the star that stands for the rest.
        artifacts: The names of its artifacts, each with the files in it.
        exit_code: As it ended; None of a run that did not.
    """

    path: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int | None = None

    def media(self, entry: dict[str, Any]) -> bytes:
        """The file of a table, a picture or a page in a row."""
        return (self.path.parent / "files" / entry["path"]).read_bytes()


def payloads(data: bytes) -> Iterator[bytes]:
    """The records of a file: `:W&B`, a magic number and a version, then blocks of pieces as LevelDB has them."""
    assert data[:4] == b":W&B"
    magic, version = struct.unpack("<HB", data[4:7])
    assert (magic, version) == (0xBEE1, 0)
    at, parts = HEADER, []
    while at + HEADER <= len(data):
        if (left := BLOCK - at % BLOCK) < HEADER:  # no room for the header of another piece
            at += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        piece = data[at + HEADER : at + HEADER + length]
        if len(piece) < length:
            return  # half written
        assert zlib.crc32(piece, zlib.crc32(bytes([kind]))) == checksum
        at += HEADER + length
        parts.append(piece)
        assert (kind in (FULL, FIRST)) == (len(parts) == 1)
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def read_wandb_file(path: Path) -> WandbRun:
    """Read an offline file of W&B."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = WandbRun(path)
    for payload in payloads(path.read_bytes()):
        record = Record.FromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            _update(found.config, record.run.config)
        elif kind == "config":
            _update(found.config, record.config)
        elif kind == "history":
            found.history.append({_name(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            found.summary |= {_name(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "metric":
            found.metrics[record.metric.name or record.metric.glob_name] = record.metric
        elif kind == "artifact":
            found.artifacts[record.artifact.name] = [entry.path for entry in record.artifact.manifest.contents]
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def _name(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _update(config: dict[str, Any], record: Any) -> None:
    for item in record.update:
        *above, last = item.nested_key or [item.key]
        inner = config
        for key in above:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)


@pytest.fixture
def wandb_runs():
    """Reads the offline files of W&B below a folder: of each run that is there, by its id."""

    def read(folder: str | Path) -> dict[str, WandbRun]:
        files = sorted(Path(folder).glob("wandb/offline-run-*/run-*.wandb"))
        runs = {file.stem.removeprefix("run-"): read_wandb_file(file) for file in files}
        assert len(runs) == len(files), "a run stands in two files"
        return runs

    return read


@pytest.fixture
def no_wandb(tmp_path, monkeypatch):
    """As on a machine where W&B was never used: no key, no settings, no mode."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

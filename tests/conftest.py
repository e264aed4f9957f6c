import os
import sys

# Before torch is imported: small nets are faster on one thread, and numbers then do not depend on the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import base64
import gc
import json
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

# Without byte code on disk, each fresh process compiles torch and Lightning again: 15 s of CPU to import them, not 6.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Files that take longest come first, so that no core waits for one of them at the end.
LONGEST = (
    "test_fuzz.py",
    "test_readme.py",
    "test_two_processes.py",
    "test_several_devices.py",
    "test_kill.py",
    "test_results.py",
    "test_slurm.py",
    "test_ray.py",
    "test_several_processes.py",
    "test_wandb_page.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """Keep the garbage collector off what is imported: Holm's correction in statsmodels runs it, for .3 s each time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give whole files to the testers, and all tests that start a Ray cluster to one: two clusters would collide."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if "test_ray" in file or "test_readme" in file else file

    return ByFile(config, log)


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
def wandb_files():
    """Reads the offline files of W&B below a folder."""

    def read(folder: str | Path) -> list[WandbRun]:
        return [read_wandb_file(file) for file in sorted(Path(folder).glob("wandb/offline-run-*/run-*.wandb"))]

    return read


@pytest.fixture
def wandb_runs(wandb_files):
    """Reads the offline files of W&B below a folder: of each run that is there, by its id."""

    def read(folder: str | Path) -> dict[str, WandbRun]:
        files = wandb_files(folder)
        runs = {one.path.stem.removeprefix("run-"): one for one in files}
        assert len(runs) == len(files), "a run stands in two files"
        return runs

    return read


# --- the server ----------------------------------------------------------------------------------------------------

KEY = "k" * 40


class WandbServer(ThreadingHTTPServer):
    """Answers as W&B's server does, as far as its client asks; started by `with`.

    Attributes:
        runs: What clients said of each run, by its id: the last `upsertBucket`, and the lines of its files by name.
        artifacts: The artifacts, by number.
        uploads: What was uploaded, by path.
        dies_after: How many runs it takes before it swallows all that comes.
        entity: Whose the key is.
        refuses: The ids of runs that it does not take.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}
        self.dies_after: int | None = None
        self.dead = False
        self.closed = threading.Event()
        self.key = KEY
        self.entity = "tester"
        self.refuses: set[str] = set()

    def __enter__(self) -> "WandbServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closed.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business."""

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run."""
        return [json.loads(line) for line in self.runs[run_id].get("wandb-history.jsonl", [])]

    def config(self, run_id: str) -> dict[str, Any]:
        """The config of a run."""
        return {name: entry["value"] for name, entry in json.loads(self.runs[run_id]["config"]).items()}

    def say(self, name: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The answer to a GraphQL operation."""
        project = {"id": "P", "name": said.get("project") or "none", "entity": {"id": "E", "name": self.entity}}
        run = said.get("name") or ""
        if name in ("Viewer", "GetDefaultEntity"):
            viewer = {"id": "V", "entity": self.entity, "username": "tester", "email": "", "flags": "{}"}
            return 200, {"viewer": {**viewer, "teams": {"edges": []}}}
        if name == "RunResumeStatus":
            bucket = None
            if run in self.runs:
                lines = self.runs[run].get("wandb-history.jsonl", [])
                bucket = {"id": "R", "name": run, "displayName": run, "tags": [], "notes": "", "summaryMetrics": "{}"}
                bucket |= {"logLineCount": 0, "eventsLineCount": 0, "eventsTail": "[]", "wandbConfig": '{"t": 1}'}
                bucket |= {"historyLineCount": len(lines), "historyTail": json.dumps(lines[-1:])}
                bucket |= {"config": self.runs[run].get("config", "{}")}
            return 200, {"model": {**project, "bucket": bucket}}
        if name == "UpsertBucket":
            if said.get("project") == "forbidden" or run in self.refuses:
                return 403, {}
            self.runs.setdefault(run, {}).update({k: v for k, v in said.items() if v is not None})
            bucket = {"id": "R", "name": run, "displayName": run, "description": "", "config": "{}", "sweepName": None}
            return 200, {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/{said['run']}/{file}"} for file in said["files"]]
            return 200, {"createRunFiles": {"runID": "R", "uploadHeaders": [], "files": files}}
        if name == "CreateArtifact":
            self.artifacts.append(said["input"])
            made = {"id": str(len(self.artifacts)), "state": "PENDING", "aliases": []}
            made["artifactSequence"] = {"id": "S", "latestArtifact": None}
            return 200, {"createArtifact": {"artifact": made}}
        if name == "CreateArtifactManifest":
            file = {"id": "F", "uploadUrl": f"{self.url}/manifest/{said['artifactID']}", "uploadHeaders": []}
            return 200, {"createArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}
        if name == "CreateArtifactFiles":
            nodes = [
                {"storagePath": f["name"], "uploadUrl": f"{self.url}/artifact/{f['artifactID']}/{f['name']}"}
                | {"uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": f["artifactID"]}}
                for f in said["input"]["artifactFiles"]
            ]
            return 200, {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        plain: dict[str, dict[str, Any]] = {
            "ServerFeaturesQuery": {"serverInfo": {"features": []}},
            "CommitArtifact": {"commitArtifact": {"artifact": {"id": "1", "digest": ""}}},
            "ArtifactType": {"project": {"artifact": None}},
            "OrganizationCoreWeaveOrganizationID": {"entity": {"organization": {"coreWeaveOrganizationId": None}}},
        }
        return (200, plain[name]) if name in plain else (400, {})


class Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_PUT(self) -> None:
        self.server.uploads[self.path] = self._body()
        self._answer(200, {})

    def do_POST(self) -> None:
        said = json.loads(self._body())
        if self.path == "/graphql":
            key = base64.b64encode(f"api:{KEY}".encode()).decode()
            if key not in self.headers.get("Authorization", ""):
                return self._answer(401, {"errors": [{"message": "user is not logged in"}]})
            status, data = self.server.say(
                re.search(r"(?:query|mutation)\s+(\w+)", said["query"])[1], said.get("variables") or {}
            )
            errors = {} if status == 200 else {"errors": [{"message": "permission denied"}]}
            return self._answer(status, {"data": data, **errors})
        *_, run, kind = self.path.split("/")
        assert kind == "file_stream"
        held = self.server.runs.setdefault(run, {})
        for name, part in (said.get("files") or {}).items():
            held[name] = held.get(name, [])[: part["offset"]] + part["content"]
        held |= {name: said[name] for name in ("complete", "exitcode") if name in said}
        return self._answer(200, {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        limit = self.server.dies_after
        if self.server.dead or (limit is not None and len(self.server.runs) > limit):
            self.server.dead = True  # as if the network were gone: no word more
            self.server.closed.wait()
            self.close_connection = True
            return
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def wandb_server(no_wandb, monkeypatch):
    """A server of W&B that the environment names, with the key that it takes."""
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


@pytest.fixture
def no_wandb(tmp_path, monkeypatch):
    """As on a machine where W&B was never used: no key, no settings, no mode."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

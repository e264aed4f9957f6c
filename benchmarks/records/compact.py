"""The file of an archive: `records.zip`, the records of a study and their learning curves.

It is an ordinary ZIP file with these entries:

- `shared.json`: what many records have in common. `environments` lists the distinct environments, `config` is the
  config of the first record, `columns` lists the distinct lists of curve names.
- `records.jsonl`: one line per trial, in the study's order. A record is as in a trial's `result.json`, but its
  `environment` is an index into `environments`, its `config` lists the differences from the shared one as pairs of path
  and value, and its `curves` has an index into `columns`, the number of epochs, and what an array cannot hold.
- `curves/NAME.npy`: one column of the curves of all trials, joined in the order of the lines. Integers are `int64`.
  Floats are single precision, stored as 4 rows of bytes (the first row has the first byte of each number), which takes
  15 % less space when compressed: `np.ascontiguousarray(rows.T).view("<f4").ravel()` gives the numbers.
"""

import contextlib
import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import InputError, require
from zoo.outputs.files import write_atomically

from .columns import Column, Curves
from .reading import REMEDY, check_record
from .record_file import Record

ARCHIVE = "records.zip"
FORMAT = 2  # 1 is `records.jsonl`, see `reading`
SHARED, LINES = "shared.json", "records.jsonl"
# Bytes of content that are read: shipped archives are at most 7 times as large as their files, a bomb 1,000 times.
ALWAYS, PER_BYTE = 2**26, 20
DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError),
    *(zlib.error, zipfile.BadZipFile),
    *(SyntaxError, tokenize.TokenError, OverflowError, MemoryError),  # of the header of an array
)


def write_compact(path: Path, trials: Iterable[tuple[Record, Curves]]) -> None:
    """Write the records of a study and their curves; the same records give the same bytes.

    Args:
        path: The file.
        trials: Each record with its curves, which may be empty.

    Raises:
        InputError: The columns of a trial's curves have different lengths.
    """
    shared, lines = _Shared(), []
    columns: dict[str, list[Column]] = {}
    for record, curves in trials:
        line = shared.shorten(record)
        if curves:
            own = {name: Column.of(values) for name, values in curves.items()}
            lengths = {len(column) for column in own.values()}
            require(len(lengths) == 1, f"the curves of {record['key']} have columns of different lengths.")
            line["curves"] = {"columns": shared.place("columns", list(own)), "epochs": lengths.pop()}
            if others := {name: list(c.others.items()) for name, c in own.items() if c.others}:
                line["curves"]["others"] = others
            for name, column in own.items():
                columns.setdefault(name, []).append(column)
        lines.append(json.dumps(line, allow_nan=False) + "\n")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, SHARED, json.dumps(shared.contents(), allow_nan=False).encode())
        _add(archive, LINES, "".join(lines).encode())
        for name in sorted(columns):
            array = io.BytesIO()
            np.lib.format.write_array(array, _joined(columns[name]), allow_pickle=False)
            _add(archive, _entry(name), array.getvalue())
    write_atomically(path, file.getvalue())


class CompactArchive:
    """The records of a `records.zip`, read once; a column of curves is read when it is first asked for.

    Attributes:
        path: The file.
        records: One per trial, in the study's order. They share values with each other, so must not be changed.

    Raises:
        InputError: The file is damaged, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: dict[str, NDArray[Any]] = {}
        self._starts: dict[str, dict[str, int]] = {}  # of each trial in each column
        self._totals: dict[str, int] = {}
        self._about: dict[str, dict[str, Any]] = {}  # what each line says about its curves
        with self._sound(SHARED):
            with zipfile.ZipFile(path) as archive:
                content = sum(entry.file_size for entry in archive.infolist())
            most = ALWAYS + PER_BYTE * path.stat().st_size
            require(content <= most, f"{path} would decompress to {content:,} bytes, which is not plausible; {REMEDY}")
            shared = json.loads(self._read(SHARED))
            require(
                shared["format"] == FORMAT,
                f"{path} has format {shared['format']}, but this version only reads up to {FORMAT}; use the version of "
                "ablation-zoo that wrote it.",
            )
            self._names: list[list[str]] = shared["columns"]
        self.records = []
        for number, text in enumerate(self._read(LINES).splitlines(), 1):
            where = f"line {number} of {LINES} in {path}"
            try:
                line = json.loads(text)
                curves = line.pop("curves", None)
                record = _restored(line, shared)
                if curves:
                    self._note(record["key"], curves)
            except DAMAGE:
                record = None
            self.records.append(check_record(record, where))

    def curves(self, key: str) -> Curves:
        """The curves of a trial; empty if it has none.

        Raises:
            InputError: They are damaged; raised when a column is looked up.
        """
        if key not in self._about:
            return {}
        return _TrialCurves(self, key, self._names[self._about[key]["columns"]])

    def column(self, key: str, name: str) -> Column:
        """One column of a trial's curves."""
        if name not in self._columns:
            with self._sound(_entry(name)):
                array = np.lib.format.read_array(io.BytesIO(self._read(_entry(name))), allow_pickle=False)
                if array.dtype == np.uint8:
                    array = np.ascontiguousarray(array.T).view("<f4").ravel()
                require(
                    array.shape == (self._totals[name],) and array.dtype in (np.int64, np.float32),
                    f"{_entry(name)} in {self.path} has the wrong length or type; {REMEDY}",
                )
                self._columns[name] = array
        about, start = self._about[key], self._starts[name][key]
        with self._sound(LINES):
            others = {int(n): value for n, value in about.get("others", {}).get(name, ())}
        return Column(self._columns[name][start : start + about["epochs"]], others)

    def _note(self, key: str, about: dict[str, Any]) -> None:
        self._about[key] = about
        for name in self._names[about["columns"]]:
            start = self._totals.get(name, 0)
            self._starts.setdefault(name, {})[key] = start
            self._totals[name] = start + about["epochs"]

    def _read(self, entry: str) -> bytes:
        with self._sound(entry), zipfile.ZipFile(self.path) as archive:
            return archive.read(entry)

    @contextlib.contextmanager
    def _sound(self, entry: str) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except DAMAGE as error:
            raise InputError(f"{entry} in {self.path} cannot be read ({error}); {REMEDY}") from None


class _TrialCurves(Mapping[str, Column]):
    """The curves of one trial, a column read when it is looked up."""

    def __init__(self, archive: CompactArchive, key: str, names: Sequence[str]) -> None:
        self._archive, self._key, self._names = archive, key, names

    def __getitem__(self, name: str) -> Column:
        if name not in self._names:
            raise KeyError(name)
        return self._archive.column(self._key, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Shared:
    """Collects the values that records have in common."""

    def __init__(self) -> None:
        self._config: Any = None
        self._places: dict[str, dict[str, int]] = {"environments": {}, "columns": {}}

    def contents(self) -> dict[str, Any]:
        lists = {name: [json.loads(text) for text in places] for name, places in self._places.items()}
        return {"format": FORMAT, "config": self._config, **lists}

    def place(self, name: str, value: Any) -> int:
        places = self._places[name]
        return places.setdefault(json.dumps(value, allow_nan=False), len(places))

    def shorten(self, record: Record) -> Record:
        short = dict(record)
        if "environment" in record:
            short["environment"] = self.place("environments", record["environment"])
        if "config" in record:
            self._config = record["config"] if self._config is None else self._config
            short["config"] = list(_changes(self._config, record["config"]))
        if "attempts" in record:
            short["attempts"] = [self.shorten(one) if isinstance(one, dict) else one for one in record["attempts"]]
        return short


def _restored(line: Any, shared: dict[str, Any]) -> Record:
    """A record from its line; the opposite of `_Shared.shorten`."""
    record = dict(line)
    if "environment" in record:
        record["environment"] = shared["environments"][record["environment"]]
    if "config" in record:
        config = shared["config"]
        for path, value in record["config"]:
            config = _put(config, path, value)
        record["config"] = config
    if "attempts" in record:
        record["attempts"] = [_restored(one, shared) if isinstance(one, dict) else one for one in record["attempts"]]
    return record


def _changes(base: Any, value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The differences between two configs, from which `_put` restores the second, including the order of its keys."""
    if isinstance(base, dict) and isinstance(value, dict) and list(base) == list(value):
        for name in base:
            yield from _changes(base[name], value[name], (*path, name))
    elif repr(base) != repr(value):  # 1, 1.0 and True are equal but not identical
        yield path, value


def _put(base: Any, path: Sequence[str], value: Any) -> Any:
    return {**base, path[0]: _put(base[path[0]], path[1:], value)} if path else value


def _joined(columns: Sequence[Column]) -> NDArray[Any]:
    """One column of all trials as stored."""
    if all(column.numbers.dtype.kind == "i" for column in columns):
        return np.concatenate([column.numbers for column in columns]).astype("<i8")
    numbers = np.concatenate([column.numbers.astype("<f4") for column in columns])
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 4).T)


def _entry(column: str) -> str:
    return f"curves/{column}.npy"


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add an entry with a fixed timestamp."""
    entry = zipfile.ZipInfo(name)  # dated 1980
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    archive.writestr(entry, data, compresslevel=9)

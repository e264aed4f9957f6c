"""Ways to damage bytes, nested values, and folders."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from .driver import Prepare
from .values import LONG, VALUES


def damaged(data: bytes, draw: Random) -> tuple[bytes, str]:
    """Damage a file's bytes in one of several ways."""
    way = draw.choice(("flip", "flips", "cut", "double", "insert", "remove", "swap", "zeros", "append", "encoding"))
    place = draw.randrange(len(data)) if data else 0
    end = min(len(data), place + draw.choice((1, 4, 40, 400)))
    piece = data[place:end]
    if way in ("flip", "flips"):
        changed = bytearray(data)
        for _ in range(1 if way == "flip" else 20):
            if changed:
                changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed), way
    junk = draw.choice(
        (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x1b", b"\xe2\x80\xa8", b"{[", b"'\"", b"9" * 5000)
    )
    changes = {
        "cut": data[:place],
        "double": data[:end] + data[place:],
        "insert": data[:place] + junk + data[place:],
        "remove": data[:place] + data[end:],
        "swap": data[:place] + piece[::-1] + data[end:],
        "zeros": data[:place] + bytes(len(piece)) + data[end:],
        "append": data + junk * 3,
        "encoding": data.decode("latin-1").encode(draw.choice(("utf-16", "utf-32-be", "utf-8-sig"))),
    }
    return changes[way], f"{way} at byte {place}"


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*place, key)
        yield from places(child, (*place, key))


def changed(value: Any, draw: Random, values: tuple[Any, ...] = VALUES) -> tuple[Any, str]:
    """Nested dicts and lists with another value, a key too many or a key too few."""
    value = copy.deepcopy(value)
    *above, last = draw.choice(list(places(value)))
    inner = value
    for key in above:
        inner = inner[key]
    way = draw.choice(("value", "value", "value", "value", "remove", "rename", "nest"))
    name = ".".join(map(str, (*above, last)))
    if way == "remove":
        del inner[last]
    elif way == "rename" and isinstance(inner, dict):
        inner[draw.choice(("x", "", "é", LONG, "a.b", "\x1b[2J", f"{last} "))] = inner.pop(last)
    elif way == "nest":
        inner[last] = draw.choice(([inner[last]], {"x": inner[last]}, {str(last): inner[last]}, str(inner[last])))
    else:
        way, inner[last] = "value", draw.choice(values)
    return value, f"{way} of {name}"


def copied(material: Path, names: list[str], files: dict[str, bytes]) -> Prepare:
    """Copies good files and folders, and writes others."""

    def prepare(folder: Path) -> None:
        for name in names:
            source, target = material / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target, symlinks=True) if source.is_dir() else shutil.copy(source, target)
        for name, data in files.items():
            write(folder / name, data)

    return prepare


def write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def both(first: Prepare, second: Prepare) -> Prepare:
    def prepare(folder: Path) -> None:
        first(folder)
        second(folder)

    return prepare

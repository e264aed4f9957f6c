"""The one reader of YAML, for configs, studies and values on the command line: bounded, with the line of each value.

Scalars mean what YAML 1.2 says: `on`, `off`, `yes`, `no`, `1:30`, `1_000` and dates are text, `1e-3` is a number. A
number with leading zeros, such as `010`, is text as well, because it may be a code; options that are numbers take it
as ten, never as eight. Imports neither torch nor lightning.
"""

import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import InputError

Place = tuple[str | int, ...]  # keys and list positions from the top: ("vary", "model.activation", 1)
MAX_BYTES = 1_000_000  # the largest file of this project has 7 kB
MAX_DEPTH = 50
MAX_VALUES = 30_000  # values and keys, those of aliases counted each time: an alias bomb has billions
TEXT_LISTS = ("drop",)  # keys whose lists contain names: `[on, 1, null]` are three texts
TAG = "tag:yaml.org,2002:"


def read_yaml(path: Path) -> tuple[Any, str, dict[Place, int]]:
    """Read a YAML file: its content, its text, and the line of each value.

    Raises:
        InputError: The file cannot be read or parsed, is not a regular file, is too large or too deep, has a duplicate
            key, or contains a value that is not plain.
    """
    lines: dict[Place, int] = {}
    try:
        text = _read(path)
        return _parse(text, (), lines), text, lines
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {_sentence(error)}") from None
    except PlaceError as error:
        raise InputError(f"{path}, line {error.line or lines.get(error.place, 1)}: {error}") from None


def parse_value(text: str, key: str = "") -> Any:
    """Parse a value from the command line as in a YAML file.

    Args:
        text: The value.
        key: The dotted key that it belongs to.

    Raises:
        InputError: The text is not valid YAML, or not a plain value.
    """
    try:
        return _parse(text, (key,), {})
    except yaml.YAMLError:
        raise InputError(f"{text!r} is not a valid YAML value; quote text with special characters.") from None
    except PlaceError as error:
        raise InputError(f"{text!r} is not a valid value: {error}" if error.line else str(error)) from None


def load_option(text: str) -> Any:
    """Parse an option's value for jsonargparse, whose types then accept or reject it; infinity is a number here."""
    loader = Loader(text)
    node = loader.get_single_node()
    _walk(node, (), {})
    value = None if node is None else loader.construct_document(node)
    if isinstance(node, yaml.MappingNode) and node.value and all(map(_is_missing, node.value)):
        return text  # `{a, b}` and `a:` are text, as in jsonargparse's own loader; `{a: null}` is a mapping
    return value


def _is_missing(item: tuple[yaml.Node, yaml.Node]) -> bool:
    return item[1].value == "" and item[1].tag == TAG + "null"


def dump(content: Any) -> str:
    """Write plain values as YAML which `read_yaml` and readers of YAML 1.1 read in the same way."""
    return yaml.dump(content, Dumper=FastDumper, sort_keys=False)


class Loader(yaml.SafeLoader):
    """A loader with the scalars of YAML 1.2, which limits the depth."""

    depth = count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As in the base class, up to a depth at which Python's stack is safe."""
        self.depth, self.count = self.depth + 1, self.count + 1
        line = self.peek_event().start_mark.line + 1
        if self.depth > MAX_DEPTH:
            raise PlaceError(f"values are nested more than {MAX_DEPTH} deep; use fewer levels.", (), line)
        if self.count > 2 * MAX_VALUES:
            raise _too_many(line)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As in the base class, which does not catch the ValueError of an invalid date or number."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:  # of a value with a tag that it does not fit
            problem = f"{node.value!r} does not fit its tag" if type(error) is not ValueError else str(error)
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


class Dumper(yaml.SafeDumper):
    """A dumper that quotes text which `Loader` or a reader of YAML 1.1 would parse as anything else."""


class FastDumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """The same, ten times faster with libyaml."""


INT = re.compile(r"[-+]?(0|[1-9][0-9]*)$|0o[0-7]+$|0x[0-9a-fA-F]+$")
FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*)([eE][-+]?[0-9]+)?$|[-+]?(0|[1-9][0-9]*)[eE][-+]?[0-9]+$"
    r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
SCALARS = (
    ("null", re.compile(r"~$|null$|Null$|NULL$|$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", INT, list("-+0123456789")),
    ("float", FLOAT, list("-+.0123456789")),
    ("merge", re.compile(r"<<$"), ["<"]),
)
Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in SCALARS:
    for _class in (Loader, Dumper, FastDumper):
        _class.add_implicit_resolver(TAG + _tag, _pattern, _first)


class PlaceError(InputError):
    """A value that is not allowed in a config, found at `place`, or on a line."""

    def __init__(self, sentence: str, place: Place, line: int = 0) -> None:
        super().__init__(sentence)
        self.place, self.line = place, line


def plain(value: Any, place: Place = ()) -> Any:
    """Check that a YAML value consists of dicts with text keys, lists, text, finite numbers, booleans and null.

    Raises:
        PlaceError: The value contains anything else, such as a date.
    """
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise PlaceError(f"the key {key!r} must be text; put it in quotes.", (*place, str(key)))
            _check_text(key, place)
        return {k: plain(v, (*place, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v, (*place, index)) for index, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise PlaceError(f"{value} is not a finite number; use null for no value.", place)
    if value is not None and not isinstance(value, str | int | float):
        raise PlaceError(f"{value} is not text, a number, true, false or null; put text in quotes.", place)
    if isinstance(value, str):
        _check_text(value, place)
    return value


def check_texts(value: Any, place: Place = ()) -> None:
    """Reject text that cannot be stored, also inside of dicts, lists and tuples; other values are not checked.

    Raises:
        PlaceError: There is such text.
    """
    if isinstance(value, str):
        _check_text(value, place)
    for inner in (*value.keys(), *value.values()) if isinstance(value, dict) else ():
        check_texts(inner, place)
    for inner in value if isinstance(value, list | tuple) else ():
        check_texts(inner, place)


def _too_many(line: int) -> PlaceError:
    return PlaceError(f"there are more than {MAX_VALUES:,} values, aliases included; use fewer.", (), line)


def _check_text(value: str, place: Place) -> None:
    r"""Reject what no file name, file or terminal can hold: "\0", and "\ud800", half of a character."""
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        what = "a null character" if "\0" in value else "half of a surrogate pair"
        raise PlaceError(f"the text {value!a} contains {what}, which cannot be stored; remove it.", place)


def _read(path: Path) -> str:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a regular file; pass a YAML file.")
    if status.st_size > MAX_BYTES:
        raise InputError(f"{path} has {status.st_size:,} bytes; configs and studies have at most {MAX_BYTES:,}.")
    return path.read_text(encoding="utf-8")


def _parse(text: str, place: Place, lines: dict[Place, int]) -> Any:
    loader = Loader(text)
    node = loader.get_single_node()
    _walk(node, place, lines)
    content = None if node is None else loader.construct_document(node)
    return plain(content)


def _sentence(error: yaml.YAMLError) -> str:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    said = str(error) if problem is None else problem if mark is None else f"{problem} (line {mark.line + 1})"
    return " ".join(said.encode("utf-8", "backslashreplace").decode().split())


def _walk(node: yaml.Node | None, place: Place, lines: dict[Place, int]) -> None:
    """Record the lines of a node and its children; reports duplicate keys, which SafeLoader silently overwrites.

    Lists of names become lists of texts.
    """
    count = 0
    inside: set[int] = set()

    def walk(node: yaml.Node | None, place: Place) -> None:
        nonlocal count
        count += 1
        line = 1 if node is None else node.start_mark.line + 1
        if count > MAX_VALUES:
            raise _too_many(line)
        if id(node) in inside:
            raise PlaceError("an alias refers to itself; remove it.", (), line)
        inside.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, child in enumerate(node.value):
                lines[(*place, index)] = child.start_mark.line + 1
                walk(child, (*place, index))
            if place and str(place[-1]).rpartition(".")[2] in TEXT_LISTS:
                _make_texts(node)
        if isinstance(node, yaml.MappingNode):
            for key, child in node.value:
                here = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise PlaceError("a key must be text, not a list or mapping.", (), here)
                if key.tag.rpartition(":")[2] in ("int", "float", "bool", "null", "timestamp"):
                    raise PlaceError(f"the key {key.value or 'null'} must be text; put it in quotes.", (), here)
                inner = (*place, str(key.value))
                if inner in lines and key.tag != TAG + "merge":
                    raise PlaceError(f"the key {key.value!r} is given twice.", (), here)
                lines[inner] = here
                walk(child, inner)
        inside.discard(id(node))

    walk(node, place)


def _make_texts(node: yaml.SequenceNode) -> None:
    scalars: Iterator[yaml.ScalarNode] = (
        child for value in node.value for child in ([value] if isinstance(value, yaml.ScalarNode) else value.value)
    )
    for child in scalars:
        if isinstance(child, yaml.ScalarNode):
            child.tag = TAG + "str"

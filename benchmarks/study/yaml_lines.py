"""YAML with the line of each value, for error messages."""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import InputError

Place = tuple[str | int, ...]  # keys and list positions from the top: ("vary", "model.activation", 1)


def read_yaml(path: Path) -> tuple[Any, str, dict[Place, int]]:
    """Read a YAML file: its content, its text, and the line of each value.

    Raises:
        InputError: The file cannot be read or parsed, has a duplicate key, or contains a value that is not plain.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = Loader(text)
        node = loader.get_single_node()
        lines: dict[Place, int] = {}
        _walk(path, node, (), lines)
        content = None if node is None else loader.construct_document(node)
        return plain(content), text, lines
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    except RecursionError:
        raise InputError(f"{path} contains an alias that refers to itself; remove it.") from None
    except NotPlainError as error:
        raise InputError(f"{path}, line {lines.get(error.place, 1)}: {error}") from None


def parse_value(text: str) -> Any:
    """Parse a value from the command line as in a YAML file.

    Raises:
        InputError: The text is not valid YAML, or not a plain value.
    """
    try:
        return plain(yaml.load(text, Loader))
    except (yaml.YAMLError, RecursionError):
        raise InputError(f"{text!r} is not a valid YAML value; quote text with special characters.") from None


class Loader(yaml.SafeLoader):
    """A loader with two rules of YAML 1.2: `on`, `off`, `yes` and `no` are text, and 1e-3 is a number."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As in the base class, which does not catch the ValueError of an invalid date or number."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


class Dumper(yaml.SafeDumper):
    """A dumper that quotes text which `Loader` would parse as a number."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
EXPONENT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)[eE][+-]?\d+$")
for _class in (Loader, Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("+-.0123456789"))


class NotPlainError(InputError):
    """A value that is not allowed in a config, found at `place`."""

    def __init__(self, sentence: str, place: Place) -> None:
        super().__init__(sentence)
        self.place = place


def plain(value: Any, place: Place = ()) -> Any:
    """Check that a YAML value consists of dicts with text keys, lists, text, finite numbers, booleans and null.

    Raises:
        NotPlainError: The value contains anything else, such as a date.
    """
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise NotPlainError(f"the key {key!r} must be text; put it in quotes.", (*place, str(key)))
        return {k: plain(v, (*place, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v, (*place, index)) for index, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise NotPlainError(f"{value} is not a finite number; use null for no value.", place)
    if value is not None and not isinstance(value, str | int | float):
        raise NotPlainError(f"{value} is not text, a number, true, false or null; put text in quotes.", place)
    return value


def _walk(path: Path, node: yaml.Node | None, place: Place, lines: dict[Place, int]) -> None:
    """Record the lines of a node and its children; reports duplicate keys, which SafeLoader silently overwrites."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            lines[(*place, index)] = child.start_mark.line + 1
            _walk(path, child, (*place, index), lines)
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if key.tag.rpartition(":")[2] in ("int", "float", "bool", "null", "timestamp"):
                where = f"{path}, line {key.start_mark.line + 1}"
                raise InputError(f"{where}: the key {key.value or 'null'} must be text; put it in quotes.")
            here = (*place, str(key.value))
            if here in lines and key.value != "<<":
                raise InputError(f"{path}, line {key.start_mark.line + 1}: the key {key.value!r} is given twice.")
            lines[here] = key.start_mark.line + 1
            _walk(path, child, here, lines)

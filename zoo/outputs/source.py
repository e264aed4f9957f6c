"""Which modules a Python file may import, and what of its source a number can depend on. Reads files, imports none."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Find = Callable[[str], Path | None]
TARGET = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")  # "module:Class", as registries name what they load
FORMATTED = re.compile(r"\w*[fFtT]\w*['\"]")  # such a string may call functions
OPENING = ("FSTRING_START", "TSTRING_START")  # Python 3.12 and 3.14 split such strings into tokens
CLOSING = ("FSTRING_END", "TSTRING_END")


def closure(entries: Iterable[str], find: Find) -> dict[str, Path]:
    """All modules that some modules import, directly or not, with the packages that they are in.

    Every `import` statement counts, wherever it stands: in functions, in branches, in `try`; only the body of
    `if TYPE_CHECKING` does not, as it never runs. So do names in strings: `importlib.import_module("name")`, and
    "module:Class" as registries have it. Not seen are names that are computed, as by
    `importlib.import_module(f"models.{name}")`, files that are executed otherwise (`runpy`, `exec`), and what a changed
    `sys.path` or `__path__` adds.

    Args:
        entries: Their dotted names.
        find: Gives the file of a module by its dotted name; None for those that do not count.

    Returns:
        Dotted names to files.
    """
    seen: set[str] = set()
    found: dict[str, Path] = {}
    waiting = list(entries)
    while waiting:
        parts = waiting.pop().split(".")
        for n in range(1, len(parts) + 1):
            name = ".".join(parts[:n])
            if name in seen:
                continue
            seen.add(name)
            file = find(name)
            if file is None:
                continue
            found[name] = file
            if file.suffix == ".py":
                package = name if file.name == "__init__.py" else name.rpartition(".")[0]
                waiting += imported(file.read_bytes(), package)
    return found


def imported(source: bytes, package: str) -> set[str]:
    """The dotted names that a file may import, of modules or of what is in them; see `closure`.

    Args:
        source: The file's content. One that is no Python imports nothing.
        package: The package that it is in; empty for none.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    return {name for node in _running(tree) for name in _names(node, package)}


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all within it, without what is for type checkers alone."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in (getattr(node.test, a, None) for a in ("id", "attr")):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package)
        yield from (name for alias in node.names for name in (base, f"{base}.{alias.name}"))
    elif isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        if called in ("import_module", "__import__") and isinstance(first, ast.Constant) and type(first.value) is str:
            yield _absolute(first.value, package)
    elif isinstance(node, ast.Constant) and type(node.value) is str and (target := TARGET.fullmatch(node.value)):
        yield target[1]
        if package:  # the registries of this project put their package's name before it
            yield f"{package}.{target[1]}"


def _absolute(name: str, package: str) -> str:
    """A module's dotted name from one that may be relative to a package."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([bare] if bare else [])])


def significant(source: bytes) -> bytes:
    """A file's source without what no number depends on: comments, docstrings, blank lines, spaces and line breaks.

    It goes by tokens, each as it is spelled. Unlike bytecode, or a syntax tree that is printed, that is the same in
    every version of Python which can read the file. A file that is no Python counts as it is.
    """
    try:
        return "\0".join(_tokens(source)).encode()
    except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return source


def _tokens(source: bytes) -> Iterator[str]:
    """The tokens that count, in order; a statement that is nothing but strings, as a docstring is, does not."""
    statement: list[str] = []
    only_strings = True
    for kind, token in _whole_strings(source):
        if kind in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
            continue
        if kind in (tokenize.INDENT, tokenize.DEDENT):
            yield "\1" if kind == tokenize.INDENT else "\2"
        elif kind in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if statement and not only_strings:
                yield from (*statement, "\n")
            statement, only_strings = [], True
        else:
            statement.append(token)
            only_strings = only_strings and kind == tokenize.STRING and not FORMATTED.match(token)


def _whole_strings(source: bytes) -> Iterator[tuple[int, str]]:
    """Kinds and spellings of tokens, f-strings in one piece, as Python 3.11 has them."""
    lines: list[str] = []
    depth, start = 0, (0, 0)
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name == "ENCODING":
            lines = io.TextIOWrapper(io.BytesIO(source), token.string).read().splitlines(keepends=True)
        if name in OPENING:
            start = start if depth else token.start
            depth += 1
        elif name in CLOSING:
            depth -= 1
            if not depth:
                yield tokenize.STRING, _between(lines, start, token.end)
        elif not depth:
            yield token.type, token.string


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """The text from one place to another: line numbers from 1, and columns from 0."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    return "".join([lines[start[0] - 1][start[1] :], *lines[start[0] : end[0] - 1], lines[end[0] - 1][: end[1]]])

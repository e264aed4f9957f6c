"""The modules that a Python file may import, and the part of its source that results can depend on; imports nothing."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Find = Callable[[str], Path | None]
TARGET = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")  # "module:Class", as in registries
FORMATTED = re.compile(r"\w*[fFtT]\w*['\"]")  # f-strings and t-strings, which may call functions
OPENING = ("FSTRING_START", "TSTRING_START")  # Python 3.12 and 3.14 split such strings into tokens
CLOSING = ("FSTRING_END", "TSTRING_END")


def closure(entries: Iterable[str], find: Find) -> dict[str, Path]:
    """Find all modules that some modules import, directly or indirectly, with their packages.

    Every `import` statement counts, also in functions, branches and `try`, except in the body of `if TYPE_CHECKING`,
    which never runs. Names in strings count as well: `importlib.import_module("name")`, and "module:Class" as in
    registries. Not found are computed names, such as `importlib.import_module(f"models.{name}")`, files that are
    executed in other ways (`runpy`, `exec`), and changes of `sys.path` or `__path__`.

    Args:
        entries: Dotted names of the modules to start from.
        find: Returns the file of a module by its dotted name, or None to ignore the module.

    Returns:
        The file of each module, by dotted name.
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
    """Find the dotted names that a file may import, of modules or of their attributes; see `closure`.

    Args:
        source: Contents of the file; if it is not valid Python, the result is empty.
        package: Package of the file; empty if there is none.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    return {name for node in _running(tree) for name in _names(node, package)}


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all nodes within it, except code for type checkers."""
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
        if package:  # this project's registries prepend the name of their package
            yield f"{package}.{target[1]}"


def _absolute(name: str, package: str) -> str:
    """Return the absolute dotted name of a module whose name may be relative to a package."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([bare] if bare else [])])


def significant(source: bytes) -> bytes:
    """Return a file's source without comments, docstrings, blank lines, spaces and line breaks.

    The result consists of the file's tokens. Unlike bytecode or a printed syntax tree, it is the same in every version
    of Python that can read the file. A file that is not valid Python is returned as it is.
    """
    try:
        return "\0".join(_tokens(source)).encode()
    except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return source


def _tokens(source: bytes) -> Iterator[str]:
    """Yield the tokens in order, except statements that consist of strings only, such as docstrings."""
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
    """Yield types and spellings of tokens; f-strings are single tokens, as in Python 3.11."""
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
    """Return the text between two positions, with lines counted from 1 and columns from 0."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    return "".join([lines[start[0] - 1][start[1] :], *lines[start[0] : end[0] - 1], lines[end[0] - 1][: end[1]]])

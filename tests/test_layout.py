"""The layout of the project: which way imports run, and how large files and folders may become."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("datamodules", "zoo", "benchmarks")  # each may import those before it
MAX_LINES = 400
MAX_ENTRIES = 16


def modules_below(root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """The file of each module, by its dotted name."""
    files = [file for package in packages for file in (root / package).rglob("*.py")]
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported_names(name: str, file: Path) -> Iterator[str]:
    """What a module imports anywhere, in functions and for type checking too; `a.b` for `from a import b`."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)


def import_graph(root: Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """For each module, the other modules of these packages that it imports."""
    modules = modules_below(root, packages)
    graph = {}
    for name, file in modules.items():
        found = {found if found in modules else found.rpartition(".")[0] for found in imported_names(name, file)}
        graph[name] = (found & modules.keys()) - {name}
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Modules each of which imports the next, and the last the first; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))  # it lists a module after those that it is imported by
    return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph(ROOT, PACKAGES)


@pytest.mark.parametrize(
    "text",
    ["def f():\n    from . import first", "if TYPE_CHECKING:\n    from p.first import x", "import p.first"],
)
def test_a_circle_of_imports_would_be_found(tmp_path, text):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/__init__.py").touch()
    (tmp_path / "p/first.py").write_text("from .second import f")
    (tmp_path / "p/second.py").write_text(f"import os\n{text}\n")
    graph = import_graph(tmp_path, ("p",))
    assert graph == {"p": set(), "p.first": {"p.second"}, "p.second": {"p.first"}}
    assert set(circle_in(graph)) == {"p.first", "p.second"}
    (tmp_path / "p/second.py").write_text("import os\n")
    assert circle_in(import_graph(tmp_path, ("p",))) == []


def test_no_modules_import_each_other_in_a_circle(graph):
    assert {"zoo.cli", "benchmarks.cli", "datamodules.base"} <= graph.keys()
    assert sum(map(len, graph.values())) > 300, "hardly any import was found"
    assert " imports ".join(circle_in(graph)) == ""


def test_imports_run_one_way(graph):
    wrong = [
        f"{name} imports {found}"
        for name, imports in graph.items()
        for found in imports
        if PACKAGES.index(found.split(".")[0]) > PACKAGES.index(name.split(".")[0])
    ]
    assert wrong == []


def test_the_top_level_of_benchmarks_is_small():
    entries = [
        path.name for path in (ROOT / "benchmarks").iterdir() if path.name[0] != "." and path.name != "__pycache__"
    ]
    assert "studies" in entries
    assert len(entries) <= MAX_ENTRIES, sorted(entries)


def test_no_file_is_too_long_to_read_in_one_sitting():
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for folder in (*PACKAGES, "tests")
        for file in (ROOT / folder).rglob("*.py")
    }
    assert len(lengths) > 300
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}

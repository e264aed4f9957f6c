"""What the recorded version of the code depends on: what numbers can depend on, and nothing else."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zoo.outputs import provenance
from zoo.outputs.provenance import CODE, ROOT, TRIALS, code_version
from zoo.outputs.source import closure, imported, significant


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A copy of the code, whose version is asked for."""
    for package in CODE:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "zoo/outputs/provenance.py"))
    return tmp_path


def version() -> str:
    code_version.cache_clear()
    found = code_version()
    code_version.cache_clear()
    return found


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file.name} has no {old!r}"
    file.write_text(text.replace(old, new, 1))


def test_the_version_is_the_same_wherever_the_code_lies(tree):
    assert version() == _of_this_checkout()


def _of_this_checkout() -> str:
    code = "from zoo.outputs.provenance import code_version; print(code_version())"
    return subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip()


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: edit(tree / "zoo/parts/optim.py", '"""', '"""Words. '),
        lambda tree: edit(tree / "zoo/models/mlp.py", "\nclass ", "\n# a comment\n\n\n\nclass "),
        lambda tree: (tree / "zoo/cli/verbs.py").write_text("# nothing is left\n"),
        lambda tree: (tree / "zoo/doctor/trace.py").write_text("1 + 1\n"),
        lambda tree: (tree / "zoo/tracking/session.py").unlink(),
        lambda tree: (tree / "zoo/outputs/provenance.py").write_text("ROOT = None\n"),
        lambda tree: (tree / "zoo/new_report.py").write_text("print('nobody imports it')\n"),
        lambda tree: (tree / "datamodules/__pycache__").mkdir(),
    ],
    ids=["docstring", "comment", "cli", "doctor", "tracking", "provenance", "new file", "cache"],
)
def test_what_no_number_depends_on_leaves_the_version(tree, change):
    before = version()
    change(tree)
    assert version() == before


@pytest.mark.parametrize(
    "file",
    [
        "zoo/parts/optim.py",
        "zoo/parts/initializers.py",
        "zoo/parts/seeding.py",
        "zoo/models/mlp.py",
        "zoo/models/lenet.py",
        "zoo/models/base.py",
        "zoo/train.py",
        "zoo/trainer.py",
        "zoo/config.py",
        "zoo/pack/train.py",
        "zoo/callbacks/dead_units.py",
        "zoo/signal_propagation.py",
        "zoo/__init__.py",
        "datamodules/base.py",
        "datamodules/splits.py",
        "datamodules/tabular.py",
        "datamodules/vision.py",
        "datamodules/synthetic.py",
    ],
)
def test_what_numbers_depend_on_changes_the_version(tree, file):
    before = version()
    with (tree / file).open("a") as source:
        source.write("\nchanged = True\n")
    assert version() != before


def test_a_constant_in_a_schedule_changes_the_version(tree):
    before = version()
    edit(tree / "zoo/parts/optim.py", "0.95 if gamma", "0.96 if gamma")
    assert version() != before


def test_a_new_model_changes_the_version_only_when_it_can_be_reached(tree):
    before = version()
    (tree / "zoo/models/mine.py").write_text("class Mine: ...\n")
    assert version() == before
    edit(tree / "zoo/models/registry.py", '"mlp": "mlp:MLP",', '"mlp": "mlp:MLP",\n    "mine": "mine:Mine",')
    reached = version()
    assert reached != before
    (tree / "zoo/models/mine.py").write_text("class Mine: size = 3\n")
    assert version() != reached


def test_all_that_can_be_trained_counts():
    modules = closure(TRIALS, provenance._find)
    for folder in ("zoo/models", "zoo/parts", "zoo/pack", "zoo/callbacks", "datamodules"):
        for file in (ROOT / folder).glob("*.py"):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            assert name in modules, f"{name} is not reached from {TRIALS}"


def test_what_a_training_run_imports_is_what_counts():
    """A real run, compared with the imports that were read."""
    code = """
        import sys, tempfile, pathlib
        from zoo.config import resolve
        from zoo.train import fit
        data = {"name": "iris"}
        for model in ({"name": "mlp"}, {"name": "perceptron"}):
            config = {"model": model, "data": data, "trainer": {"max_epochs": 1}, "callbacks": {"dead_units": True}}
            fit(resolve(config), pathlib.Path(tempfile.mkdtemp()))
        print(*(name for name in sys.modules if name.split(".")[0] in ("zoo", "datamodules")))
        """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = {name for name in done.stdout.split() if provenance._find(name) is not None}
    assert {"zoo.models.mlp", "datamodules.tabular", "zoo.callbacks.dead_units", "zoo.parts.optim"} <= loaded
    assert loaded <= set(closure(TRIALS, provenance._find))


def test_the_version_is_kept_and_found_out_again_when_a_source_changes(tree):
    before, kept = version(), tree / "zoo/outputs/__pycache__/code_version.txt"
    raw, told = kept.read_text().split()
    assert told == before
    kept.write_text(f"{raw} 0123456789ab\n")
    assert version() == "0123456789ab", "the file is what is read"
    edit(tree / "zoo/cli/verbs.py", '"""', '"""Words. ')
    assert version() == before
    kept.write_text("torn")
    assert version() == before


def test_the_version_is_found_where_nothing_can_be_kept(tree):
    before, folder = version(), tree / "zoo/outputs/__pycache__"
    shutil.rmtree(folder)
    folder.write_text("a file stands there")
    assert version() == before
    assert folder.is_file()


def test_the_driver_needs_no_torch_for_it():
    code = (
        "import sys; from zoo.outputs.provenance import code_version; code_version();"
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# --- what of a source counts ------------------------------------------------------------------------------------------

SOURCE = b'''"""A module."""
x = 1


def f(a, b):
    """A function."""
    return f"{a!r:>{b}} # kept" + "# kept"
'''


@pytest.mark.parametrize(
    "same",
    [
        SOURCE.replace(b'"""A module."""\n', b""),
        SOURCE.replace(b'    """A function."""\n', b""),
        SOURCE.replace(b"x = 1", b"x = 1  # one"),
        SOURCE.replace(b"x = 1", b"x=1\n\n# a line"),
        SOURCE.replace(b"f(a, b):", b"f(\n    a, b\n):"),
        SOURCE.replace(b"    ", b"\t"),
        SOURCE.replace(b"\n", b"\r\n"),
        SOURCE.rstrip(),
    ],
)
def test_words_and_layout_do_not_count(same):
    assert same != SOURCE
    assert significant(same) == significant(SOURCE)


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.replace(b"x = 1", b"x = 2"),
        SOURCE.replace(b'"# kept"', b'"# other"'),
        SOURCE.replace(b"} # kept", b"} # other"),
        SOURCE.replace(b"{a!r", b"{b!r"),
        SOURCE.replace(b"x = 1", b'x = """A module."""'),
        SOURCE.replace(b'"""A module."""', b'f"""{print()}"""'),
        SOURCE.replace(b"    return", b"    if a:\n        b = 1\n    return"),
        b"this is no Python (",
    ],
)
def test_code_counts(other):
    assert significant(other) != significant(SOURCE)


def test_where_a_block_ends_counts():
    assert significant(b"if a:\n    b()\nc()\n") != significant(b"if a:\n    b()\n    c()\n")


def test_the_tokens_that_count_are_spelled_alike_in_every_version_of_python():
    """A fixed answer: Python 3.12 splits f-strings into tokens, and 3.11 does not."""
    expected = ["x", "=", "1", "\n", "def", "f", "(", "a", ",", "b", ")", ":", "\n", "\1", "return"]
    expected += ['f"{a!r:>{b}} # kept"', "+", '"# kept"', "\n", "\2"]
    assert significant(SOURCE).decode().split("\0") == expected


def test_what_is_no_python_counts_as_it_is():
    assert significant(b"x = (  # open") == b"x = (  # open"
    assert significant(b"\xff\xfe\x00") == b"\xff\xfe\x00"


# --- imports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b, c as d", {"a.b", "c"}),
        ("from a.b import c, d as e", {"a.b", "a.b.c", "a.b.d"}),
        ("from . import x", {"pkg.sub", "pkg.sub.x"}),
        ("from .x import y", {"pkg.sub.x", "pkg.sub.x.y"}),
        ("from ..x import y", {"pkg.x", "pkg.x.y"}),
        ("def f():\n    if g():\n        import inner", {"inner"}),
        ("try:\n    import fast\nexcept ImportError:\n    import slow", {"fast", "slow"}),
        ("if TYPE_CHECKING:\n    import only\nelse:\n    import real", {"real"}),
        ("import typing\nif typing.TYPE_CHECKING:\n    import only", {"typing"}),
        ("importlib.import_module('named')", {"named"}),
        ("import_module('.near', __package__)", {"pkg.sub.near"}),
        ("__import__('old')", {"old"}),
        ("register('x', 'zoo.models.mlp:MLP')", {"zoo.models.mlp", "pkg.sub.zoo.models.mlp"}),
        ("import_module(f'a.{name}')", set()),
        ("x = 'a: b'", set()),
        ("not python (", set()),
    ],
)
def test_what_a_file_may_import(source, names):
    assert imported(source.encode(), "pkg.sub") == names

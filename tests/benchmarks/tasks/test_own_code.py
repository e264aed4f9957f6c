"""A task of the user's own: which of its modules count as its code, and what else may lie next to the study."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.running.job import Job
from benchmarks.tasks import find_task, own_process
from benchmarks.tasks.own_code import importable, own_modules, own_version
from benchmarks.tasks.own_process import run_apart
from datamodules.errors import InputError
from zoo.outputs.provenance import ROOT

STUDY = """\
# Does x matter?
task: TASK:measure
base: {how: fine}
vary: {x: [1, 2]}
seeds: 2
baseline: {x: 1}
metric: {name: score, mode: max}
"""
FILES = {
    "TASK.py": "import HELPER\n\ndef measure(config, folder):\n    from PACKAGE import late\n"
    "    return {'score': HELPER.SCALE * config['x'] + late.SHIFT}\n",
    "HELPER.py": "from PACKAGE.deep.er import SCALE\n",
    "PACKAGE/__init__.py": "",
    "PACKAGE/late.py": "SHIFT = 0\n",
    "PACKAGE/deep/er.py": "SCALE = 1\n",  # in a package without __init__.py
    "PACKAGE/unused.py": "X = 1\n",
    "unrelated.py": "X = 1\n",
}
# What a user may have next to a study, and must be found by nobody.
HOSTILE = [
    *("zoo.py", "datamodules/__init__.py", "datamodules/errors.py", "benchmarks/__init__.py", "benchmarks/cli.py"),
    *("pickle.py", "signal.py", "random.py", "yaml.py", "torch.py", "numpy.py", "lightning/__init__.py"),
]


@pytest.fixture
def own(tmp_path):
    """A folder with a study whose task imports modules that no other test has; gives their names and a function that
    edits one."""
    names = {word: f"{word.lower()}_{uuid.uuid4().hex}" for word in ("TASK", "HELPER", "PACKAGE")}

    def written(text: str) -> str:
        for word, name in names.items():
            text = text.replace(word, name)
        return text

    for file, text in FILES.items():
        path = tmp_path / "code" / written(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(text))
    (tmp_path / "code/s.yaml").write_text(written(STUDY))

    def edit(file: str, old: str, new: str) -> None:
        path = tmp_path / "code" / written(file)
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return Own(tmp_path / "code", f"{names['TASK']}:measure", written, edit)


class Own:
    def __init__(self, folder: Path, task: str, written, edit) -> None:
        self.folder, self.task, self.written, self.edit = folder, task, written, edit

    def version(self) -> str:
        with importable(self.folder):
            return own_version(self.task)

    def modules(self) -> set[str]:
        with importable(self.folder):
            return set(own_modules(self.task))


def bench(*command: str) -> int:
    return main([*map(str, command)])


# --- what counts as its code ------------------------------------------------------------------------------------------


def test_all_that_the_task_imports_from_its_folder_counts(own):
    files = ("TASK", "HELPER", "PACKAGE", "PACKAGE.late", "PACKAGE.deep.er")
    assert own.modules() == {own.written(name) for name in files}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("TASK.py", "config['x']", "config['x'] * 2"),
        ("HELPER.py", "SCALE\n", "SCALE\nMORE = 1\n"),
        ("PACKAGE/late.py", "0", "1"),
        ("PACKAGE/deep/er.py", "1", "2"),
    ],
)
def test_each_of_them_changes_the_version(own, file, old, new):
    before = own.version()
    own.edit(file, old, new)
    assert own.version() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("HELPER.py", "from", '"""Words."""\n\n# More words.\nfrom'),
        ("PACKAGE/unused.py", "1", "2"),
        ("unrelated.py", "1", "2"),
        ("s.yaml", "matter?", "matter at all?"),
    ],
)
def test_nothing_else_changes_the_version(own, file, old, new):
    before = own.version()
    own.edit(file, old, new)
    assert own.version() == before


def test_the_version_does_not_depend_on_where_the_code_lies(own, tmp_path):
    before = own.version()
    own.folder = own.folder.rename(tmp_path / "elsewhere")
    assert own.version() == before


def test_the_folder_is_not_left_where_modules_are_found(own):
    before = list(sys.path)
    with importable(own.folder):
        assert sys.path[-1] == str(own.folder)
        assert sys.path[: len(before)] == before
        assert str(ROOT) in sys.path[:-1], "what is ours comes first"
    assert sys.path == before


def test_of_an_installed_task_its_package_counts(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    for file in ("mine/__init__.py", "mine/part.py", "other/__init__.py"):
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text("from . import part\nimport other\n" if file == "mine/__init__.py" else "")
    monkeypatch.syspath_prepend(site)
    assert set(own_modules("mine:f")) == {"mine", "mine.part"}


def test_a_changed_module_is_reported_by_run_verify_and_compare(own, capsys, tmp_path, monkeypatch):
    """`bench` by real workers, as its user gives the commands; `verify` is given in the folder of the task."""
    monkeypatch.chdir(own.folder)
    out = tmp_path / "runs"
    assert bench("run", "s.yaml", "--out", out, "--workers", "1") == 0
    assert bench("run", "s.yaml", "--out", out, "--workers", "1") == 0
    assert "4 of 4 trials are already done" in (err := capsys.readouterr().err)
    assert "another version" not in err
    own.edit("PACKAGE/deep/er.py", "SCALE = 1", "SCALE = 3 - 2")
    assert bench("run", "s.yaml", "--out", out, "--workers", "1") == 0
    assert "4 of them were made by another version of the code" in capsys.readouterr().err
    assert bench("verify", out / "s", "--trials", "2", "--workers", "1", "--allow-code") == 0
    said = capsys.readouterr().out
    assert "Since the records, only the code has changed (code " in said
    assert "2 of 2 trials agree; 2 of them are bit-identical." in said
    assert bench("run", "s.yaml", "--out", tmp_path / "more", "--workers", "1") == 0
    versions = {json.loads(file.read_text())["environment"]["code_version"] for file in tmp_path.rglob("result.json")}
    assert len(versions) == 2
    capsys.readouterr()
    assert bench("compare", out / "s", tmp_path / "more/s") == 0
    said = capsys.readouterr().out
    assert all(version in said for version in versions)


# --- what may lie next to a study -------------------------------------------------------------------------------------


def beset(folder: Path) -> None:
    """Put modules there that raise when they are imported, named like ours, Python's and installed ones."""
    for file in HOSTILE:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(f"raise SystemExit('{file} of the user was imported')\n")


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "benchmarks.cli"],
        [str(Path(sys.executable).with_name("bench"))],
    ],
    ids=["python -m", "bench"],
)
@pytest.mark.parametrize("engine", ["local", "slurm", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_study_runs_next_to_files_named_like_modules_of_ours_and_others(own, command, engine):
    if engine != "local":
        pytest.importorskip({"slurm": "submitit", "ray": "ray"}[engine])
    beset(own.folder)
    if "-m" in command:  # Python itself takes `benchmarks` from the working directory then
        shutil.rmtree(own.folder / "benchmarks")
    own.edit("HELPER.py", "from", "import pickle, random, zoo\nassert pickle.dumps and zoo.create_model\nfrom")
    executor = ["--slurm-executor", "local"] if engine == "slurm" else []
    run = [*command, "run", "s.yaml", "--workers", "1", "--engine", engine, *executor]
    done = subprocess.run(run, cwd=own.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 trials run" in done.stdout
    assert "imported" not in done.stdout + done.stderr


def test_nets_are_trained_and_verified_next_to_such_files(tmp_path, capsys, monkeypatch):
    beset(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (
        "base: {model: perceptron, data: iris, trainer: {max_epochs: 1}}\n"
        "vary: {model.lr: [0.1, 0.01]}\nseeds: 1\nbaseline: {model.lr: 0.1}\nmetric: test/accuracy\n"
    )
    (tmp_path / "s.yaml").write_text(text)
    assert bench("run", "s.yaml", "--workers", "1") == 0
    assert bench("verify", "runs/s", "--trials", "1", "--workers", "1") == 0
    assert "1 of 1 trials agree; 1 of them are bit-identical." in capsys.readouterr().out


def test_a_trial_with_a_process_of_its_own_does_not_import_them_either(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    beset(tmp_path / "there")
    script = "import benchmarks, json, sys; json.dump({'status': 'done', 'where': benchmarks.__file__}, open(OUT, 'w'))"
    script = script.replace("OUT", repr(str(tmp_path / own_process.OUTCOME)))
    monkeypatch.setattr(own_process, "command", lambda folder: [sys.executable, "-c", script])
    monkeypatch.chdir(tmp_path / "there")
    assert run_apart({}, tmp_path)["where"] == str(ROOT / "benchmarks/__init__.py")


@pytest.mark.parametrize("name", ["random", "yaml", "zoo"])
def test_a_task_whose_module_is_hidden_by_another_is_refused(tmp_path, refused, name):
    (tmp_path / f"{name}.py").write_text("def measure(config, folder):\n    return {'score': 1}\n")
    said = refused(STUDY.replace("TASK", name))
    assert f"cannot load the task '{name}:measure': Python finds the module '{name}' in " in said
    assert f"which hides {tmp_path / name}.py; rename one of them." in said


def test_a_module_that_the_task_imports_is_not_replaced_by_an_installed_one(own):
    own.edit("HELPER.py", "from", "import yaml\nfrom")
    own.modules()
    (own.folder / "yaml.py").write_text("")
    with pytest.raises(InputError, match=r"finds the module 'yaml' in .*, which hides .*yaml\.py; rename one of them"):
        own.modules()


@pytest.mark.parametrize(
    "statement", ["from datamodules import mine", "import datamodules.mine", "from queue import mine"]
)
def test_an_import_from_a_folder_that_is_hidden_says_so(own, statement):
    for name in ("datamodules", "queue"):
        (own.folder / name).mkdir()
        (own.folder / name / "__init__.py").write_text("")
        (own.folder / name / "mine.py").write_text("")
    own.edit("TASK.py", "def measure", f"{statement}\n\ndef measure")
    hidden = own.folder / ("queue" if "queue" in statement else "datamodules") / "__init__.py"
    with importable(own.folder), pytest.raises(InputError, match=rf"which hides {hidden}; rename one of them\.$"):
        find_task(own.task).run({}, own.folder)


def test_two_modules_of_one_name_in_folders_of_the_users_are_refused(own, tmp_path, monkeypatch):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / own.written("HELPER.py")).write_text("SCALE = 7\n")
    monkeypatch.syspath_prepend(tmp_path / "first")
    with pytest.raises(InputError, match="which hides"):
        own.modules()


def test_a_module_that_is_not_found_says_where_to_put_it_and_where_verify_looks(tmp_path):
    remedy = "Put its module next to the study file, or install it; run bench verify in the folder of the module."
    with pytest.raises(InputError) as refused:
        find_task("no_such_module:measure").run({}, tmp_path)
    assert str(refused.value).endswith(f"No module named 'no_such_module'. {remedy}")


def test_a_trial_whose_process_died_has_the_version_that_it_started_with(own, tmp_path):
    identity = {"study": "s", "key": "key0", "variant": "v", "varied": {}, "seed": 0}
    (tmp_path / "trials").mkdir()
    with importable(own.folder):
        job = Job(tmp_path, own.task, {"x": 1, "seed_everything": 0}, identity, attempt=1, token="abc")
        job.open()
        before = own.version()
        own.edit("HELPER.py", "SCALE\n", "SCALE\nMORE = 1\n")
        assert own.version() != before
        record = job.end("crashed", "killed by SIGKILL", 1.0)
    assert record["environment"]["code_version"] == before


def test_scripts_that_a_task_starts_find_their_neighbours(own, tmp_path):
    """Workers leave out the working directory for themselves alone."""
    (own.folder / "script.py").write_text("import unrelated\nprint(unrelated.X)\n")
    call = "__import__('subprocess').check_output([__import__('sys').executable, SCRIPT])".replace(
        "SCRIPT", repr(str(own.folder / "script.py"))
    )
    own.edit("PACKAGE/late.py", "SHIFT = 0", f"SHIFT = int({call}) - 1")
    assert bench("run", own.folder / "s.yaml", "--out", tmp_path / "runs", "--workers", "1") == 0
    assert "PYTHONSAFEPATH" not in os.environ

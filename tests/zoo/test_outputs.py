"""Where `zoo` writes: folders that two runs want, full disks, devices, pipes, links, cells that are formulas."""

import os
import re
import resource
import shlex
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from datamodules.errors import InputError
from zoo.cli import main
from zoo.config import resolve
from zoo.outputs.destination import spreadsheet_safe, write_table
from zoo.outputs.files import _machine
from zoo.runfolder import STAGING, run_into
from zoo.train import run as train

FIT = "fit --model mlp --data iris --trainer.max_epochs 1"
FILES = {"config.yaml", "best.ckpt", "metrics.csv", "result.json"}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(shlex.split(f"{FIT} --out {folder}")) == 0
    return folder


@contextmanager
def files_of_at_most(size: int):
    """As on a disk that is almost full: writing more to a file is an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a run"])
def test_a_folder_is_for_one_run_at_a_time(there, trained):
    out = Path("x/y")
    if there != "nothing":
        out.mkdir(parents=True)
    if there == "a run":
        (out / "result.json").write_text("{}")
    refusals = []

    def run(config, folder):
        for overwrite in (False, True):
            with pytest.raises(InputError) as refusal:
                run_into(str(out), overwrite, config, lambda *_: pytest.fail("two runs write into one folder"))
            refusals.append(str(refusal.value))
        return train(config, folder)

    config = resolve({"model": "mlp", "data": "iris", "trainer": {"max_epochs": 1}})
    assert run_into(str(out), there == "a run", config, run)[0].status == "done"
    assert len(refusals) == 2
    assert all("another `zoo fit` is writing to x/y; wait until it is done" in words for words in refusals)
    assert contents(out).keys() == FILES
    assert main(shlex.split(f"{FIT} --out x/y")) == 2, "what is done is not replaced without --overwrite"
    assert main(shlex.split(f"{FIT} --out x/y --overwrite")) == 0, "the folder is free again"


def test_what_a_killed_overwrite_left_is_removed(trained):
    Path("x").mkdir()
    Path("x/result.json").write_text("{}")
    Path(f"x/{STAGING}abc").mkdir()
    Path(f"x/{STAGING}abc/best.ckpt").write_text("half")
    Path("x/notes.txt").write_text("mine")
    assert main(shlex.split(f"{FIT} --out x --overwrite")) == 0
    assert contents(Path("x")).keys() == FILES | {"notes.txt"}
    assert not [path for path in Path().iterdir() if path.name != "x"]


@pytest.mark.parametrize("size", [0, 3000, 10_000])
@pytest.mark.parametrize("packed", [True, False])
def test_a_full_disk_ends_a_run_with_a_sentence_and_leaves_no_half_a_run(size, packed, capsys):
    alone = "" if packed else " --trainer.log_every_n_steps 2"
    Path("there").mkdir()
    for out in ("new", "there"):
        with files_of_at_most(size):
            assert main(shlex.split(f"{FIT} --out {out}{alone}")) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"zoo fit: cannot write to {out}: ")
        assert err.endswith("pass another --out.\n")
        assert not list(Path().rglob("*.*"))
    assert main(shlex.split(f"{FIT} --out new{alone}")) == 0


def test_a_full_disk_keeps_the_run_that_would_be_replaced(capsys):
    assert main(shlex.split(f"{FIT} --out x")) == 0
    before = contents(Path("x"))
    with files_of_at_most(3000):
        assert main(shlex.split(f"{FIT} --out x --overwrite")) == 2
    assert contents(Path("x")) == before


def predicted(trained: Path, out: str) -> int:
    return main(["predict", "--ckpt_path", str(trained), "--out", out])


def test_predictions_go_through_a_link_to_its_file(trained):
    Path("file.csv").write_text("old\n")
    Path("link.csv").symlink_to("file.csv")
    Path("to_come.csv").symlink_to("new.csv")
    for link, file in (("link.csv", "file.csv"), ("to_come.csv", "new.csv")):
        assert predicted(trained, link) == 0
        assert Path(link).is_symlink()
        assert Path(file).read_text().startswith("index,prediction,")


def test_predictions_follow_no_link_that_others_planted(trained, monkeypatch, capsys):
    victim = Path("victim")
    victim.write_text("mine")
    guessed = [f".p.csv.{os.getpid()}{end}{'0' * 16}" for end in ("", "_", f"_{_machine()}")]
    for name in (f".p.csv.{os.getpid()}", *guessed):
        Path(name).symlink_to("victim")
    command = shlex.split(f"predict --ckpt_path {trained} --out p.csv")
    with monkeypatch.context() as patch:
        patch.setattr("zoo.outputs.files.secrets.token_hex", lambda n: "0" * 2 * n)
        assert main(command) == 2
    assert capsys.readouterr().err == "zoo predict: cannot write p.csv: File exists; pass another file with --out.\n"
    assert victim.read_text() == "mine"
    assert main(command) == 0
    assert victim.read_text() == "mine"
    assert not Path("p.csv").is_symlink()


@pytest.mark.parametrize(
    "command", [f"{FIT} --out x", FIT, "predict --ckpt_path {0} --out p.csv", "test --ckpt_path best.ckpt"]
)
def test_a_current_folder_that_was_removed_is_a_sentence(command, trained, tmp_path, capsys):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert main(shlex.split(command.format(trained))) == 2
    finally:
        os.chdir(tmp_path)
    err = capsys.readouterr().err
    assert err.startswith(f"zoo {command.split()[0]}: ")
    assert re.search(r"the current folder no longer exists|check --ckpt_path", err)
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_predictions_go_into_a_pipe(trained):
    os.mkfifo("pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reader.start()
    assert predicted(trained, "pipe") == 0
    reader.join(timeout=30)
    assert Path("pipe").is_fifo()
    assert read[0].startswith("index,prediction,")


def test_a_device_stays_a_device(trained):
    device = Path("/dev/null").stat()
    assert predicted(trained, "/dev/null") == 0
    assert os.path.samestat(Path("/dev/null").stat(), device)
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("into", ["a pipe", "a file"])
def test_standard_output_gets_the_table_alone(into):
    code = "from pathlib import Path; from zoo.outputs.destination import write_table as w; "
    code += "print('before'); print(w(Path('/dev/stdout'), 'a,b\\n1,2\\n'))"
    with Path("out.txt").open("w") as file:
        to = subprocess.PIPE if into == "a pipe" else file
        result = subprocess.run([sys.executable, "-c", code], stdout=to, check=True, text=True)
    written = result.stdout if into == "a pipe" else Path("out.txt").read_text()
    assert written == "before\na,b\n1,2\nTrue\n"


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("/", "--out / is a folder; pass another file"),
        (".", "--out . is a folder"),
        ("..", "--out .. is a folder"),
        ("folder", "--out folder is a folder"),
        ("", "--out is empty"),
        ("n" * 300 + ".csv", "File name too long; pass another file"),
        ("/".join(["a"] * 2000), "more than 200 folders; pass another file"),
        ("loop", "pass another file"),
        ("/dev/null/x.csv", "pass another file"),
    ],
)
def test_no_place_for_predictions(out, sentence, trained, capsys):
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    assert predicted(trained, out) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert {path.name for path in Path().iterdir()} == {"folder", "loop"}


def test_text_that_a_spreadsheet_would_evaluate_has_an_apostrophe():
    for text in ("=cmd|' /C calc'!A0", "@SUM(A1)", "+1+1", "-2+3", "\t=1", "\r=1", "-a", "=1"):
        assert spreadsheet_safe(text) == f"'{text}"
    for value in ("-1", "+1.5", "-1e-3", "a=b", "1+1", "", -1, None, 2.5):
        assert spreadsheet_safe(value) == value


def test_predicted_classes_are_no_formulas():
    lines = [f"{i % 7},{i % 5},{'=1+1' if i % 7 > 3 else '-1'}" for i in range(100)]
    Path("train.csv").write_text("a,b,label\n" + "\n".join(dict.fromkeys(lines)) + "\n")
    data = "--data csv --data.path train.csv --data.target label"
    assert main(shlex.split(f"fit --model mlp {data} --trainer.max_epochs 30 --model.lr .05 --out run")) == 0
    assert main(shlex.split("predict --ckpt_path run")) == 0
    cells = {line.split(",")[1] for line in Path("run/predictions.csv").read_text().splitlines()[1:]}
    assert cells == {"'=1+1", "-1"}


def test_a_table_is_written_into_new_folders():
    assert not write_table(Path("a/b/c.csv"), "x\n")
    assert Path("a/b/c.csv").read_text() == "x\n"

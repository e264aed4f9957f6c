"""Ctrl-C, closed pipes and slow imports: real processes, real signals, real terminals."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError

import pytest

from zoo.cli import process

STUDY = """\
# Does sleep matter?
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary: {sleep: [0.2, 0.3]}
baseline: {sleep: 0.2}
metric: {name: score, mode: max}
seeds: 50
"""
# Its end takes a minute unless it is cut short.
SLOW_TO_STOP = """\
import sys, time
from zoo.cli.process import call

def run():
    try:
        print("running", file=sys.stderr, flush=True)
        time.sleep(60)
    finally:
        time.sleep(60)

sys.exit(call("zoo fit", run, "to start again: zoo fit"))
"""


class Terminal:
    """A process in a terminal of its own, in which keys are pressed.

    Attributes:
        shown: All that the terminal has shown.
    """

    def __init__(self, process: subprocess.Popen, keyboard: int) -> None:
        self.process, self.keyboard, self.shown = process, keyboard, ""

    def wait_for(self, pattern: str) -> None:
        while not re.search(pattern, self.shown):
            part = self._read()
            assert part, f"it ended without {pattern!r}: {self.shown}"

    def press_ctrl_c(self) -> None:
        os.write(self.keyboard, b"\x03")

    def finish(self) -> int:
        """Read to the end; the exit status."""
        while self._read():
            pass
        return self.process.wait(timeout=60)

    def _read(self) -> str:
        try:
            part = os.read(self.keyboard, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            return ""
        self.shown += part
        return part


@contextmanager
def terminal(*arguments: str, cwd: object = None) -> Iterator[Terminal]:
    keyboard, screen = pty.openpty()

    def take_the_terminal() -> None:
        fcntl.ioctl(screen, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    started = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
        preexec_fn=take_the_terminal,
    )
    os.close(screen)
    try:
        yield Terminal(started, keyboard)
    finally:
        started.kill()
        started.wait()
        os.close(keyboard)


def test_ctrl_c_stops_a_study_and_says_how_to_go_on(tmp_path):
    (tmp_path / "mine.yaml").write_text(STUDY)
    with terminal("-m", "benchmarks.cli", "run", "mine.yaml", "--workers", "2", cwd=tmp_path) as bench:
        bench.wait_for("[1-9]/100 trials")
        bench.press_ctrl_c()
        bench.wait_for(r"bench run: stopping \.\.\.")
        assert bench.finish() == 130
    assert "finished trials are kept. To continue, run: bench run mine.yaml --workers 2" in bench.shown
    assert "Traceback" not in bench.shown
    assert len(list(tmp_path.glob("runs/mine/trials/*/result.json"))) >= 1


def test_ctrl_c_while_torch_is_imported_ends_the_command(tmp_path):
    with terminal("-m", "zoo.cli", "fit", "--model", "mlp", "--data", "digits", cwd=tmp_path) as zoo:
        zoo.wait_for("Loading torch and lightning")
        time.sleep(0.5)
        zoo.press_ctrl_c()
        assert zoo.finish() == 130
    assert "zoo fit: stopping ..." in zoo.shown
    assert "zoo fit: interrupted; to start again: zoo fit --model mlp --data digits" in zoo.shown
    assert "Traceback" not in zoo.shown
    assert not list(tmp_path.iterdir())


PRESSES = """\
import os, signal, sys

class Press:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[2]:
            print("pressed", flush=True)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press())
main = __import__(sys.argv[1], fromlist=["main"]).main
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        *[("zoo.cli", module) for module in ("zoo.cli.verbs", "argparse", "datamodules.errors", "yaml")],
        *[("benchmarks.cli", module) for module in ("benchmarks.cli.verbs", "zoo.cli.verbs", "argparse", "numpy")],
    ],
)
def test_ctrl_c_during_the_first_imports_is_no_traceback(command, module):
    def run(module):
        return subprocess.run(
            [sys.executable, "-c", PRESSES, command, module],
            capture_output=True,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    done = run(module)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "pressed\n", "")
    assert run("none").stdout == "True\n", "afterwards Ctrl-C is an exception again"


def test_a_second_ctrl_c_does_not_wait():
    with terminal("-c", SLOW_TO_STOP) as zoo:
        zoo.wait_for("running")
        zoo.press_ctrl_c()
        zoo.wait_for("press Ctrl-C again to exit immediately")
        time.sleep(2 * process.SAME_PRESS)
        start = time.monotonic()
        zoo.press_ctrl_c()
        assert zoo.finish() == 130
        assert time.monotonic() - start < 30
    assert "Traceback" not in zoo.shown


def without_reader(*command: object, cwd=None) -> "subprocess.CompletedProcess[str]":
    theirs, ours = os.pipe()
    os.close(theirs)
    arguments = [sys.executable, "-m", *map(str, command)]
    done = subprocess.run(arguments, stdout=ours, stderr=subprocess.PIPE, text=True, cwd=cwd)
    os.close(ours)
    return done


@pytest.mark.parametrize("command", ["zoo.cli list", "zoo.cli --help", "benchmarks.cli list", "benchmarks.cli run -h"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_ends_it_quietly(command, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = without_reader(*command.split())
    assert done.stderr == ""
    swallowed = unbuffered and command.endswith("-h")  # by argparse itself
    assert done.returncode == (0 if swallowed else 141)


def test_a_report_without_a_reader_is_written(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace("seeds: 50", "seeds: 2"))
    run = [sys.executable, "-m", "benchmarks.cli", "run", "s.yaml", "--workers", "1"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "runs/s/table.md").unlink()
    done = without_reader("benchmarks.cli", "report", "runs/s", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (141, "")
    assert (tmp_path / "runs/s/table.md").exists()


def test_only_a_terminal_is_told_what_is_loading(capsys, monkeypatch):
    with process.loading("no_module_of_this_name"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with process.loading("no_module_of_this_name"):
        assert capsys.readouterr().err == "Loading no_module_of_this_name ..."
    assert capsys.readouterr().err == "\r\x1b[K", "the line is gone"
    with process.loading("os"):
        assert capsys.readouterr().err == ""


def test_the_version_names_the_packages(capsys):
    from importlib.metadata import version

    import benchmarks.cli
    import zoo.cli

    for name, main in (("zoo", zoo.cli.main), ("bench", benchmarks.cli.main)):
        assert main(["--version"]) == 0
        python = re.escape(sys.version.split()[0])
        packages = re.escape(f"torch {version('torch')}, lightning {version('lightning')}")
        assert re.fullmatch(rf"{name} \d+\.\d+\.\d+ \({packages}, Python {python}\)\n", capsys.readouterr().out)


def test_the_version_of_a_checkout_that_is_not_installed(monkeypatch):
    def only_others(package):
        if package == "ablation-zoo":
            raise PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(process, "version", only_others)
    assert process.versions("zoo").startswith("zoo not installed (torch 1.2, lightning 1.2, Python 3.")

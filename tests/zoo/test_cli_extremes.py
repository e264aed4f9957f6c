"""Extreme values and paths on the command line of `zoo`: a sentence that names the culprit, never a traceback."""

import shlex
import subprocess
import sys

import pytest

from zoo.cli import main

FIT = "fit --model mlp --data iris --trainer.max_epochs 1 "
LONG = "n" * 300
DEEP = "/".join(["a"] * 2000)

CASES = {
    "null for a patience": (
        FIT + "--callbacks.early_stopping='{patience: null}'",
        "callbacks.early_stopping.patience must be of type int, got null",
    ),
    "null for a min_delta": (
        FIT + "--callbacks.early_stopping='{min_delta: null}'",
        "callbacks.early_stopping.min_delta must be of type float, got null",
    ),
    "null for a monitor": (
        FIT + "--callbacks.model_checkpoint='{monitor: null}'",
        "callbacks.model_checkpoint.monitor must be of type str, got null",
    ),
    "null for a share": (FIT + "--callbacks.dead_units='{share: null}'", "callbacks.dead_units.share must be of type"),
    "null for epochs of warmup": (
        FIT + "--callbacks.throughput='{warmup_epochs: null}'",
        "callbacks.throughput.warmup_epochs must be of type int, got null",
    ),
    "text for a callback": (FIT + "--callbacks.dead_units x", "callbacks.dead_units must be true, false or a mapping"),
    "validation never": (FIT + "--trainer.check_val_every_n_epoch=0", "check_val_every_n_epoch must be at least 1"),
    "validation every -1": (FIT + "--trainer.check_val_every_n_epoch=-1", "check_val_every_n_epoch must be at least 1"),
    "the doctor, too": (
        "doctor --model mlp --data iris --trainer.check_val_every_n_epoch=0",
        "check_val_every_n_epoch must be at least 1",
    ),
    "an accelerator without its package": (FIT + "--trainer.accelerator=tpu", "torch_xla"),
    "the doctor without the package": ("doctor --model mlp --data iris --trainer.accelerator=tpu", "torch_xla"),
    "a width of 10^12": (FIT + "--model.hidden_dims='[1000000000000]'", "see model.hidden_dims with 1000000000000"),
    "a width of 10^21": (FIT + f"--model.hidden_dims='[1{'0' * 21}]'", "see model.hidden_dims with 1000"),
    "10^12 channels": (
        "fit --model cnn --data digits --model.channels='[1000000000000]'",
        "see model.channels with 1000000000000",
    ),
    "the doctor on a width": ("doctor --model mlp --data iris --model.hidden_dims='[1000000000000]'", "memory"),
    "a long name": (FIT + f"--out {LONG}", "File name too long; pass another --out"),
    "a long name in a path": (FIT + f"--out x/{LONG}/y", "File name too long; pass another --out"),
    "a path that is too deep": (FIT + f"--out {DEEP}", "more than 200 folders; pass another --out"),
    "a config with a long name": (f"fit --config {LONG}.yaml", "File name too long; choose a shorter name or path"),
    "a checkpoint with a long name": (f"test --ckpt_path {LONG}", "File name too long; choose a shorter name or path"),
    "no name": (FIT + "--out ''", "--out is empty"),
    "a folder in a device": (FIT + "--out /dev/null/x", "pass another --out"),
    "no epoch": ("fit --model mlp --data iris --trainer.max_epochs 0", "trainer.max_epochs must be at least 1, or -1"),
    "no step": (FIT + "--trainer.max_steps 0", "trainer.max_steps must be at least 1, or -1 for no limit, got 0"),
    "no time": (FIT + "--trainer.max_time '{}'", "trainer.max_time must be more than 0 seconds, got {}"),
    "no time in words": (FIT + "--trainer.max_time 00:00:00:00", "trainer.max_time must be more than 0 seconds"),
    "less than no time": (FIT + "--trainer.max_time '{seconds: -1}'", "trainer.max_time must be more than 0 seconds"),
    "no duration": (FIT + "--trainer.max_time banana", "trainer.max_time must be a duration as DD:HH:MM:SS"),
    "an unknown unit": (FIT + "--trainer.max_time '{banana: 1}'", "trainer.max_time must be a duration"),
    "the doctor without epochs": ("doctor --model mlp --data iris --trainer.max_epochs 0", "at least 1"),
    "a text that is not UTF-8": (FIT + "--data.root='\udcff'", "half of a surrogate pair, which cannot be stored"),
    "10^400 batches": (
        FIT + f"--trainer.accumulate_grad_batches 1{'0' * 400}",
        "trainer.accumulate_grad_batches must have at most 18 digits",
    ),
    "a clip of 10^400": (FIT + f"--trainer.gradient_clip_val 1{'0' * 400}", "trainer.gradient_clip_val"),
    "10^5000 devices": (FIT + f"--trainer.devices {'9' * 5000}", "trainer.devices"),
    "a batch of 10^400": (FIT + f"--data.batch_size 1{'0' * 400}", "data.batch_size must have at most 18 digits"),
    "a patience of 10^400": (
        FIT + f"--callbacks.early_stopping.patience 1{'0' * 400}",
        "callbacks.early_stopping.patience must have at most 18 digits",
    ),
    "escape sequences": ("fit --model '\x1b]0;x\x07' --data iris", "\\x1b]0;x"),
}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_extreme_input_is_answered_with_a_sentence(case, capsys, tmp_path):
    command, sentence = CASES[case]
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert out == ""
    assert not list(tmp_path.iterdir()), "a refused run leaves nothing"


def test_a_pattern_of_5000_stars_lists_everything(capsys):
    assert main(["list", "*"]) == 0
    everything = capsys.readouterr().out
    assert main(["list", "*" * 5000]) == 0
    assert capsys.readouterr().out == everything
    assert main(["list", "**mlp"]) == 0
    assert "fraud_mlp" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_a_terminal_that_is_not_utf_8_shows_a_question_mark(encoding):
    code = "import sys; from zoo.cli.process import call; sys.exit(call('zoo', lambda: print('Δ – ok') or 0, ''))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONIOENCODING": encoding}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"? ? ok\n"


def test_a_name_that_is_not_utf_8_is_shown_all_the_same():
    code = "import sys; from zoo.cli.process import call; sys.exit(call('zoo', lambda: print(sys.argv[1]) or 0, ''))"
    done = subprocess.run(
        [sys.executable, "-c", code, b"a\xff"], env={"PYTHONIOENCODING": "utf-8"}, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"a?\n")


def test_the_backend_of_a_notebook_does_not_reach_the_command():
    code = (
        "from zoo.cli.process import call\ndef run():\n    import matplotlib.pyplot\n    return 0\ncall('zoo', run, '')"
    )
    environment = {"MPLBACKEND": "module://no_such_package.backend_inline"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_commit_is_that_of_this_code_wherever_git_is_told_to_look(monkeypatch, tmp_path):
    from zoo.outputs.provenance import git_state

    here = git_state()
    for argv in (
        ["init", "-q"],
        ["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *argv], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    git_state.cache_clear()
    assert git_state() == here
    git_state.cache_clear()

"""What a running study shows: in a real terminal a table, in a pipe a line a trial."""

import os
import pty
import re
import subprocess
import sys

STUDY = """\
# Does sleep matter?
task: noop
base: {returns: {score: 0.5}}
vary:
  kind:
    fine: {sleep: 0.0}
    dying: {dies: SIGKILL}
    raising: {raises: a reason}
baseline: {kind: fine}
metric: {name: score, mode: max}
seeds: 3
"""
COMMAND = [sys.executable, "-m", "benchmarks.cli", "run", "mine.yaml", "--workers", "1"]


def test_in_a_terminal_a_table_of_variants_fills_up(tmp_path):
    (tmp_path / "mine.yaml").write_text(STUDY)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    driver = subprocess.Popen(COMMAND, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        shown += part
    assert driver.wait(timeout=120) == 1
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"\d/9 trials, time left: \w+", text)
    last = text[text.rindex("9/9 trials") :].partition("mine: score")[0]
    rows = {line.split()[0]: line.split()[1:] for line in last.splitlines() if len(line.split()) > 1}
    assert rows["fine"] == ["3/3", "0.5000"]
    assert rows["dying"] == ["0/3", "3"]
    assert rows["raising"] == ["0/3", "3"]


def test_in_a_pipe_each_trial_is_a_line(tmp_path):
    (tmp_path / "mine.yaml").write_text(STUDY)
    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    lines = done.stderr.splitlines()
    assert "1/9 fine, seed 0: done" in lines
    assert "4/9 dying, seed 0: crashed (killed by SIGKILL); retrying once" in lines
    assert "7/9 raising, seed 0: failed (RuntimeError: a reason)" in lines
    assert "9/9 dying, seed 0: crashed (killed by SIGKILL)" in lines
    assert "\x1b" not in done.stderr + done.stdout

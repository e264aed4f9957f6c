"""What several test files of `bench` share."""

import shlex

import pytest

from benchmarks.cli import main


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs a study's text and gives the words that it is refused with."""

    def refused(text: str, options: str = "", file: str = "bad.yaml") -> str:
        (tmp_path / file).write_text(text)
        command = ["run", str(tmp_path / file), "--out", str(tmp_path / "runs"), "--workers", "1"]
        assert main([*command, *shlex.split(options)]) == 2
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "done" not in err + out
        assert not (tmp_path / "runs").exists()
        return err

    return refused

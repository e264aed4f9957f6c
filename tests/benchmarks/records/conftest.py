"""A study of two variants that has run, and copies of it to be damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.records.damaged import STUDY, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A study that has run, and its archive."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "ab.yaml").write_text(STUDY)
    assert run(f"run {folder}/ab.yaml --out {folder}/runs --workers 1") == 0
    assert run(f"archive {folder}/runs/ab {folder}/kept") == 0
    return folder


@pytest.fixture
def ab(finished, tmp_path) -> Path:
    """The run's folder, to be damaged."""
    shutil.copy(finished / "ab.yaml", tmp_path)
    return Path(shutil.copytree(finished / "runs/ab", tmp_path / "runs/ab", symlinks=True))


@pytest.fixture
def again(ab, capsys) -> Callable[[], tuple[int, str, str]]:
    """Runs the study again; returns the status and what was printed."""

    def again() -> tuple[int, str, str]:
        capsys.readouterr()
        status = run(f"run {ab.parents[1]}/ab.yaml --out {ab.parent} --workers 1")
        return status, *capsys.readouterr()

    return again


@pytest.fixture
def refuses(capsys) -> Callable[[str], str]:
    """Runs a command that is refused; returns the sentence."""

    def refuses(command: str) -> str:
        capsys.readouterr()
        assert run(command) == 2, command
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "Worse" not in out
        assert err.count("\n") == 1
        return err

    return refuses

"""Folders of runs, which never mix the files of two runs."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from datamodules.errors import InputError, require

from .devices import is_first_process
from .outputs.files import has_current_folder, make_folder
from .outputs.result import FILES, Result
from .plain import ResolvedConfig

Run = Callable[[ResolvedConfig, Path], Result]

STAGING = ".zoo-fit-"  # start of the name of the folder, inside --out, of a run that will replace another one


def run_into(out: str | None, overwrite: bool, config: ResolvedConfig, run: Run) -> tuple[Result | None, Path]:
    """Run a config in its own folder.

    Args:
        out: The folder; None for a new one in `runs/`, named after the model and data.
        overwrite: Whether to replace an existing run in the folder. It is replaced when the new run is done, and kept
            if the new run diverges; other files in the folder are always kept.
        config: The resolved config.
        run: Function that trains a config and writes into a folder.

    Returns:
        The result and the folder; no result on ranks other than the first.

    Raises:
        InputError: If the folder contains a run and `overwrite` is not set, another process is writing into it, or it
            cannot be created or written.
    """
    require(out != "", "--out is empty; pass the name of a folder, or leave out --out for a new folder in runs/.")
    if not is_first_process():
        run(config, Path(out or "runs"))
        return None, Path(out or "runs")
    folder, made = (Path(out), []) if out else _new_folder(config)
    try:
        with _claimed(folder, made):
            return _run_into(folder, overwrite, config, run), folder
    except OSError as error:
        if not has_current_folder():  # another --out is no remedy then
            raise
        raise InputError(f"cannot write to {folder}: {error.strerror or error}; pass another --out.") from None


def _run_into(folder: Path, overwrite: bool, config: ResolvedConfig, run: Run) -> Result:
    held = [name for name in FILES if (folder / name).exists()]
    if held and not overwrite:
        raise InputError(
            f"{folder} already contains a run ({', '.join(held)}); pass another --out, or --overwrite to replace it."
        )
    for stale in folder.glob(f"{STAGING}*"):  # of a process that was killed: the folder is claimed by this one
        shutil.rmtree(stale, ignore_errors=True)
    if not held:
        try:
            return run(config, folder)
        except OSError:  # such as a full disk: half a run is worse than none
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
            raise
    # The old run is kept until the new one is complete.
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as staging:
        result = run(config, Path(staging))
        if result.status != "done":
            return result
        written = {file.name: file for file in Path(staging).iterdir()}
        (folder / "result.json").unlink(missing_ok=True)  # a result stands only next to the files of its own run
        for name in sorted(written, key=lambda name: name == "result.json"):
            written[name].replace(folder / name)
        for name in {*FILES, "predictions.csv"} - written.keys():  # files of the old run only
            (folder / name).unlink(missing_ok=True)
    return result


@contextmanager
def _claimed(folder: Path, made: list[Path]) -> Iterator[None]:
    """Create a folder, and hold it for this process until the end; a rejected run leaves no new folder.

    The folder itself is locked, so that nothing is left behind if the process is killed.

    Args:
        folder: The folder.
        made: The folders that this process has just created for it, from the outside in.

    Raises:
        InputError: If another process holds it, or it is a file.
    """
    require(not folder.exists() or folder.is_dir(), f"--out {folder} is a file; pass a folder.")
    descriptor = -1
    while descriptor < 0:
        made += make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(descriptor)
                raise InputError(
                    f"another `zoo fit` is writing to {folder}; wait until it is done, or pass another --out."
                ) from None
            # Some network file systems cannot lock a folder.
        if not _is_still(folder, descriptor):  # a rejected run has removed it in the meantime
            os.close(descriptor)
            descriptor = -1
    try:
        yield
    except BaseException as error:
        if made and isinstance(error, InputError):
            shutil.rmtree(folder, ignore_errors=True)
        for empty in reversed(made):
            with suppress(OSError):
                empty.rmdir()
        raise
    finally:
        os.close(descriptor)


def _is_still(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _new_folder(config: ResolvedConfig) -> tuple[Path, list[Path]]:
    """Create the first free folder of `runs/MODEL-DATA-1`, -2, ...; creating it reserves it for this process.

    Returns:
        The folder, and the folders that were created.
    """
    made = make_folder(Path("runs"))
    stem = f"{config['model']['name']}-{config['data']['name']}"
    number = 1
    while True:
        folder = Path("runs") / f"{stem}-{number}"
        try:
            folder.mkdir()
            return folder, [*made, folder]
        except FileExistsError:
            number += 1

"""Where a run goes, so that it never mixes with another."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from datamodules.errors import InputError, require

from .config import resolve
from .devices import is_first_process
from .outputs.result import FILES, Result
from .plain import Config

Run = Callable[[Config, Path], Result]


def run_into(out: str | None, overwrite: bool, config: Config, run: Run) -> tuple[Result | None, Path]:
    """Run a config into a folder of its own.

    Args:
        out: The folder; None for a new one in `runs/`, named after the model and data.
        overwrite: Replace the run that is there, once the new one is done; it stays if the new one diverges, and the
            folder's other files stay in any case.
        config: The config.
        run: Trains a config into a folder.

    Returns:
        The result and the folder; no result on ranks other than the first.

    Raises:
        InputError: The folder holds a run and `overwrite` is not set, or cannot be made.
    """
    config = resolve(config)
    if not is_first_process():
        run(config, Path(out or "runs"))
        return None, Path(out or "runs")
    folder = Path(out or _new_folder(config))
    require(not folder.exists() or folder.is_dir(), f"--out {folder} is a file.")
    is_new = out is None or not folder.exists()
    held = [name for name in FILES if (folder / name).exists()]
    if held and not overwrite:
        raise InputError(f"{folder} already holds a run ({', '.join(held)}); choose another --out, or say --overwrite.")
    try:
        if not held:
            return run(config, folder), folder
        # The old run stays until the new one is whole.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staging:
            result = run(config, Path(staging))
            if result.status != "done":
                return result, folder
            written = list(Path(staging).iterdir())
            for file in written:
                file.replace(folder / file.name)
            for name in {*FILES, "predictions.csv"} - {file.name for file in written}:  # the old run's alone
                (folder / name).unlink(missing_ok=True)
        return result, folder
    except InputError:
        if is_new:  # a run that was refused leaves nothing
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}.") from None


def _new_folder(config: Config) -> Path:
    """The first of `runs/MODEL-DATA-1`, -2, ... that is free; made, so that no other process takes it."""
    stem = f"{config['model']['name']}-{config['data']['name']}"
    number = 1
    while True:
        folder = Path("runs") / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1

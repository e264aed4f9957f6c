"""Folders of runs, which never mix the files of two runs."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from datamodules.errors import InputError, require

from .devices import is_first_process
from .outputs.result import FILES, Result
from .plain import ResolvedConfig

Run = Callable[[ResolvedConfig, Path], Result]


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
        InputError: If the folder contains a run and `overwrite` is not set, or the folder cannot be created.
    """
    if not is_first_process():
        run(config, Path(out or "runs"))
        return None, Path(out or "runs")
    folder = Path(out or _new_folder(config))
    require(not folder.exists() or folder.is_dir(), f"--out {folder} is a file; pass a folder.")
    is_new = out is None or not folder.exists()
    held = [name for name in FILES if (folder / name).exists()]
    if held and not overwrite:
        raise InputError(
            f"{folder} already contains a run ({', '.join(held)}); pass another --out, or --overwrite to replace it."
        )
    try:
        if not held:
            return run(config, folder), folder
        # The old run is kept until the new one is complete.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staging:
            result = run(config, Path(staging))
            if result.status != "done":
                return result, folder
            written = list(Path(staging).iterdir())
            for file in written:
                file.replace(folder / file.name)
            for name in {*FILES, "predictions.csv"} - {file.name for file in written}:  # files of the old run only
                (folder / name).unlink(missing_ok=True)
        return result, folder
    except InputError:
        if is_new:  # a rejected run leaves no folder
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}; pass another --out.") from None


def _new_folder(config: ResolvedConfig) -> Path:
    """Create the first free folder of `runs/MODEL-DATA-1`, -2, ...; creating it reserves it for this process."""
    stem = f"{config['model']['name']}-{config['data']['name']}"
    number = 1
    while True:
        folder = Path("runs") / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1

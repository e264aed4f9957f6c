"""Run one trial as a command: `python -m benchmarks.trial CONFIG`.

Trials with several processes need this command; see `benchmarks.tasks.own_process`.
"""

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datamodules.errors import InputError, require
from zoo.devices import forget_stale_ranks, is_first_process
from zoo.outputs.files import write_atomically

from .tasks.own_process import end_with_parent, note_failure, reason_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run one trial of the task `fit` from a config file, and print or write its result as JSON.

    Returns:
        The exit status: 0 if it is done, diverged or skipped, 1 if it raised, 2 for bad input.
    """
    end_with_parent()
    forget_stale_ranks()
    parser = argparse.ArgumentParser("python -m benchmarks.trial", description=(main.__doc__ or "").partition("\n")[0])
    parser.add_argument("config", metavar="CONFIG", help="a config as YAML, such as trials/KEY/config.yaml of a study")
    what = "folder for the run's files, including result.json (default: print the result and keep no files)"
    parser.add_argument("--out", metavar="DIR", type=Path, help=what)
    what = "file for the result, for callers that store config and result themselves: neither goes to DIR"
    parser.add_argument("--outcome", metavar="FILE", type=Path, help=what)
    args = parser.parse_args(argv)
    with nullcontext(args.out) if args.out else tempfile.TemporaryDirectory(prefix="bench-trial-") as folder:
        return _main(args.config, args.out, Path(folder), args.outcome)


def _main(file: str, kept: Path | None, folder: Path, outcome: Path | None) -> int:
    """Run a config file in the folder `kept`, or else in a temporary one; for `outcome` see `main`."""
    try:
        taken = is_first_process() and (folder / "result.json").exists()
        require(not taken, f"{folder} already contains a result; choose another folder for --out.")
        folder.mkdir(parents=True, exist_ok=True)
        result = _fit(file, folder, record=outcome is None)
    except Exception as error:
        if kept is not None:
            note_failure(folder, error, reason_of(error))
        if isinstance(error, InputError):
            print(f"benchmarks.trial: {error}", file=sys.stderr)
            return 2
        traceback.print_exc()
        return 1
    if is_first_process():
        text = json.dumps(result, indent=2, allow_nan=False)
        if outcome is not None:
            write_atomically(outcome, text + "\n")
        elif result["status"] == "skipped":  # other processes have written it
            write_atomically(folder / "result.json", text + "\n")
        print(text)
    return 0


def _fit(file: str, folder: Path, record: bool) -> dict[str, Any]:
    from zoo.config import read_config, resolve
    from zoo.train import run

    from .tasks.machine import lacking

    config = resolve(read_config(file))
    if reason := lacking(config):
        return {"status": "skipped", "reason": reason, "metrics": {}}
    return asdict(run(config, folder, record=record))


if __name__ == "__main__":
    sys.exit(main())

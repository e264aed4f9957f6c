"""One trial, or several trained together: configs in, records out. Runs in a worker process.

`python -m benchmarks.trial CONFIG` is one trial as a command, which trials of several processes need; see
`benchmarks.tasks.own_process`.
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
from zoo.devices import is_first_process
from zoo.outputs.files import write_atomically

from .tasks.own_process import end_with_parent, note_failure, reason_of


def main(argv: Sequence[str] | None = None) -> int:
    """One trial of the task fit as a command: config in, result out, as JSON.

    Returns:
        The exit status: 0 where it is done, diverged or skipped, 1 where it raised, 2 for bad input.
    """
    end_with_parent()
    parser = argparse.ArgumentParser("python -m benchmarks.trial", description=(main.__doc__ or "").partition("\n")[0])
    parser.add_argument("config", metavar="CONFIG", help="a config as YAML, such as trials/KEY/config.yaml of a study")
    what = "keep the run's files there, result.json among them; else the result is printed, and nothing kept"
    parser.add_argument("--out", metavar="DIR", type=Path, help=what)
    what = "write the result there, for a caller that keeps config and result itself: neither goes to DIR"
    parser.add_argument("--outcome", metavar="FILE", type=Path, help=what)
    args = parser.parse_args(argv)
    with nullcontext(args.out) if args.out else tempfile.TemporaryDirectory(prefix="bench-trial-") as folder:
        return _main(args.config, args.out, Path(folder), args.outcome)


def _main(file: str, kept: Path | None, folder: Path, outcome: Path | None) -> int:
    """Run a config file in a folder that is `kept`, or else thrown away; for `outcome` see `main`."""
    try:
        taken = is_first_process() and (folder / "result.json").exists()
        require(not taken, f"{folder} holds a result already; give --out another folder.")
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
        elif result["status"] == "skipped":  # others have written it
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

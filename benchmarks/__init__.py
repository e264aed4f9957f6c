"""Ablation studies, and the harness that runs and analyses them."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and Path(sys.path[0]).resolve() != _ROOT:
    # For `python -m benchmarks.cli` Python looks for modules in the working directory first. What lies there, such as a
    # user's own zoo.py, must not hide this project's or an installed package, so it comes last.
    sys.path += [folder for folder in (str(_ROOT),) if folder not in sys.path]
    sys.path.append(sys.path.pop(0))

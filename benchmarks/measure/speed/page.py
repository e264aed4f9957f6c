"""Fills the tables of README.md and docs/speed.md from results/speed/speed.json.

    python -m benchmarks.measure.speed.page

Run it after `python -m benchmarks.measure.speed --out results/speed`. It writes between `<!-- speed: ... -->` and
`<!-- end -->`; all other text on the two pages is written by hand and states no measured number.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.outputs.files import write_atomically

from .commands import COMMANDS
from .table import FITS, RATIOS, median, separate_runs, together

ROOT = Path(__file__).parents[3]
FOUND = ROOT / "results/speed/speed.json"
PAGES = (ROOT / "README.md", ROOT / "docs/speed.md")
BLOCK = re.compile(r"<!-- speed: (\w+) -->\n.*?<!-- end -->", re.DOTALL)

NAMES = {
    "bench, 8 activations": "`bench run`, 8 activations",
    "bench, robust": "`bench run`, 8 activations with batch norm and dropout",
    "bench, 4 activations": "`bench run`, 4 activations",
    "lightning_loop, 8 activations": "Lightning",
    "lightning_loop, robust": "Lightning",
    "sklearn_mlp, 4 activations": "scikit-learn's `MLPClassifier`",
    "bare_loop, 8 activations": "PyTorch loop",
    "skorch_net, 8 activations": "skorch",
    "fit 784-256-256-10": "`zoo fit`, 784-256-256-10",
    "fit 64-64-64-10": "`zoo fit`, 64-64-64-10",
    "bare loop 784-256-256-10": "PyTorch loop",
    "bare loop 64-64-64-10": "PyTorch loop",
    "fused loop 784-256-256-10": "PyTorch loop with `Adam(fused=True)`",
    "fused loop 64-64-64-10": "PyTorch loop with `Adam(fused=True)`",
    "fit, Fashion-MNIST": "`zoo fit`, 784-128-10 on Fashion-MNIST",
    "DataLoader, 0 workers": "PyTorch loop with a DataLoader",
    "DataLoader, 2 workers": "PyTorch loop with a DataLoader, 2 workers",
}
TRIALS = {command.name: command.trials for command in COMMANDS}
# (name here, name of the peer) of each comparison. Whole commands are compared where both train the same trials.
TRIAL_PAIRS = tuple((ours, theirs) for ours, theirs, _ in RATIOS)
WHOLE_PAIRS = tuple(pair for pair in TRIAL_PAIRS if TRIALS[pair[0]] == TRIALS[pair[1]])
EPOCH_PAIRS = tuple((ours, theirs) for ours, theirs, _ in FITS)


def fill(text: str, found: Mapping[str, Any]) -> str:
    """The page with each of its blocks as the measurements have it.

    Args:
        text: The page.
        found: What `python -m benchmarks.measure.speed` measured: its `environment` and `samples`, among others.
    """
    made = blocks(found)
    return BLOCK.sub(lambda block: f"<!-- speed: {block[1]} -->\n\n{made[block[1]]}\n\n<!-- end -->", text)


def blocks(found: Mapping[str, Any]) -> dict[str, str]:
    """The blocks by name: `tour` for the README, `where`, `whole`, `trials` and `epochs` for docs/speed.md."""
    where = found["environment"]
    whole = [_row(found, pair, "the whole command, {n} trials", "whole") for pair in WHOLE_PAIRS]
    trials = [_row(found, pair, "per trial, without imports and report") for pair in TRIAL_PAIRS]
    epochs = [_row(found, pair, "per epoch") for pair in EPOCH_PAIRS]
    machine = (
        f"Medians of {found['rounds']} rounds on {where['cpu']} ({where['cores']} cores), with torch "
        f"{where['packages']['torch']}, at commit {where['git']['commit'][:7]}."
    )
    # The first row of each.
    toured = {name: NAMES[name] for pairs in (WHOLE_PAIRS, TRIAL_PAIRS, EPOCH_PAIRS) for name in pairs[0]}
    return {
        "tour": f"{_table([whole[0], trials[0], epochs[0]])}\n\n{machine}{separate_runs(found, toured)}",
        "where": machine + separate_runs(found, NAMES),
        "whole": _table(whole),
        "trials": _table(trials),
        "epochs": _table(epochs),
    }


def _row(found: Mapping[str, Any], pair: tuple[str, str], unit: str, what: str = "seconds") -> list[str]:
    samples = found["samples"]
    ours, theirs = (median(samples, name, what) for name in pair)
    label = f"{NAMES[pair[0]]}: {unit.format(n=TRIALS.get(pair[0]))}"
    ratio = f"{theirs / ours:.2g}" if together(found, *pair) else "not measured together"
    return [label, f"{ours:.3g} s", NAMES[pair[1]], f"{theirs:.3g} s", ratio]


def _table(rows: list[list[str]]) -> str:
    header = ["this project", "time", "written by hand", "time", "speed-up"]
    rule = ["---", "--:", "---", "--:", "--:"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Fill the tables of both pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
    found = json.loads(FOUND.read_text(encoding="utf-8"))
    for page in PAGES:
        write_atomically(page, fill(page.read_text(encoding="utf-8"), found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

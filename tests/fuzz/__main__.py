"""`python -m tests.fuzz NAME ...` runs the named inputs, such as `yaml-7`, or all of a kind, and prints the answers.

Of whole kinds only the wrong ones. `FUZZ_SEED` draws other inputs than those of the test.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .driver import answers
from .kinds import KINDS, on_an_island
from .material import make_material

if __name__ == "__main__":  # workers import this file as well
    with tempfile.TemporaryDirectory() as name, on_an_island(Path(name)):
        material, runs = Path(name, "material"), Path(name, "runs")
        material.mkdir()
        runs.mkdir()
        make_material(material)
        for wanted in sys.argv[1:] or list(KINDS):
            kind, _, number = wanted.partition("-")
            inputs = [one for one in KINDS[kind](material) if not number or one.name == wanted]
            tally: Counter[object] = Counter()
            start = time.perf_counter()
            for answer in answers(inputs, runs):
                tally["wrong" if answer.problems else answer.status] += 1
                if number or answer.problems:
                    print(answer, flush=True)
            print(f"{wanted}: {dict(tally)} in {time.perf_counter() - start:.0f} s", flush=True)

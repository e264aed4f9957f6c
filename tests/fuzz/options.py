"""Bad command lines: each option with extreme values, positional arguments, and words in the wrong order."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .driver import INSTEAD, Input, draw_for, put
from .material import FIT
from .values import TEXTS

OPTIONS = Path(__file__).parents[1] / "options.txt"
PER_OPTION = {"fit": 2, "doctor": 1, "test": 1, "validate": 1, "predict": 2, "bench": 5}
# A number of devices starts as many processes.
OF_PROCESSES = ("--trainer.devices", "--trainer.num_nodes")
WRITTEN = ("--out", "--data.root")  # outside of the test's folder, only names that cannot be written
FILES = ("base.csv", "text.csv", "noop.yaml", "study.yaml", "config.yaml")
BENCH = {
    "run": ["noop.yaml", "--workers", "1", "--trial-timeout", "5"],
    "report": ["runs/noop"],
    "archive": ["runs/noop", "kept"],
    "verify": ["runs/noop", "--trials", "1", "--workers", "1"],
    "push": ["runs/noop"],
    "compare": ["runs/noop", "runs/noop"],
    "new": ["new.yaml"],
}
PARTS = {
    "--set": ("noise={}", "returns={}", "{}=1", "sleep.{}=1", "seeds={}"),
    "--filter": ("noise={}", "seed={}", "{}=1"),
    "--slurm": ("account={}", "{}=1"),
}
POSITIONAL = [
    ("zoo", []),
    ("zoo", ["list"]),
    ("zoo", ["--print-completion"]),
    ("bench", []),
    ("bench", ["--print-completion"]),
    *[("bench", [verb]) for verb in ("run", "report", "verify", "push", "new")],
    ("bench", ["archive", "runs/noop"]),
    ("bench", ["compare", "runs/noop"]),
]


def option_inputs(material: Path) -> Iterator[Input]:
    """Each option with a few values that it was not made for."""

    def prepare(folder: Path) -> None:
        for name in FILES:
            shutil.copy(material / name, folder)
        for name in ("csv_run", "runs"):
            shutil.copytree(material / name, folder / name, ignore=shutil.ignore_patterns("study"))
        for what in INSTEAD:
            if "/" not in what and what != "mine":
                put(folder / what, what)

    number = 0
    for line in OPTIONS.read_text(encoding="utf-8").splitlines():
        command, verb, *words = line.split()
        if not words or not words[-1].startswith("--"):
            continue
        option = words.pop()
        for _ in range(PER_OPTION.get(verb, PER_OPTION["bench"])):
            draw = draw_for("options", number)
            values = [v for v in TEXTS if _is_harmless(option, v)]
            value = draw.choice(PARTS.get(option, ("{}",))).replace("{}", draw.choice(values))
            argv = [*_base(command, verb, words), f"{option}={value}"] if draw.random() < 0.8 else []
            argv = argv or [*_base(command, verb, words), option, value]
            yield Input(f"options-{number}", command, argv, prepare)
            number += 1
    for command, given in POSITIONAL:
        for _ in range(6):
            draw = draw_for("options", number)
            value = draw.choice([v for v in TEXTS if _is_harmless("--out", v)])
            yield Input(f"options-{number}", command, [*given, value], prepare)
            number += 1
    for _ in range(60):
        draw = draw_for("options", number)
        command = draw.choice(("zoo", "bench"))
        verb = draw.choice(list(BENCH) if command == "bench" else ["fit", "test", "predict", "list"])
        words = [verb, *_base(command, verb, [])[1:]]
        for _ in range(draw.randrange(1, 4)):
            place = draw.randrange(len(words))
            words = draw.choice(
                (
                    words[:place] + words[place + 1 :],
                    words[:place] + [words[place]] * 2 + words[place + 1 :],
                    [*words[:place], draw.choice(("--", "-", "-h", "", "--x", "-1", "\x1b")), *words[place:]],
                    [*words[:place], words[place][:-1], *words[place + 1 :]],
                )
            ) or [""]
        yield Input(f"options-{number}", command, words, prepare)
        number += 1


def _base(command: str, verb: str, words: list[str]) -> list[str]:
    """A command line that an option is added to."""
    if command == "bench":
        extra = ["--engine", "slurm"] if words and "slurm" in words[-1] else []
        return [verb, *BENCH.get(verb, []), *extra]
    if verb in ("test", "validate", "predict"):
        return [verb, "--ckpt_path", "csv_run"]
    if verb not in ("fit", "doctor"):
        return [verb]
    named = dict(zip(words[::2], words[1::2], strict=True))
    more = ["--out", "out"] if verb == "fit" else []
    if model := named.get("--model"):
        return [verb, "--model", model, "--data", "digits", *FIT[6:], *more]
    if (data := named.get("--data")) in ("csv", "text"):
        more += ["--data.path", "base.csv" if data == "csv" else "text.csv", "--data.target", "label"]
        more += ["--data.text", "text"] if data == "text" else []
    return [verb, *FIT, *(["--data", data] if data else []), *more]


def _is_harmless(option: str, value: str) -> bool:
    if option in OF_PROCESSES:
        return not any(character in "23456789x_" for character in value) and len(value) < 10
    if option == "--seeds":
        return value != "1_000"  # so many trials
    if option in WRITTEN:
        return not value.startswith(("/dev", "..", os.sep, "fifo"))
    return True

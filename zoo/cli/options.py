"""The options of each verb of `zoo`, declared once: for parsing, help, suggestions and completion."""

import argparse
import shutil
from typing import Any, NoReturn

from datamodules.errors import InputError

from ..tracking.options import LOGGER, LOGGER_HELP, add_run_options

SUMMARIES = {
    "fit": "train a model, restore its best checkpoint and test it once",
    "doctor": "check a model and its data for common mistakes before training",
    "validate": "print the metrics of a checkpoint on the validation split",
    "test": "print the metrics of a checkpoint on the test split",
    "predict": "write the predictions of a checkpoint to a CSV file",
    "list": "list models, data sets and shipped configs",
}
MORE_HELP = "Pass --model and --data together with --help to see their options."
DESCRIPTIONS = {
    "fit": f"Train a model, restore its best checkpoint and test it once. {MORE_HELP}",
    "doctor": "Check a model and its data for common mistakes before training: inspect what `zoo fit` would train, and "
    f"train it for a few hundred steps, which takes less than a minute. The exit status is 1 if a check "
    f"fails. {MORE_HELP}",
    "validate": "Print the metrics of a checkpoint on the validation split.",
    "test": "Print the metrics of a checkpoint on the test split.",
    "predict": "Write the predictions of a checkpoint for the test split, or for every row of another CSV file.",
    "list": "List models, data sets and shipped configs.",
}
RUNS = ("fit", "doctor")  # verbs that take a whole config
EVALUATIONS = ("validate", "test", "predict")  # verbs that take a checkpoint
GROUPS = ("model", "data", "options", "callbacks", "trainer")  # in the order in which the help shows them
USAGE = f"""\
usage: zoo VERB [options]

{chr(10).join(f"  {verb:9} {summary}" for verb, summary in SUMMARIES.items())}

zoo fit --model mlp --data digits --model.hidden_dims '[64, 64]' --trainer.max_epochs 20
zoo fit --model mlp --data digits --help      explains every option
zoo --version                                 prints versions, for bug reports
zoo --print-completion bash|zsh|tcsh          prints a completion script for your shell; bash reads it from
                                              ~/.local/share/bash-completion/completions/zoo
"""
OPTION_WIDTH = 42  # the longest of Lightning's flags leaves room for its help on the same line


class VerbParser(argparse.ArgumentParser):
    """The parser of a verb's own options, with a group for each section of a config.

    Args:
        verb: The verb.
    """

    def __init__(self, verb: str) -> None:
        needs = {**dict.fromkeys(RUNS, "--model NAME --data NAME "), **dict.fromkeys(EVALUATIONS, "--ckpt_path FILE ")}
        super().__init__(
            f"zoo {verb}",
            usage=f"zoo {verb} {needs[verb]}[options]" if verb in needs else None,
            description=DESCRIPTIONS[verb],
            formatter_class=_Formatter,
            add_help=False,
            allow_abbrev=False,
        )
        self.groups = {name: self.add_argument_group(name) for name in GROUPS}
        if verb == "list":
            self.add_argument("pattern", nargs="?", default="*", help="A glob pattern, such as '*mlp*'.")
        if verb in RUNS:
            self.add("--model", "--model.name", dest="model", metavar="NAME", help="Name of the model; see `zoo list`.")
        if verb in RUNS + EVALUATIONS:
            which = "" if verb in RUNS else " (default: the one of the checkpoint)"
            what = f"Name of the data set; see `zoo list`{which}."
            self.add("--data", "--data.name", dest="data", metavar="NAME", help=what)
        if verb in EVALUATIONS:
            self.add(
                "--ckpt_path", metavar="FILE", help="Checkpoint file, or the folder of a run that contains best.ckpt."
            )
        if verb in RUNS:
            what = "YAML file with options, or name of a shipped config; can be repeated, later files take precedence."
            self.add("--config", action="append", default=[], metavar="FILE", help=what)
        if verb == "fit":
            self.add("--out", metavar="DIR", help="Folder for the run's files (default: a new folder in runs/).")
            self.add(
                "--overwrite", action="store_true", help="Replace an existing run in --out when the new one is done."
            )
            add_run_options(self.groups["options"])
        if verb == "doctor":
            self.add("--json", action="store_true", help="Print only the findings, as a JSON list.")
        if verb == "predict":
            what = "CSV file to write (default: predictions.csv next to the checkpoint)."
            self.add("--out", metavar="FILE", help=what)
        self.add("-h", "--help", action="store_true", help="Show this help and exit.")

    def add(self, *options: str, **how: Any) -> None:
        """Declare an option, in the group of its section."""
        section = options[0].lstrip("-").partition(".")[0]
        self.groups[section if section in self.groups else "options"].add_argument(*options, **how)

    def declare_logger(self) -> None:
        """Declare the logger, whose options depend on its class: `take_logger` reads them before this parser."""
        self.add_to("options", LOGGER, metavar="CLASS", help=LOGGER_HELP)

    def add_to(self, group: str, *options: str, **how: Any) -> None:
        """Declare an option in a named group."""
        self.groups[group].add_argument(*options, **how)

    def known_options(self) -> list[str]:
        """All long options in the order of the help, those of the config too where they were added."""
        return [
            option
            for group in self.groups.values()
            for action in group._group_actions
            for option in action.option_strings
            if option.startswith("--")
        ]

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{message.removeprefix('argument ')}. All options: {self.prog} --help")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=OPTION_WIDTH, width=help_width())


def help_width() -> int:
    """Width of help text, in characters."""
    return max(80, shutil.get_terminal_size().columns) - 2

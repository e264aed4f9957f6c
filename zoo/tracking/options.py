"""The options of Weights & Biases, and those of other loggers, as the command line takes them. Imports neither."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datamodules.errors import InputError, require

from .content import LONGEST_TAG

PROJECT = "ablation-zoo"
FORBIDDEN = "/\\#?%:"  # in the name of a project
LONGEST_PROJECT = 128
LOGGER = "--trainer.logger"


@dataclass(frozen=True)
class WandbOptions:
    """Where a run goes in Weights & Biases, and under which names.

    Attributes:
        project: The project.
        entity: The user or team that it belongs to; None for the key's own.
        mode: `online` or `offline`; None for online where there is a key.
        name: What the run is called; None for the model and data.
        group: The group that it belongs to.
        job_type: What kind of run it is.
        notes: A sentence about it.
        tags: Tags beside those of the model and data.
        log_model: Whether the best checkpoint is kept there, as an artifact.

    Raises:
        InputError: A project that W&B refuses.
    """

    project: str = PROJECT
    entity: str | None = None
    mode: str | None = None
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] = ()
    log_model: bool = False

    def __post_init__(self) -> None:
        found = sorted(set(FORBIDDEN) & set(self.project))
        allowed = f"a project of W&B has 1 to {LONGEST_PROJECT} characters and none of {' '.join(FORBIDDEN)}"
        require(
            bool(self.project.strip()) and len(self.project) <= LONGEST_PROJECT and not found,
            f"W&B refuses the project {self.project!r}: {allowed}; choose another name.",
        )
        for tag in self.tags:
            good = f"a tag of W&B has 1 to {LONGEST_TAG} characters"
            require(0 < len(tag) <= LONGEST_TAG, f"{good}, unlike {tag!r}; choose another.")

    @property
    def disabled(self) -> bool:
        """Whether $WANDB_MODE switches W&B off, as scripts do for all that they run."""
        return self.mode is None and os.environ.get("WANDB_MODE") == "disabled"


def default_project() -> str:
    """The project where none is given: $WANDB_PROJECT, else this project's own name."""
    return os.environ.get("WANDB_PROJECT") or PROJECT


# Where a run or a study goes, for both commands: the name after `wandb`, and what argparse is told.
WHERE: dict[str, dict[str, Any]] = {
    "project": {"metavar": "P", "help": f"the project in W&B (default: $WANDB_PROJECT, else {PROJECT})"},
    "entity": {"metavar": "E", "help": "the user or team in W&B (default: the key's own)"},
    "mode": {
        "choices": ("online", "offline"),
        "help": "online or offline (default: online where there is a key, see `wandb login`)",
    },
}


def add_study_options(parser: argparse._ActionsContainer) -> None:
    """Add what `bench run` and `bench push` say about W&B; with a dot, as `zoo fit` has it, or a dash."""
    for name, how in WHERE.items():
        parser.add_argument(f"--wandb-{name}", f"--wandb.{name}", **how)


def asks_for_wandb(args: argparse.Namespace) -> bool:
    """Whether `bench run` is to publish: by --wandb, or by any other option of it."""
    return args.wandb or any(value is not None for value in (args.wandb_project, args.wandb_entity, args.wandb_mode))


def study_options(args: argparse.Namespace) -> WandbOptions:
    """What was said by the options of `add_study_options`.

    Raises:
        InputError: A project that W&B refuses.
    """
    project = default_project() if args.wandb_project is None else args.wandb_project
    return WandbOptions(project, args.wandb_entity, args.wandb_mode)


# Options of `zoo fit`: the name after `--wandb.`, and what argparse is told.
RUN_OPTIONS: dict[str, dict[str, Any]] = {
    "on": {
        "action": "store_true",
        "help": "Show the run in Weights & Biases. Any other --wandb option does so, too.",
    },
    **{name: {**how, "help": f"{how['help'][0].upper()}{how['help'][1:]}."} for name, how in WHERE.items()},
    "name": {"metavar": "NAME", "help": "What the run is called there (default: the model and the data)."},
    "group": {"metavar": "GROUP", "help": "The group that it belongs to there."},
    "job_type": {"metavar": "TYPE", "help": "What kind of run it is (default: fit)."},
    "notes": {"metavar": "TEXT", "help": "A sentence about it."},
    "tags": {"metavar": "A,B", "help": "Tags in addition to the model and the data."},
    "log_model": {
        "choices": ("true", "false"),
        "help": "Whether the best checkpoint is kept there, as an artifact.",
    },
}
LOGGER_HELP = (
    "Another logger of Lightning, such as TensorBoardLogger, whose own options follow it in the same way: "
    f"{LOGGER}.save_dir logs."
)


def add_run_options(parser: argparse._ActionsContainer) -> None:
    """Add what `zoo fit` says about W&B; `--wandb` is short for `--wandb.on`."""
    for name, how in RUN_OPTIONS.items():
        short = ("--wandb",) if name == "on" else ()
        parser.add_argument(*short, f"--wandb.{name}", dest=f"wandb.{name}", **how)


def run_options(args: argparse.Namespace) -> WandbOptions | None:
    """What was said by `RUN_OPTIONS`; None where W&B is not asked for.

    Raises:
        InputError: A project or a tag that W&B refuses.
    """
    given = {name: getattr(args, f"wandb.{name}") for name in RUN_OPTIONS}
    if not given.pop("on") and not any(value is not None for value in given.values()):
        return None
    project = default_project() if given["project"] is None else given["project"]
    tags = tuple(tag.strip() for tag in given["tags"].split(",")) if given["tags"] else ()
    return WandbOptions(**{**given, "project": project, "tags": tags, "log_model": given["log_model"] == "true"})


def take_logger(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of a logger, and all others: what a logger takes depends on its class.

    Raises:
        InputError: An option without its value.
    """
    logger, rest = [], []
    arguments = iter(argv)
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option != LOGGER and not option.startswith(f"{LOGGER}."):
            rest.append(argument)
            continue
        if not equals:
            try:
                value = next(arguments)
            except StopIteration:
                raise InputError(f"{option} needs a value, such as {LOGGER} TensorBoardLogger.") from None
        logger.append(f"{option}={value}")
    return logger, rest

"""Command-line options of Weights & Biases and of other loggers; imports none of them."""

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
    """Destination and names of a run in Weights & Biases.

    Attributes:
        project: Name of the project.
        entity: User or team that the run belongs to; None for the default of the API key.
        mode: `online` or `offline`; None means online if there is an API key.
        name: Display name of the run; None for the names of the model and data.
        group: Group of the run.
        job_type: Type of the run.
        notes: Description of the run.
        tags: Tags in addition to the model and data.
        log_model: Whether to upload the best checkpoint as an artifact.

    Raises:
        InputError: If W&B would reject the project or a tag.
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
        require(
            bool(self.project.strip()) and len(self.project) <= LONGEST_PROJECT and not found,
            f"the name of a W&B project must have 1 to {LONGEST_PROJECT} characters and none of {' '.join(FORBIDDEN)}, "
            f"got {self.project!r}.",
        )
        for tag in self.tags:
            require(
                0 < len(tag) <= LONGEST_TAG,
                f"a tag in --wandb.tags must have 1 to {LONGEST_TAG} characters, got {tag!r}.",
            )

    @property
    def disabled(self) -> bool:
        """Whether $WANDB_MODE disables W&B, as scripts do for everything they run."""
        return self.mode is None and os.environ.get("WANDB_MODE") == "disabled"


def default_project() -> str:
    """Default name of the project: $WANDB_PROJECT, or `PROJECT` if that is not set."""
    return os.environ.get("WANDB_PROJECT") or PROJECT


# Destination of a run or a study, for both commands: the option after `wandb`, and argparse's arguments.
WHERE: dict[str, dict[str, Any]] = {
    "project": {"metavar": "P", "help": f"W&B project (default: $WANDB_PROJECT, or {PROJECT} if that is not set)"},
    "entity": {"metavar": "E", "help": "W&B user or team (default: that of the API key)"},
    "mode": {
        "choices": ("online", "offline"),
        "help": "online or offline (default: online if there is an API key, see `wandb login`)",
    },
}


def add_study_options(parser: argparse._ActionsContainer) -> None:
    """Add the W&B options of `bench run` and `bench push`, spelled with a dash or, as in `zoo fit`, with a dot."""
    for name, how in WHERE.items():
        parser.add_argument(f"--wandb-{name}", f"--wandb.{name}", **how)


def asks_for_wandb(args: argparse.Namespace) -> bool:
    """Whether `bench run` should publish to W&B, because of --wandb or another W&B option."""
    return args.wandb or any(value is not None for value in (args.wandb_project, args.wandb_entity, args.wandb_mode))


def study_options(args: argparse.Namespace) -> WandbOptions:
    """Read the options of `add_study_options`.

    Raises:
        InputError: If W&B would reject the project.
    """
    project = default_project() if args.wandb_project is None else args.wandb_project
    return WandbOptions(project, args.wandb_entity, args.wandb_mode)


# Options of `zoo fit`: the name after `--wandb.`, and argparse's arguments.
RUN_OPTIONS: dict[str, dict[str, Any]] = {
    "on": {
        "action": "store_true",
        "help": "Log the run to Weights & Biases; implied by any other --wandb option.",
    },
    **{name: {**how, "help": f"{how['help'][0].upper()}{how['help'][1:]}."} for name, how in WHERE.items()},
    "name": {"metavar": "NAME", "help": "Display name of the run in W&B (default: model and data)."},
    "group": {"metavar": "GROUP", "help": "Group of the run in W&B."},
    "job_type": {"metavar": "TYPE", "help": "Type of the run in W&B (default: fit)."},
    "notes": {"metavar": "TEXT", "help": "Description of the run in W&B."},
    "tags": {"metavar": "A,B", "help": "Tags in W&B, separated by commas, in addition to the model and the data."},
    "log_model": {
        "choices": ("true", "false"),
        "help": "Whether to upload the best checkpoint to W&B as an artifact (default: false).",
    },
}
LOGGER_HELP = (
    f"Also log to another Lightning logger, such as TensorBoardLogger; pass its options as {LOGGER}.OPTION VALUE, such "
    f"as {LOGGER}.save_dir logs."
)


def add_run_options(parser: argparse._ActionsContainer) -> None:
    """Add the W&B options of `zoo fit`; `--wandb` is short for `--wandb.on`."""
    for name, how in RUN_OPTIONS.items():
        short = ("--wandb",) if name == "on" else ()
        parser.add_argument(*short, f"--wandb.{name}", dest=f"wandb.{name}", **how)


def run_options(args: argparse.Namespace) -> WandbOptions | None:
    """Read the options of `add_run_options`; None if W&B is not used.

    Raises:
        InputError: If W&B would reject the project or a tag.
    """
    given = {name: getattr(args, f"wandb.{name}") for name in RUN_OPTIONS}
    if not given.pop("on") and not any(value is not None for value in given.values()):
        return None
    project = default_project() if given["project"] is None else given["project"]
    tags = tuple(tag.strip() for tag in given["tags"].split(",")) if given["tags"] else ()
    return WandbOptions(**{**given, "project": project, "tags": tags, "log_model": given["log_model"] == "true"})


def take_logger(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the options of a logger, which depend on its class, from all others.

    Raises:
        InputError: If an option has no value.
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

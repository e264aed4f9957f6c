"""Other loggers of Lightning, made from options."""

from argparse import ArgumentError
from collections.abc import Sequence

import lightning.pytorch.loggers as known
from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger

from datamodules.errors import InputError, choose, require

from .options import LOGGER


def make_logger(options: Sequence[str]) -> Logger | None:
    """The logger that options ask for; None where none is asked for.

    Args:
        options: `--trainer.logger=CLASS`, a class of `lightning.pytorch.loggers` or the dotted name of another, and
            `--trainer.logger.OPTION=VALUE` for what its constructor takes.

    Raises:
        InputError: No such class, an option that it does not take, one that it lacks, or a package that it needs.
    """
    if not options:
        return None
    name = next((o.partition("=")[2] for o in options if o.startswith(f"{LOGGER}=")), None)
    names = [
        name
        for name, cls in vars(known).items()
        if isinstance(cls, type) and issubclass(cls, Logger) and cls not in (Logger, known.WandbLogger)
    ]
    if name is None:
        raise InputError(f"which logger? Say {LOGGER} CLASS; Lightning's own: {', '.join(sorted(names))}.")
    # It would ask for a key where nobody answers, and know nothing of what is to happen without a network.
    require("WandbLogger" not in name, f"{LOGGER} {name}: say --wandb in its place.")
    if "." not in name and not name.startswith("{"):
        choose("logger", name, names)
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_argument("--trainer.logger", type=Logger)
    try:
        return parser.instantiate_classes(parser.parse_args(list(options))).trainer.logger
    except ArgumentError as error:
        said = " ".join(str(error).split()).removeprefix('Parser key "trainer.logger": ')
        raise InputError(f"{LOGGER} {name}: {said}; its options are given as {LOGGER}.OPTION VALUE.") from None
    except (ImportError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{LOGGER} {name} cannot be made: {' '.join(str(error).split())}") from None

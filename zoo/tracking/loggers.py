"""Other Lightning loggers, created from options."""

from argparse import ArgumentError
from collections.abc import Sequence

import lightning.pytorch.loggers as known
from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger

from datamodules.errors import InputError, choose, require

from .options import LOGGER


def make_logger(options: Sequence[str]) -> Logger | None:
    """Create the logger that the options ask for; None if there are no options.

    Args:
        options: `--trainer.logger=CLASS`, a class of `lightning.pytorch.loggers` or the import path of another class,
            and `--trainer.logger.OPTION=VALUE` for the arguments of its constructor.

    Raises:
        InputError: If the class or an option is unknown, or a required option or package is missing.
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
        raise InputError(
            f"the options of a logger need its class; pass {LOGGER} CLASS. Lightning's loggers: "
            f"{', '.join(sorted(names))}."
        )
    # It would prompt for a key, and does not handle a missing network.
    require("WandbLogger" not in name, f"{LOGGER} {name} is not supported; use --wandb instead.")
    if "." not in name and not name.startswith("{"):
        choose("logger", name, names)
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_argument("--trainer.logger", type=Logger)
    try:
        return parser.instantiate(parser.parse_args(list(options))).trainer.logger
    except ArgumentError as error:
        said = " ".join(str(error).split()).removeprefix('Parser key "trainer.logger": ')
        raise InputError(f"{LOGGER} {name}: {said}; pass its options as {LOGGER}.OPTION VALUE.") from None
    except (ImportError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{LOGGER} {name} cannot be created: {' '.join(str(error).split())}") from None

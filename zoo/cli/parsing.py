"""Parses a command line into a verb's own options and a config, merged from files and options."""

import argparse
import json
from argparse import ArgumentError
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datamodules.errors import InputError

from ..option_names import same, similar, unknown_option
from ..tracking.options import take_logger
from ..yaml_lines import TEXT_LISTS, parse_value
from .options import VerbParser
from .process import loading

if TYPE_CHECKING:
    from ..plain import Config


def read_run(argv: Sequence[str], verb: str) -> tuple[argparse.Namespace, "Config"]:
    """Parse the arguments of `zoo fit` or `zoo doctor`.

    Returns:
        The verb's own options, and the config.

    Raises:
        InputError: If an option or name is unknown, or a value has the wrong type.
    """
    parser = VerbParser(verb)
    loggers: list[str] = []
    if verb == "fit":
        loggers, argv = take_logger(argv)
        parser.declare_logger()
    args, rest = parser.parse_known_args(argv)
    args.logger = loggers

    with loading("torch", "lightning"):
        from ..config import merge, read_config
    config: Config = {}
    for file in args.config:
        config = merge(config, read_config(file))
    config = merge(config, {s: {"name": n} for s, n in (("model", args.model), ("data", args.data)) if n})
    model, data = (config.get(section, {}).get("name") for section in ("model", "data"))
    return args, merge(config, _read_config_options(parser, verb, args, rest, model, data))


def read_evaluation(argv: Sequence[str], verb: str) -> tuple[argparse.Namespace, "Config"]:
    """Parse the arguments of `zoo validate`, `zoo test` or `zoo predict`.

    Returns:
        The verb's own options, and the `data` and `trainer` sections as given.

    Raises:
        InputError: As above, or if no checkpoint is given.
    """
    parser = VerbParser(verb)
    args, rest = parser.parse_known_args(argv)

    with loading("torch", "lightning"):
        from ..outputs.checkpoint import read_checkpoint

    # The options of the data that the model was trained on are known without --data.
    run = read_checkpoint(args.ckpt_path)["zoo"]["config"] if args.ckpt_path else None
    data = args.data or (run["data"]["name"] if run else None)
    config = _read_config_options(parser, verb, args, rest, None, data)
    if args.data:  # not the checkpoint's own: only what the user names is downloaded
        config["data"] = {**config.get("data", {}), "name": args.data}
    if args.ckpt_path is None:
        raise InputError("a checkpoint is required; pass --ckpt_path FILE.")
    return args, config


def _read_config_options(
    parser: VerbParser, verb: str, args: argparse.Namespace, argv: Sequence[str], model: str | None, data: str | None
) -> "Config":
    """The config's options given, typed, as nested dicts; --help is answered here, where all options are known."""
    with loading("torch", "lightning"):
        from datamodules import DATAMODULES

        from ..config import explain, yaml_1_2
        from ..models.registry import MODELS
        from .config_options import add_config_options, config_parser, every_option

    for registry, name in ((MODELS, model), (DATAMODULES, data)):
        if name is not None:
            registry.check(name)
    config = config_parser(verb, model, data)
    add_config_options(parser, config, model, data)
    if args.help:
        parser.print_help()
        raise SystemExit(0)
    accepted = {option for action in config._actions for option in action.option_strings} | {*parser.known_options()}
    for argument in argv:
        option = argument.partition("=")[0]
        nested = option.count(".") > 1 and not option.startswith("--callbacks.")  # options of a class given by name
        if option.startswith("--") and option not in accepted and not nested:
            known, every = parser.known_options(), every_option(verb).known_options()
            meant = same(option, known) or same(option, every) or similar(option, known) or similar(option, every)
            see = " ".join(["zoo", verb, *_named(model, data), "--help"])
            if meant is not None and meant not in known and model is not None:
                which = "which" if meant == option else f"and the similar {meant!r}"
                other = f"{which} is an option of other models or data sets only"
                raise InputError(f"unknown option {option!r}, {other}. All options: {see}")
            raise unknown_option(option, meant, see)
    try:
        with yaml_1_2():
            return config.parse_args(_with_text_lists(argv), defaults=False).as_dict()
    except ArgumentError as error:
        if "nrecognized arguments" in str(error):
            raise InputError(
                f"{error}. Options start with --, such as --data NAME. All options: {parser.prog} --help"
            ) from None
        raise explain(error, model, data) from None


def _with_text_lists(argv: Sequence[str]) -> list[str]:
    """The arguments with lists of names as JSON, because jsonargparse would take the column `1` for a number."""
    told, option = [], ""
    for argument in argv:
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
        else:
            equals, value = "", argument
        names = parse_value(value, option) if option.rpartition(".")[2] in TEXT_LISTS and value else None
        told.append(f"{option}=" * bool(equals) + json.dumps(names) if isinstance(names, list) else argument)
    return told


def _named(model: str | None, data: str | None) -> list[str]:
    return [word for section, name in (("model", model), ("data", data)) if name for word in (f"--{section}", name)]

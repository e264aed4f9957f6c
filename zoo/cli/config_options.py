"""Adds the options of a config, defined in `zoo.config`, to a verb's parser for help, suggestions and completion."""

import argparse
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentParser

from datamodules import DATAMODULES

from ..callbacks import CALLBACKS
from ..config import TRAINER_DEFAULTS, make_parser, type_name
from ..models.registry import MODELS
from .options import EVALUATIONS, OPTION_WIDTH, RUNS, VerbParser, help_width

BOOL = "BOOL"
LIGHTNING = "https://lightning.ai/docs/pytorch/stable/common/trainer.html"


def config_parser(verb: str, model: str | None, data: str | None) -> ArgumentParser:
    """Create the parser of a verb's config sections; verbs with a checkpoint have no model options."""
    return make_parser(model, data) if verb in RUNS else make_parser(None, data, ("data", "trainer"))


def add_config_options(parser: VerbParser, config: ArgumentParser, model: str | None, data: str | None) -> None:
    """Add the options of a config's parser to a verb's parser."""
    for option, action in _options(config):
        if option.startswith("--callbacks."):
            callback = option.removeprefix("--callbacks.")
            state = "On by default; false disables it." if CALLBACKS[callback][1] else "true enables it."
            parser.add(option, metavar="V", help=f"{_text(action).partition('. ')[0].rstrip('.')}. {state}")
            own = ArgumentParser()
            own.add_class_arguments(CALLBACKS[callback][0], f"callbacks.{callback}")
            for name, one in _options(own):
                if name != option:
                    parser.add(name, metavar=_metavar(one), help=_explained(one))
        elif option.startswith("--trainer."):
            default = TRAINER_DEFAULTS.get(option.removeprefix("--trainer."))
            end = "" if default is None else f" (default: {default})"
            parser.add(option, metavar=_metavar(action), help=_one_line(_text(action), end))
        else:
            parser.add(option, metavar=_metavar(action), help=_explained(action))
    groups = parser.groups
    groups["options"]._group_actions.sort(key=lambda action: (action.dest == "help", action.dest != "seed_everything"))
    groups["model"].title = _title("model", MODELS, model)
    groups["data"].title = _title("data", DATAMODULES, data)
    groups["callbacks"].title = "callbacks, described in docs/"
    groups["trainer"].title = f"trainer: Lightning's flags, described at {LIGHTNING}"


def every_option(verb: str) -> VerbParser:
    """Create a verb's parser with the options of all models and data sets, for completion and suggestions."""
    parser = VerbParser(verb)
    if verb in RUNS + EVALUATIONS:
        add_config_options(parser, config_parser(verb, None, None), None, None)
        for section, registry in (("model", MODELS), ("data", DATAMODULES)):
            for name in registry.names() if section == "data" or verb in RUNS else ():
                model, data = (name, None) if section == "model" else (None, name)
                known = set(parser.known_options())
                for option, action in _options(make_parser(model, data, (section,))):
                    if option not in known:
                        parser.add(option, metavar=_metavar(action), help=_explained(action))
    return parser


def _options(config: ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Yield options with their actions, except names, whole sections and jsonargparse's own help."""
    for action in config._actions:
        option = action.option_strings[0] if action.option_strings else ""
        whole = option in ("--model", "--data", "--trainer") or (
            option.count(".") > 1 and not option.startswith("--call")
        )
        if option and not whole and not option.endswith((".help", ".name")) and option not in ("-h", "--help"):
            yield option, action


def _type_of(action: argparse.Action) -> Any:
    return getattr(action, "_typehint", None) or action.type


def _metavar(action: argparse.Action) -> str:
    """Use one letter for numbers, so that the help of Lightning's longest flag still fits on its line."""
    return {"int": "N", "float": "X", "bool": BOOL}.get(type_name(_type_of(action)).removesuffix(" | null"), "V")


def _text(action: argparse.Action) -> str:
    return " ".join((action.help or "").split())


def _explained(action: argparse.Action) -> str:
    """Return an option's help with its type and default."""
    default = "null" if action.default is None else action.default
    default = list(default) if isinstance(default, tuple) else default
    default = str(default).lower() if isinstance(default, bool) else default
    more = f"({type_name(_type_of(action))}, default: {default})"
    if action.default in (argparse.SUPPRESS, "") or action.required:
        more = f"({type_name(_type_of(action))})"
    return f"{_escaped(_text(action))} {_escaped(more)}"


def _one_line(text: str, end: str = "") -> str:
    """Shorten a help text to its first sentence on one line, followed by `end`."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([^`]*)`", r"\1", text).replace("``", "").replace("`", "")
    sentence = re.split(r"(?<=[.?!])\s", text)[0]
    return _escaped(textwrap.shorten(sentence, help_width() - OPTION_WIDTH - len(end), placeholder=" ...") + end)


def _escaped(text: str) -> str:
    return text.replace("%%", "%").replace("%", "%%")


def _title(section: str, registry: Any, name: str | None) -> str:
    if name is None:
        return f"{section}: --{section} NAME adds the options of NAME"
    return f"{section} {name}: {registry.summary(name).rstrip('.')}"

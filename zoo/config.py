"""Resolves plain values to a typed, complete config.

A config is a dict of plain values: `seed_everything`, `model` and `data` (each with its `name`), `trainer` (this
project's defaults and the flags that were given, without Lightning's own defaults) and `callbacks` (a callback that is
on by default is null if it is off; other callbacks are included only if they are on).
"""

import re
import reprlib
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import lightning.pytorch as L
from jsonargparse import ArgumentParser, _loaders_dumpers, set_loader
from yaml import YAMLError

from datamodules import DATAMODULES
from datamodules.base import ArrayDataModule
from datamodules.errors import InputError, require, unknown
from datamodules.parameters import check_parameters, parameters

from .callbacks import CALLBACKS
from .models.base import ZooModule
from .models.registry import MODELS
from .option_names import nearest
from .plain import Config, ResolvedConfig
from .shipped import shipped_configs
from .trainer_flags import check_flags
from .yaml_lines import Loader, check_texts, load_option, read_yaml

TRAINER_DEFAULTS: Config = {"max_epochs": 100, "gradient_clip_val": 1.0}
FROM_DATA = {"input_shape", "num_classes"}
# Flags that are live objects, or are replaced by other options.
OWN_TRAINER_FLAGS = {
    "callbacks",
    "logger",
    "default_root_dir",
    "enable_checkpointing",
    "barebones",
    "use_distributed_sampler",
    "reload_dataloaders_every_n_epochs",
    "overfit_batches",
    "model_registry",
    "plugins",
    # These would evaluate splits only partially; use data.train_size for a smaller run.
    "fast_dev_run",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "val_check_interval",
}
# Checkpoints are evaluated on one device, so that each sample counts once.
SEVERAL_DEVICES = {"devices", "num_nodes", "strategy"}
FILES_OF_PROFILERS = ("dirpath", "filename")
SECTIONS = ("seed_everything", "model", "data", "trainer", "callbacks")
# Parameters that were added after the first results and are null by default. A config contains them only if they are
# not null, so that the keys of older trials, which are hashes of their configs, do not change.
YOUNGER = {
    "model": ("bias_init",),
    "data": ("missing", "pad", "shift", "permute_pixels"),
}
NUMBER = re.compile(r"-?[0-9]+")
DIGITS = 18  # of the largest integers that all of torch accepts

# Values of options mean what they mean in a config file.
VALUES = "zoo"
set_loader(VALUES, load_option, (YAMLError, InputError))


@contextmanager
def yaml_1_2() -> Iterator[None]:
    """In this context, jsonargparse reads text for a number or a boolean as YAML 1.2.

    For these types it ignores `VALUES` and uses its own reader of YAML 1.1, for which `1:30` is 90 and `off` is false.
    """
    jsonargparse: Any = _loaders_dumpers
    before, jsonargparse.yaml_default_loader = jsonargparse.yaml_default_loader, Loader
    try:
        yield
    finally:
        jsonargparse.yaml_default_loader = before


def resolve(config: Mapping[str, Any]) -> ResolvedConfig:
    """Convert a config's values to their types, fill in this project's defaults, and reject unknown keys.

    Args:
        config: Sections as above. Only `model` and `data` are required, each a name or a mapping with a `name`.

    Raises:
        InputError: If a key or name is unknown (with the nearest match), or a value has the wrong type.
    """
    config = expand(config)
    check_texts(config)
    model, data = (_name(config, section) for section in ("model", "data"))
    _check_keys(config, model, data)
    for section in ("trainer", "callbacks"):
        _check_classes(section, config.get(section, {}))
    parser = _cached_parser(model, data)
    try:
        with yaml_1_2():
            complete, given = (parser.parse_object(dict(config), defaults=d).as_dict() for d in (True, False))
    except ArgumentError as error:
        raise explain(error, model, data) from None
    for section in SECTIONS[1:]:
        _check_sizes(section, given.get(section, {}))
    seed = complete["seed_everything"]
    require(isinstance(seed, int) and seed >= 0, f"seed_everything must not be negative or null, got {seed}.")
    require(seed < 2**32, f"seed_everything must be less than 2**32, got {seed}.")
    trainer = TRAINER_DEFAULTS | _flags(given.get("trainer", {}))
    check_flags(trainer)
    callbacks = {name: _options(name, value) for name, value in complete["callbacks"].items()}
    for name, options in callbacks.items():
        _check_nulls(name, options or {})
    callbacks = {name: options for name, options in callbacks.items() if options is not None or CALLBACKS[name][1]}
    sections = {section: _section(section, complete[section]) for section in ("model", "data")}
    complete = {"seed_everything": seed, **sections, "trainer": trainer, "callbacks": callbacks}
    return ResolvedConfig(_plain(complete))


def expand(config: Mapping[str, Any]) -> Config:
    """Expand the short form `model: mlp` to `model: {name: mlp}`, and the same for `data`.

    Raises:
        InputError: If a section is neither a name nor a mapping.
    """
    require(
        isinstance(config, Mapping),
        f"a config must be a mapping with the sections {', '.join(SECTIONS)}, got {config!r}.",
    )
    expanded = {k: dict(v) if isinstance(v, Mapping) else v for k, v in config.items()}
    for section in ("model", "data"):
        if isinstance(expanded.get(section), str):
            expanded[section] = {"name": expanded[section]}
    for section in SECTIONS[1:]:
        value = expanded.get(section, {})
        require(isinstance(value, dict), f"the config's section {section!r} must be a mapping, got {value!r}.")
    return expanded


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Config:
    """Merge `over` into a copy of `base`; a section whose name changes is replaced completely."""
    merged = expand(base)
    for section, values in expand(over).items():
        old = merged.get(section)
        if not isinstance(old, dict) or values.get("name", old.get("name")) != old.get("name"):
            merged[section] = values
            continue
        for key, value in values.items():
            # Callbacks are nested once more: an option of a callback keeps its other options.
            nested = section == "callbacks" and isinstance(value, Mapping) and isinstance(old.get(key), Mapping)
            old[key] = {**old[key], **value} if nested else value
    return merged


def read_config(file: str) -> Config:
    """Read a config from a YAML file, or a shipped config by its name.

    Raises:
        InputError: If the file does not exist, or does not contain a YAML mapping.
        OSError: If its name is too long, or its folder cannot be read.
    """
    path = Path(file)
    if not path.exists():
        shipped = shipped_configs()
        if file not in shipped:
            raise InputError(
                f"the config file {file!r} does not exist; pass a YAML file, or the name of a shipped config: "
                f"{', '.join(shipped)}."
            )
        path = shipped[file]
    content, _, _ = read_yaml(path)
    require(isinstance(content, dict), f"{path} must contain a mapping with the sections {', '.join(SECTIONS)}.")
    return expand(content)


def make_parser(
    model: str | None, data: str | None, sections: Iterable[str] = SECTIONS, **options: Any
) -> ArgumentParser:
    """Create a jsonargparse parser with the options of a run.

    Args:
        model: Model whose hyperparameters to include; None for those common to all models.
        data: Data set whose parameters to include; None for those common to all data sets.
        sections: Sections of the config to include.
        **options: Arguments of the parser itself.
    """
    parser = ArgumentParser(exit_on_error=False, default_env=False, parser_mode=VALUES, **options)
    if "seed_everything" in sections:
        help_text = "Seed of the run; determines validation split, initial weights, data order and dropout."
        parser.add_argument("--seed_everything", type=int, default=0, metavar="N", help=help_text)
    if "model" in sections:
        parser.add_class_arguments(MODELS.load(model) if model else ZooModule, "model", skip=FROM_DATA)
        parser.add_argument(
            "--model.name", type=str, default=model, help="Name of the model; short form: --model NAME."
        )
    if "data" in sections:
        parser.add_class_arguments(DATAMODULES.load(data) if data else ArrayDataModule, "data")
        parser.add_argument(
            "--data.name", type=str, default=data, help="Name of the data set; short form: --data NAME."
        )
    if "trainer" in sections:
        skip = OWN_TRAINER_FLAGS if "model" in sections else OWN_TRAINER_FLAGS | SEVERAL_DEVICES
        parser.add_class_arguments(L.Trainer, "trainer", skip=skip)
        parser.set_defaults({f"trainer.{k}": v for k, v in TRAINER_DEFAULTS.items()})
    for name, (cls, on) in CALLBACKS.items() if "callbacks" in sections else ():
        help_text = f"{(cls.__doc__ or '').partition(chr(10))[0]} {'false disables it' if on else 'true enables it'}."
        parser.add_argument(
            f"--callbacks.{name}", type=cls | bool | None, default=cls() if on else None, help=help_text
        )
    return parser


_cached_parser = cache(make_parser)


def explain(error: ArgumentError, model: str | None = None, data: str | None = None) -> InputError:
    """Convert an error of jsonargparse to one sentence.

    Args:
        error: The error.
        model: Model whose hyperparameters were parsed.
        data: Data set whose parameters were parsed.
    """
    text = str(error)
    key, value = re.search(r'key "([^"]+)"', text), re.search(r"(?:Got value|Given value): (.*)", text)
    if key is None or value is None:
        return InputError(" ".join(text.split()).removeprefix("argument "))
    section, _, name = key[1].partition(".")
    if section == "seed_everything":
        return InputError(f"seed_everything must be of type int, got {value[1]!r}.")
    if section == "callbacks" and name in CALLBACKS:
        return InputError(f"{key[1]} must be true, false or a mapping of its options, got {value[1]!r}.")
    registry = {"model": (MODELS, model), "data": (DATAMODULES, data)}.get(section)
    cls = registry[0].load(registry[1]) if registry and registry[1] else L.Trainer
    known = parameters(cls)
    if name not in known:
        return InputError(f"{key[1]} has an invalid value, {value[1]!r}.")
    expected = type_name(known[name].annotation)
    what = "one of" if "'" in expected else "of type"  # quotes are those of a Literal
    return InputError(f"{key[1]} must be {what} {expected}, got {value[1]!r}.")


def type_name(annotation: Any) -> str:
    """Format a type for help and messages, such as `float | null`."""
    if annotation is type(None):
        return "null"
    if not (parts := get_args(annotation)):
        return annotation.__name__ if isinstance(annotation, type) else str(annotation).rpartition(".")[2]
    if (origin := get_origin(annotation)) is Literal:
        return " | ".join(map(repr, parts))
    if origin is Sequence:
        origin = list  # the type that a user writes
    names = [type_name(part) for part in parts]
    return " | ".join(names) if origin in (Union, UnionType) else f"{type_name(origin)}[{', '.join(names)}]"


def _name(config: Config, section: str) -> str:
    registry = MODELS if section == "model" else DATAMODULES
    name = config.get(section, {}).get("name")
    if name is None:
        raise InputError(
            f"the {registry.kind} is missing; pass --{section} NAME, or set {section}.name in the config. Available: "
            f"{', '.join(registry.names())}."
        )
    return registry.check(name)


def _check_keys(config: Config, model: str, data: str) -> None:
    for section in config:
        if section not in SECTIONS:
            raise unknown("section of a config", section, SECTIONS)
    owners = {
        "model": (f"model {model!r}", MODELS.load(model), FROM_DATA),
        "data": (f"data set {data!r}", DATAMODULES.load(data), set()),
        "trainer": ("the trainer", L.Trainer, OWN_TRAINER_FLAGS),
    }
    known = [
        f"{s}.{name}" for s, (_, cls, without) in owners.items() for name in parameters(cls) if name not in without
    ]
    for section, (owner, cls, without) in owners.items():
        given = set(config.get(section, {})) - {"name"}
        for key in sorted(given):
            if f"{section}.{key}" not in known:
                meant = nearest(f"{section}.{key}", known)
                hint = f" Did you mean {meant.removeprefix(f'{section}.')!r}?" if meant else ""
                see = f"zoo fit --model {model} --data {data} --help"
                raise InputError(f"unknown parameter of {owner} {key!r}.{hint} All options: {see}")
        check_parameters(owner, cls, given, without)
    for name, options in config.get("callbacks", {}).items():
        if name not in CALLBACKS:
            raise unknown("callback", name, CALLBACKS)
        names = [field.name for field in fields(CALLBACKS[name][0])]
        for option in options if isinstance(options, Mapping) else ():
            if option not in names:
                raise unknown(f"option of the callback {name!r}", option, names)


def _check_classes(place: str, value: Any) -> None:
    """Reject class names from outside Lightning: a config, which may be a stranger's, must not import a module.

    jsonargparse imports what looks like a class, in a `class_path` or as plain text, while it tries types in turn.
    """
    if isinstance(value, str) and place.rpartition(".")[2] not in FILES_OF_PROFILERS:
        require(
            not re.fullmatch(r"\s*[^\W\d]\w*(\.\w+)+\s*", value) or value.strip().startswith("lightning."),
            f"{place}: {value!r} is not one of Lightning's classes, and a config cannot load other code; pass a name, "
            "such as ddp, or a class that starts with lightning.",
        )
        with suppress(YAMLError, InputError):
            value = load_option(value) if "{" in value else value
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_classes(f"{place}.{key}", item)
    if isinstance(value, list):
        for item in value:
            _check_classes(place, item)


def _check_sizes(place: str, value: Any) -> None:
    """Refuse integers that torch and Lightning cannot compute with; widths are judged by the memory that they need."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_sizes(f"{place}.{key}", item)
    if isinstance(value, list) and not place.startswith("model."):
        for item in value:
            _check_sizes(place, item)
    digits = value if isinstance(value, str) and place.startswith("trainer.") and NUMBER.fullmatch(value) else ""
    if (type(value) is int and abs(value) >= 10**DIGITS) or len(digits.lstrip("-0")) > DIGITS:
        raise InputError(f"{place} must have at most {DIGITS} digits, got {reprlib.repr(value)}; use a smaller number.")


def _section(section: str, values: Mapping[str, Any]) -> Config:
    """Return the parameters of a model or data set, with its name first."""
    shown = {name: value for name, value in values.items() if value is not None or name not in YOUNGER[section]}
    return {"name": None, **shown}


def _options(name: str, value: Any) -> Config | None:
    """Return a callback's options: true means its defaults; false and null mean None."""
    return asdict(CALLBACKS[name][0]()) if value is True else value or (None if value in (False, None) else {})


def _check_nulls(name: str, options: Config) -> None:
    """Check that no option of a callback is null; the parser accepts null for any field of a dataclass."""
    types = get_type_hints(CALLBACKS[name][0])
    for option, value in options.items():
        fits = value is not None or type(None) in get_args(types[option])
        require(fits, f"callbacks.{name}.{option} must be of type {type_name(types[option])}, got null; remove it.")


def _flags(given: Mapping[str, Any]) -> Config:
    """Normalise the trainer's flags, and drop those equal to Lightning's defaults."""
    flags = {}
    for name, value in given.items():
        if isinstance(value, str) and NUMBER.fullmatch(value):  # jsonargparse parses `--trainer.devices 2` as text
            value = int(value)
        if name == "gradient_clip_val" and value is not None:
            value = float(value)
        if name in TRAINER_DEFAULTS or value != parameters(L.Trainer)[name].default:
            flags[name] = value
    return flags


def _plain(value: Any) -> Any:
    """Convert nested values to dicts, lists and scalars."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value

"""Suggestions for misspelled options and config keys. Imports neither torch nor lightning."""

import difflib
from collections.abc import Iterable

from datamodules.errors import InputError

# Common names of options, and the names used here, of which the first existing one is suggested. Other options are
# found by the last part of their name.
SYNONYMS = {
    "batch": ("data.batch_size",),
    "bs": ("data.batch_size",),
    "checkpoint": ("ckpt_path",),
    "ckpt": ("ckpt_path",),
    "clip": ("trainer.gradient_clip_val",),
    "cpu": ("trainer.accelerator",),
    "data": ("data.name",),
    "dataset": ("data", "data.name"),
    "device": ("trainer.accelerator",),
    "early_stopping": ("callbacks.early_stopping",),
    "epochs": ("trainer.max_epochs",),
    "force": ("overwrite",),
    "gpu": ("trainer.accelerator",),
    "gpus": ("trainer.devices",),
    "grad_clip": ("trainer.gradient_clip_val",),
    "hidden": ("model.hidden_dims",),
    "hidden_size": ("model.hidden_dims",),
    "init": ("model.initializer",),
    "jobs": ("workers",),
    "l2": ("model.weight_decay",),
    "layers": ("model.hidden_dims",),
    "learning_rate": ("model.lr",),
    "lr_scheduler": ("model.schedule",),
    "model": ("model.name",),
    "n_epochs": ("trainer.max_epochs",),
    "num_epochs": ("trainer.max_epochs",),
    "num_seeds": ("seeds",),
    "num_workers": ("workers",),
    "optim": ("model.optimizer",),
    "output": ("out",),
    "pack_size": ("pack",),
    "patience": ("callbacks.early_stopping.patience",),
    "random_state": ("seed_everything",),
    "resume": ("ckpt_path",),
    "retry": ("retry-failed",),
    "scheduler": ("model.schedule",),
    "seed": ("seed_everything", "seeds"),
    "seed_everything": ("seeds",),
    "wd": ("model.weight_decay",),
}
# Common config keys, which `bench` suggests without importing torch to list all others.
COMMON_KEYS = (
    *(
        f"model.{name}"
        for name in (
            "name",
            "hidden_dims",
            "activation",
            "initializer",
            "norm",
            "dropout",
            "optimizer",
            "lr",
            "weight_decay",
            "schedule",
            "warmup_epochs",
            "label_smoothing",
            "class_weights",
        )
    ),
    *(f"data.{name}" for name in ("name", "batch_size", "val_fraction", "train_size", "seed", "root")),
    *(
        f"trainer.{name}"
        for name in (
            "max_epochs",
            "gradient_clip_val",
            "accelerator",
            "devices",
            "precision",
            "accumulate_grad_batches",
        )
    ),
    "callbacks.early_stopping.patience",
)


def nearest(given: str, known: Iterable[str]) -> str | None:
    """Return the known option or key that a wrong one most likely means.

    Args:
        given: The wrong option or key, such as `--epochs`, `--batch-size` or `model.epochs`.
        known: Existing options or keys; the first one wins if several match equally well.
    """
    known = list(known)
    return same(given, known) or similar(given, known)


def same(given: str, known: Iterable[str]) -> str | None:
    """Return the known option or key that has another spelling, is a synonym, or has the same last part."""
    names = _by_plain_name(known)
    name = _plain(given)
    last = name.rpartition(".")[2]
    for candidate in map(_plain, (name, *SYNONYMS.get(name, ()), *SYNONYMS.get(last, ()))):
        if candidate in names:
            return names[candidate]
    return next((option for plain, option in names.items() if plain.rpartition(".")[2] == last), None)


def similar(given: str, known: Iterable[str]) -> str | None:
    """Return the known option or key with the most similar spelling, preferring the same section."""
    names = _by_plain_name(known)
    name = _plain(given)
    section, _, last = name.rpartition(".")
    inside = [candidate for candidate in names if section and candidate.startswith(f"{section}.")]
    for candidates, cutoff in ((inside, 0.7), (list(names), 0.75)):
        if found := difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff):
            return names[found[0]]
    by_last = {candidate.rpartition(".")[2]: candidate for candidate in reversed(names)}
    found = difflib.get_close_matches(last, by_last, n=1, cutoff=0.7)
    return names[by_last[found[0]]] if found else None


def unknown_option(option: str, meant: str | None, see: str) -> InputError:
    """Make the error for an unknown option, with a suggestion and the command that lists all options.

    Args:
        option: The unknown option.
        meant: The option, or option and value, to suggest; None if nothing is similar.
        see: The command that lists all options.
    """
    hint = f" Did you mean {meant!r}?" if meant else ""
    return InputError(f"unknown option {option!r}.{hint} All options: {see}")


def _by_plain_name(known: Iterable[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for option in known:
        names.setdefault(_plain(option), option)
    return names


def _plain(option: str) -> str:
    return option.lstrip("-").replace("-", "_").lower()

"""Which option or config key a wrong name stands for. Imports neither torch nor lightning."""

import difflib
from collections.abc import Iterable

from datamodules.errors import InputError

# What people call an option, and its names here, of which the first that exists counts. All others are found by the
# last part of their name.
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
    "gpu": ("trainer.devices",),
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
    "patience": ("callbacks.early_stopping.patience",),
    "random_state": ("seed_everything",),
    "resume": ("ckpt_path",),
    "scheduler": ("model.schedule",),
    "seed": ("seed_everything", "seeds"),
    "seed_everything": ("seeds",),
    "wd": ("model.weight_decay",),
}
# Keys of a config that all runs share, for `bench`, which suggests them without importing torch to list the others.
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
    """The known option or key that a wrong one most likely stands for.

    Args:
        given: What was given, such as `--epochs`, `--batch-size` or `model.epochs`.
        known: The options or keys that exist; of several that match equally well the first wins.
    """
    known = list(known)
    return same(given, known) or similar(given, known)


def same(given: str, known: Iterable[str]) -> str | None:
    """The known option or key that a name stands for by another spelling, a synonym or the last part of its name."""
    names = _by_plain_name(known)
    name = _plain(given)
    last = name.rpartition(".")[2]
    for candidate in (name, *SYNONYMS.get(name, ()), *SYNONYMS.get(last, ())):
        if candidate in names:
            return names[candidate]
    return next((option for plain, option in names.items() if plain.rpartition(".")[2] == last), None)


def similar(given: str, known: Iterable[str]) -> str | None:
    """The known option or key that is spelt most like a name, those of its own section first."""
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
    """The refusal of an option, with what was probably meant and the command that lists all.

    Args:
        option: As given.
        meant: The option, or option and value, to suggest; None if nothing comes near.
        see: The command.
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

"""Packs on the GPU: losses against the CPU, seconds by size, and whether a member's bits depend on its pack."""

import statistics
from collections.abc import Sequence

import torch

from datamodules.loader import has_batch_norm
from zoo.config import resolve
from zoo.pack import Member, Pack, device_of, reason_to_run_alone
from zoo.parts.layers import ACTIVATIONS
from zoo.parts.metric_names import DIAGNOSIS, is_diagnosis
from zoo.parts.optim import OPTIMIZERS
from zoo.plain import Config, ResolvedConfig, canonical
from zoo.train import make_member, prepare

from .rows import Findings
from .setting import ACCURACY, LOSSES, LOSSES_BATCH_NORM, Setting, losses_apart, same_bits

EPOCHS = 10
SIZES = (1, 10, 100)
ROUNDS = 3
AIM = 2.0  # times as long for the largest pack as for one net; an aim, not a limit
# Largest relative difference of a diagnosis, such as a gradient norm; fractions of units step by 1/64.
DIAGNOSED = 2e-2
MLP: Config = {"name": "mlp", "hidden_dims": [64, 64]}


def check(found: Findings, at: Setting) -> None:
    """Compare packs with the CPU, then with each other."""
    for name, configs in _equal_cases(at).items():
        with found.attempt(name):
            _compare_losses(found, at, name, configs)
    with found.attempt("packs with dropout"):
        _compare_dropout(found, at)
    with found.attempt("packs with diagnosis callbacks"):
        _compare_diagnosis(found, at)
    with found.attempt("a pack trained twice"):
        configs = [at.config(MLP, epochs=EPOCHS, seed=seed) for seed in range(4 if at.small else 10)]
        first, again = (_train(configs)[0] for _ in range(2))
        same = all(same_bits(a.model.state_dict(), b.model.state_dict()) for a, b in zip(first, again, strict=True))
        found.require("a pack trained twice gives the same bits", same)
    for model in (MLP, {"name": "cnn"}):
        with found.attempt(f"packs of {model['name']}"):
            _compare_sizes(found, at, model)


def _equal_cases(at: Setting) -> dict[str, list[Config]]:
    """Packs of nets without random draws."""
    names = [name for name in sorted(ACTIVATIONS) if name != "prelu"]  # has a weight more, so is in a pack of its own
    optimizers = sorted(OPTIMIZERS)
    cases = {}
    for norm in (None,) if at.small else (None, "batch", "layer"):
        cases[f"pack of all activations and optimizers, norm {norm}"] = [
            at.config({**MLP, "norm": norm, "activation": name, "optimizer": optimizers[n % len(optimizers)]}, seed=n)
            for n, name in enumerate(names)
        ]
    if at.small:
        return cases
    weighted = {"class_weights": "balanced", "label_smoothing": 0.1, "weight_decay": 0.01, "schedule": "cosine"}
    for name, model, data in (
        ("pack of PReLU nets", {**MLP, "activation": "prelu"}, "digits"),
        ("pack with class weights, label smoothing, decay and a schedule", {**MLP, **weighted}, "digits"),
        ("pack of regressions", MLP, "diabetes"),
        ("pack of perceptrons", {"name": "perceptron"}, "digits"),
    ):
        cases[name] = [at.config(model, data, seed=seed) for seed in range(3)]
    return cases


def _train(configs: Sequence[Config]) -> tuple[list[Member], float]:
    """Members that were trained as one pack, in the order of their configs, and the wall seconds of training."""
    complete: dict[str, ResolvedConfig] = {}
    resolved = []
    for config in configs:  # resolving takes longer than the rest of the set-up, so once for all seeds
        name = _without_seed(config)
        complete[name] = complete.get(name) or resolve(config)
        resolved.append(ResolvedConfig({**complete[name], "seed_everything": config["seed_everything"]}))
    device = device_of(resolved[0])
    assert device is not None
    shared: dict = {}
    members = [make_member(config, shared) for config in resolved]
    pack = Pack(members, device)
    pack.fit()
    return members, pack.seconds


def _without_seed(config: Config) -> str:
    return canonical({**config, "seed_everything": None})


def _on_cpu(configs: Sequence[Config]) -> list[Config]:
    return [{**config, "trainer": {**config["trainer"], "accelerator": "cpu"}} for config in configs]


def _apart(a: Member, b: Member) -> float:
    """The largest relative difference of two members' losses."""
    return losses_apart(*({name: [row[name] for row in m.course.rows] for name in m.course.rows[0]} for m in (a, b)))


def _compare_losses(found: Findings, at: Setting, name: str, configs: list[Config]) -> None:
    own, cpu = _train(configs)[0], _train(_on_cpu(configs))[0]
    apart = {f"{m.model.hparams.get('activation')}, {m.model.hparams['optimizer']}": _apart(m, c)
             for m, c in zip(own, cpu, strict=True)}  # fmt: skip
    worst = max(apart, key=lambda member: apart[member])
    limit = LOSSES_BATCH_NORM if has_batch_norm(own[0].model) else LOSSES
    found.compare(f"{name}: losses", max(apart.values()), limit, f"{len(configs)} nets; the largest: {worst}")


def _compare_dropout(found: Findings, at: Setting) -> None:
    configs = [at.config({"name": "robust_mlp"}, epochs=EPOCHS, seed=seed) for seed in range(2 if at.small else 10)]
    own, cpu = (
        statistics.mean(member.tested["test/accuracy"] for member in _train(given)[0])
        for given in (configs, _on_cpu(configs))
    )
    note = f"mean test accuracy of {len(configs)} seeds: {own:.4f} on the {at.name}, {cpu:.4f} on the CPU"
    found.compare("pack of robust_mlp with dropout: accuracy", abs(own - cpu), ACCURACY, note)


def _compare_diagnosis(found: Findings, at: Setting) -> None:
    callbacks: Config = dict.fromkeys((*DIAGNOSIS, "generalization_gap"), True)
    configs = [at.config(MLP, seed=seed, callbacks=callbacks) for seed in range(2)]
    own, cpu = _train(configs)[0], _train(_on_cpu(configs))[0]
    names = [name for name in cpu[0].course.rows[0] if is_diagnosis(name)]
    if not names:
        raise RuntimeError("nothing was diagnosed")
    rows = [(a, b) for m, c in zip(own, cpu, strict=True) for a, b in zip(m.course.rows, c.course.rows, strict=True)]
    # Small values, such as the fraction of dead units, are compared absolutely.
    apart = {name: max(abs(a[name] - b[name]) / max(abs(b[name]), 1.0) for a, b in rows) for name in names}
    worst = max(apart, key=lambda name: apart[name])
    note = f"{len(names)} quantities; the largest difference: {worst}"
    found.compare("pack with all diagnosis callbacks", apart[worst], DIAGNOSED, note)


def _compare_sizes(found: Findings, at: Setting, model: Config) -> None:
    """Seconds and bits of packs of several sizes."""
    sizes = (1, 3) if at.small else SIZES
    configs = [at.config(model, epochs=EPOCHS, seed=seed) for seed in range(max(sizes))]
    resolved = resolve(configs[0])
    if reason := reason_to_run_alone(resolved, *prepare(resolved)):
        found.skip(f"packs of {model['name']}", f"nets of this kind are not packed: {reason}")
        return
    _train(configs[:2])  # warm-up
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    first: dict[int, Member] = {}
    for _ in range(1 if at.small else ROUNDS):
        for size in sizes:
            members, spent = _train(configs[:size])
            seconds[size].append(spent)
            first[size] = members[0]
    medians = {size: statistics.median(spent) for size, spent in seconds.items()}
    for size in sizes:
        times = medians[size] / medians[sizes[0]]
        note = f"median of {len(seconds[size])} rounds; {min(seconds[size]):.3f} to {max(seconds[size]):.3f} s"
        if size == SIZES[-1]:
            note += f"; at most {AIM:g} times was aimed at: {'reached' if times <= AIM else 'missed'}"
        name = f"{model['name']}, pack of {size}: seconds over those of one net"
        found.report(name, times, f"{medians[size]:.3f} s ({note})", seconds=medians[size])
        if size > 1:
            same = same_bits(first[size].model.state_dict(), first[sizes[0]].model.state_dict())
            bits = "the same bits as alone" if same else "other bits than alone"
            name = f"{model['name']}, pack of {size}: a member's losses against training alone"
            found.compare(name, _apart(first[size], first[sizes[0]]), LOSSES, bits, same_bits=float(same))
    cpu = _train(_on_cpu(configs[: sizes[-1]]))[1]
    on = f"{torch.get_num_threads()} thread(s)"
    found.report(f"{model['name']}, pack of {sizes[-1]} on the CPU: seconds", cpu, on)

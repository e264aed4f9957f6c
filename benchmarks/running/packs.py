"""Divide trials into packs that are trained together. Imports no torch; a task says what can be packed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from datamodules.errors import InputError

from ..tasks.base import Packing

if TYPE_CHECKING:
    from .plan import Plan, Trial


def parse_pack(option: str) -> int | None:
    """Parse `--pack`: the maximum size of a pack, 0 for no packs, None for an automatic choice.

    Raises:
        InputError: The option is not auto, off, or a number of at least 1.
    """
    if option in ("auto", "off"):
        return None if option == "auto" else 0
    if option.isdecimal() and int(option) >= 1:
        return int(option)
    raise InputError(f"--pack must be auto, off or a number of at least 1, got {option!r}.")


def make_packs(plan: "Plan", pending: Sequence["Trial"], limit: int | None, workers: int) -> list[list["Trial"]]:
    """Divide the pending trials into packs; a trial that runs alone is a pack of one.

    A pack contains neighbouring seeds rather than variants, because trials of one seed share their data. No pack is
    larger than a worker's fair share. If results depend on the pack (`fixed`), packs are formed from all trials of one
    seed in the plan and run as a whole if any of them is pending. They are then the same whatever is pending, and for
    any number of seeds.

    Args:
        plan: The study's trials.
        pending: Trials to run.
        limit: See `parse_pack`.
        workers: Number of worker processes.
    """
    alone: list[list[Trial]] = []
    packs: list[list[Trial]] = []
    wanted = {trial.key for trial in pending}
    groups: dict[tuple[str, int | None], list[Trial]] = {}
    for trial in plan.trials():
        packing = plan.packing(trial)
        if packing.alone or limit == 0:
            alone += [[trial]] * (trial.key in wanted)
        elif packing.fixed or trial.key in wanted:
            groups.setdefault((packing.signature, trial.seed if packing.fixed else None), []).append(trial)
    fair = -(-sum(map(len, groups.values())) // workers)
    for trials in groups.values():
        packing = plan.packing(trials[0])
        trials.sort(key=lambda trial: trial.seed)
        size = packing.largest if limit is None else min(limit, packing.largest)
        size = size if packing.fixed else min(size, fair)
        packs += [pack for pack in _equal_parts(trials, size) if any(trial.key in wanted for trial in pack)]
    # Longest jobs first, so that workers finish at about the same time. Trials that cannot be packed take many times
    # longer than those that can.
    return alone + sorted(packs, key=len, reverse=True)


def explain(plan: "Plan", packs: Iterable[Sequence["Trial"]], limit: int | None) -> Iterator[str]:
    """Sentences that list the packs, and why the other trials run alone."""
    alone: dict[str, dict[str, int]] = {}
    for pack in packs:
        first, packing = pack[0].variant.name, plan.packing(pack[0])
        if reason := _alone(packing, len(pack), limit):
            counts = alone.setdefault(reason, {})
            counts[first] = counts.get(first, 0) + 1
            continue
        counts = {}
        for trial in pack:
            counts[trial.variant.name] = counts.get(trial.variant.name, 0) + 1
        fixed = "; the same in every run, because results depend on it" if packing.fixed else ""
        yield f"one pack of {_trials(len(pack))}: {_listed(counts)}{fixed}."
    for reason, counts in alone.items():
        yield f"{_trials(sum(counts.values()))} alone, because {reason}: {_listed(counts)}."


def _alone(packing: Packing, size: int, limit: int | None) -> str:
    """Why a trial runs alone; empty if it is in a pack with others."""
    if limit == 0 or packing.alone:
        return packing.alone or "--pack is off"
    if size > 1:
        return ""
    if limit == 1:
        return "--pack is 1"
    return (
        "nets or data of this size do not benefit from packs" if packing.largest == 1 else "no other trial matches them"
    )


def _equal_parts(trials: list["Trial"], size: int) -> Iterator[list["Trial"]]:
    n = -(-len(trials) // max(size, 1))
    bounds = [round(part * len(trials) / n) for part in range(n + 1)]
    for start, stop in pairwise(bounds):
        yield trials[start:stop]


def _trials(n: int) -> str:
    return f"{n} trial{'s' * (n != 1)}"


def _listed(counts: dict[str, int]) -> str:
    named = [f"{name} × {n}" for name, n in counts.items()]
    return ", ".join(named[:12]) + (f" and {len(named) - 12} more variants" if len(named) > 12 else "")

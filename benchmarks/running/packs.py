"""Which trials are trained together. Imports no torch: `benchmarks.running.check` finds out in a worker what can be."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from datamodules.errors import InputError

from .plan import Packing

if TYPE_CHECKING:
    from .plan import Plan, Trial


def parse_pack(option: str) -> int | None:
    """What `--pack` says: the most members of a pack, 0 for no packs, None to choose.

    Raises:
        InputError: It is none of auto, off and a number of at least 1.
    """
    if option in ("auto", "off"):
        return None if option == "auto" else 0
    if option.isdecimal() and int(option) >= 1:
        return int(option)
    raise InputError(f"--pack must be auto, off or a number of at least 1, got {option!r}.")


def make_packs(plan: "Plan", pending: Sequence["Trial"], limit: int | None, workers: int) -> list[list["Trial"]]:
    """Divide the pending trials into packs, those that run alone being packs of one.

    A pack holds neighbouring seeds rather than variants, since trials of one seed share their data. None is larger than
    a worker's fair share. Where numbers depend on the pack, it is cut from all of the plan's trials of one seed, and
    run whole if any of them is pending: so it is the same whatever is pending, and however many seeds there are.

    Args:
        plan: The study's trials.
        pending: Those to run.
        limit: See `parse_pack`.
        workers: How many processes there are.
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
    # The longest first, so that no worker is left with one when the others are done: those that cannot be packed take
    # many times longer than those that can.
    return alone + sorted(packs, key=len, reverse=True)


def explain(plan: "Plan", packs: Iterable[Sequence["Trial"]], limit: int | None) -> Iterator[str]:
    """Sentences on what is trained together, and why the rest is not."""
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
        fixed = "; the same in every run, since numbers depend on it" if packing.fixed else ""
        yield f"one pack of {_trials(len(pack))}: {_listed(counts)}{fixed}."
    for reason, counts in alone.items():
        yield f"{_trials(sum(counts.values()))} alone, since {reason}: {_listed(counts)}."


def _alone(packing: Packing, size: int, limit: int | None) -> str:
    """Why a trial is in no pack with others; empty if it is."""
    if limit == 0 or packing.alone:
        return packing.alone or "--pack is off"
    if size > 1:
        return ""
    if limit == 1:
        return "--pack is 1"
    return (
        "nets or data so large gain nothing in a pack" if packing.largest == 1 else "they have no partner to run with"
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

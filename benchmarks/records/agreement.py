"""Compare two records of a trial: bit for bit if nothing that affects numbers differs, else within a tolerance."""

import hashlib
import json
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.parts.metric_names import is_timing
from zoo.plain import is_number

from .reading import Record

RELATIVE, SPREADS = 1e-3, 4
RULE = (
    "If code, versions and hardware are the same as in the record, all numbers except times and memory must be "
    f"bit-identical. Otherwise the status must be the same, and for each metric |new - old| <= max({RELATIVE:g} "
    f"max(1, |old|), {SPREADS} sd), where sd is that of the variant's other seeds (0 for fewer than two)."
)


@dataclass(frozen=True)
class Verdict:
    """Result of comparing a trial's record with that of its rerun.

    Attributes:
        agrees: Whether they agree.
        identical: Whether they are bit-identical.
        words: The comparison in words.
        differences: Facts that affect numbers and differ.
    """

    agrees: bool
    identical: bool
    words: str
    differences: tuple[str, ...] = ()


def numbers(record: Record) -> dict[str, Any]:
    """Everything in a record, except its status, that a rerun should reproduce."""
    metrics = {name: value for name, value in record["metrics"].items() if not is_timing(name)}
    return {**metrics, "best_epoch": record.get("best_epoch"), "epochs_run": record.get("epochs_run")}


def facts(record: Record) -> dict[str, Any]:
    """Facts besides the config that affect a record's numbers: code, versions, hardware, trainer."""
    where = record.get("environment") or {}
    alone = ("cpu", "threads", "device", "precision")
    return {
        "code": where.get("code_version"),
        "python": where.get("python"),
        **(where.get("packages") or {}),
        "platform": _platform(where.get("platform")),
        **{name: where.get(name) for name in alone},
        "trainer": _trainer(record),
    }


def background(record: Record) -> dict[str, Any]:
    """Facts about where a record was made that do not affect its numbers."""
    where = record.get("environment") or {}
    git = where.get("git") or {}
    state = {"git commit": git.get("commit"), "uncommitted changes": git.get("dirty")}
    gpus = ", ".join(where.get("gpus") or []) or None
    return {**state, "system": where.get("platform"), "cores": where.get("cores"), "gpus": gpus}


def on_gpu(record: Record) -> bool:
    """Whether it was trained on a device other than a CPU, where numbers may not be bit-reproducible."""
    return ((record.get("environment") or {}).get("device") or "cpu") != "cpu"


def differences(old: Record, new: Record) -> dict[str, tuple[Any, Any]]:
    """The facts that differ between two records."""
    before, after = facts(old), facts(new)
    names = {**before, **after}
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def judge_rerun(old: Record, new: Record, others: Sequence[Record], unlike: Sequence[str] = ()) -> Verdict:
    """Compare a trial's rerun with its record.

    Args:
        old: The record.
        new: The record of the rerun.
        others: Records of the variant's other seeds.
        unlike: Further known differences.
    """
    differ = tuple(f"{name} {was} → {now}" for name, (was, now) in differences(old, new).items()) + tuple(unlike)
    if on_gpu(old):
        differ += ("numbers on a GPU may not be reproducible",)
    if old["status"] != new["status"]:
        reason = f" ({new['reason']})" if new.get("reason") else ""
        return Verdict(False, False, f"DIFFERS: {old['status']} → {new['status']}{reason}", differ)
    before, after = numbers(old), numbers(new)
    if before == after:
        return Verdict(True, True, "bit-identical", differ)
    there = before.keys() & after.keys()
    apart = [name for name in {**before, **after} if name not in there or before[name] != after[name]]
    if not differ:
        more = f", and {len(apart) - 1} more numbers" if len(apart) > 1 else ""
        shown = _change(apart[0], before, after)
        return Verdict(False, False, f"DIFFERS: {shown}{more}, but should be bit-identical", differ)
    ratios = {}
    for name in (name for name in apart if name in old["metrics"]):
        ratios[name] = _distance(before[name], after.get(name)) / allowed(name, before[name], others)
    if not ratios:  # only learning curves differ, or metrics that are not in the record
        return Verdict(True, False, "agrees: all metrics are bit-identical, but other numbers differ", differ)
    worst = max(ratios, key=lambda name: ratios[name])
    limit = f"{allowed(worst, before[worst], others):#.3g}"
    agrees = ratios[worst] <= 1
    opening = "agrees within tolerance" if agrees else "DIFFERS"
    return Verdict(agrees, False, f"{opening}: {_change(worst, before, after)} (allowed ±{limit})", differ)


def allowed(metric: str, old: Any, others: Sequence[Record]) -> float:
    """Tolerance of a rerun's metric if code, versions or hardware differ.

    The seed's own value does not count for the sd, because an outlier would widen its own tolerance.

    Args:
        metric: Name of the metric.
        old: Recorded value.
        others: Records of the variant's other seeds.
    """
    values = [record["metrics"].get(metric) for record in others if record["status"] == "done"]
    known = [value for value in values if is_number(value)]
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return max(RELATIVE * max(1.0, abs(old) if is_number(old) else 0.0), SPREADS * spread)


def _distance(old: Any, new: Any) -> float:
    return abs(new - old) if is_number(old) and is_number(new) else math.inf


def _change(name: str, before: Record, after: Record) -> str:
    """A number before and after, with enough digits to distinguish them."""
    old, new = (values.get(name, "missing") for values in (before, after))
    short = [f"{value:.4g}" if is_number(value) else str(value) for value in (old, new)]
    old, new = short if short[0] != short[1] else (repr(old), repr(new))
    return f"{name} {old} → {new}"


def _platform(text: str | None) -> str | None:
    """System, machine and C library, without the kernel, which does not affect numbers."""
    found = re.fullmatch(r"Linux-.*?-(\w+)-with-(\S+)", text or "")
    return f"Linux {found[1]} {found[2]}" if found else text


def _trainer(record: Record) -> str | None:
    """The trainer. On a CPU the pack does not matter."""
    where = record.get("environment") or {}
    if "pack" in record:
        name = hashlib.sha256(json.dumps(record["pack"]).encode()).hexdigest()[:6]
        return f"pack {name} of {len(record['pack'])}"
    if "pack_size" not in where:
        return None
    return "Lightning" if where["pack_size"] is None else "packs"

"""When two records of one trial agree: to the bit if nothing that bears on numbers differs, else nearly."""

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

Record = dict[str, Any]
RELATIVE, SPREADS = 1e-3, 4
RULE = (
    "Where code, versions and hardware are those of the record, each number must be the same to the bit, times and "
    f"memory left out. Elsewhere the status must be the same, and for each metric |new - old| <= max({RELATIVE:g} "
    f"max(1, |old|), {SPREADS} sd), the sd being that of the variant's other seeds, 0 for fewer than two of them."
)


@dataclass(frozen=True)
class Verdict:
    """What came of comparing a trial's record with that of its re-run.

    Attributes:
        agrees: Whether they agree.
        identical: Whether they do to the bit.
        words: How they compare.
        differences: What bears on numbers and was not the same.
    """

    agrees: bool
    identical: bool
    words: str
    differences: tuple[str, ...] = ()


def numbers(record: Record) -> dict[str, Any]:
    """All in a record that a re-run should repeat, its status aside."""
    metrics = {name: value for name, value in record["metrics"].items() if not is_timing(name)}
    return {**metrics, "best_epoch": record.get("best_epoch"), "epochs_run": record.get("epochs_run")}


def facts(record: Record) -> dict[str, Any]:
    """What bears on a record's numbers beside its config: code, versions, hardware, and what trained it."""
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
    """What is worth knowing of where a record was made, but bears on no number."""
    where = record.get("environment") or {}
    git = where.get("git") or {}
    state = {"git commit": git.get("commit"), "uncommitted changes": git.get("dirty")}
    gpus = ", ".join(where.get("gpus") or []) or None
    return {**state, "system": where.get("platform"), "cores": where.get("cores"), "gpus": gpus}


def on_gpu(record: Record) -> bool:
    """Whether it was trained on something else than a CPU, where numbers need not repeat to the bit."""
    return ((record.get("environment") or {}).get("device") or "cpu") != "cpu"


def differences(old: Record, new: Record) -> dict[str, tuple[Any, Any]]:
    """The facts that are not the same in two records."""
    before, after = facts(old), facts(new)
    names = {**before, **after}
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def judge_rerun(old: Record, new: Record, others: Sequence[Record], unlike: Sequence[str] = ()) -> Verdict:
    """Whether a trial's re-run agrees with its record.

    Args:
        old: The record.
        new: That of the re-run.
        others: The records of the variant's other seeds.
        unlike: What else is known to differ.
    """
    differ = tuple(f"{name} {was} → {now}" for name, (was, now) in differences(old, new).items()) + tuple(unlike)
    if on_gpu(old):
        differ += ("a GPU's numbers need not repeat",)
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
        return Verdict(False, False, f"DIFFERS: {shown}{more}, where not a bit should", differ)
    ratios = {}
    for name in (name for name in apart if name in old["metrics"]):
        ratios[name] = _distance(before[name], after.get(name)) / allowed(name, before[name], others)
    if not ratios:  # other epochs, or metrics that the record knows nothing of
        return Verdict(True, False, "agrees: all metrics are bit-identical, other numbers not", differ)
    worst = max(ratios, key=lambda name: ratios[name])
    limit = f"{allowed(worst, before[worst], others):#.3g}"
    agrees = ratios[worst] <= 1
    opening = "agrees within tolerance" if agrees else "DIFFERS"
    return Verdict(agrees, False, f"{opening}: {_change(worst, before, after)} (allowed ±{limit})", differ)


def allowed(metric: str, old: Any, others: Sequence[Record]) -> float:
    """How far a re-run's metric may lie from the recorded one where not everything is as it was.

    The seed's own value is left out of the spread, which it would widen by just the amount that it is wrong.

    Args:
        metric: Its name.
        old: Its recorded value.
        others: The records of the variant's other seeds.
    """
    values = [record["metrics"].get(metric) for record in others if record["status"] == "done"]
    known = [value for value in values if is_number(value)]
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return max(RELATIVE * max(1.0, abs(old) if is_number(old) else 0.0), SPREADS * spread)


def _distance(old: Any, new: Any) -> float:
    return abs(new - old) if is_number(old) and is_number(new) else math.inf


def _change(name: str, before: Record, after: Record) -> str:
    """A number before and after, with as many digits as tell them apart."""
    old, new = (values.get(name, "missing") for values in (before, after))
    short = [f"{value:.4g}" if is_number(value) else str(value) for value in (old, new)]
    old, new = short if short[0] != short[1] else (repr(old), repr(new))
    return f"{name} {old} → {new}"


def _platform(text: str | None) -> str | None:
    """System, machine and C library, which bear on numbers; not the kernel, which does not."""
    found = re.fullmatch(r"Linux-.*?-(\w+)-with-(\S+)", text or "")
    return f"Linux {found[1]} {found[2]}" if found else text


def _trainer(record: Record) -> str | None:
    """What trained it. On a CPU it does not matter which pack it was."""
    where = record.get("environment") or {}
    if "pack" in record:
        name = hashlib.sha256(json.dumps(record["pack"]).encode()).hexdigest()[:6]
        return f"pack {name} of {len(record['pack'])}"
    if "pack_size" not in where:
        return None
    return "Lightning" if where["pack_size"] is None else "packs"

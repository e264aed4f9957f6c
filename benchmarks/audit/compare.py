"""Compare two runs of one study trial by trial: what changed, and what may have caused it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datamodules.errors import require

from ..records.agreement import background, differences, facts, numbers, on_gpu
from ..records.outcome import judge
from ..records.record_file import Record
from ..records.store import Store
from ..report.words import interval, number, p_value
from ..stats import mean_interval
from ..stats.paired import level, t_test
from ..stats.summary import SINGLE, holm
from ..study.study import Study, text
from .verify import Recorded, read_recorded

ENDED = ("done", "diverged")
NOUNS = ("code", "platform", "cpu", "device", "precision", "trainer")
HEADER = ["variant", "n", "identical", "A", "B", "B − A", "95 % interval", "p (Holm)", "status changed"]


@dataclass(frozen=True)
class Pair:
    """One trial in both runs.

    Attributes:
        trial: The trial as named in A.
        a: Its record in A.
        b: Its record in B.
        metric: The study's metric.
    """

    trial: Recorded
    a: Record
    b: Record
    metric: str

    @property
    def statuses(self) -> tuple[str, str]:
        """Its status in A and in B, as judged by the study."""
        return judge(self.a, self.metric)[0], judge(self.b, self.metric)[0]

    @property
    def changed(self) -> bool:
        """Whether its status differs between A and B."""
        return self.statuses[0] != self.statuses[1]

    @property
    def compared(self) -> bool:
        """Whether its numbers can be compared: it was done or diverged in at least one run."""
        return any(status in ENDED for status in self.statuses)

    @property
    def identical(self) -> bool:
        """Whether all its numbers except times are bit-identical."""
        return not self.changed and numbers(self.a) == numbers(self.b)

    @property
    def other_config(self) -> bool:
        """Whether the two trials match only by variant and seed."""
        return self.a["key"] != self.b["key"]

    @property
    def finished(self) -> bool:
        """Whether it is done in both runs."""
        return self.statuses == ("done", "done")

    def values(self) -> tuple[float, float]:
        """The metric in A and in B; both must be done."""
        return self.a["metrics"][self.metric], self.b["metrics"][self.metric]


def pair_up(a: tuple[Study, Store], b: tuple[Study, Store]) -> tuple[list[Pair], int]:
    """Match the trials recorded in both runs by key, or else by variant and seed; also counts the unmatched ones.

    Raises:
        InputError: The runs belong to different studies, or have no trial in common.
    """
    (study, store), (other, other_store) = a, b
    for what in ("task", "metric"):
        one, two = getattr(study, what), getattr(other, what)
        sentence = (
            f"{store.folder} has the {what} {one!r}, but {other_store.folder} has {two!r}; compare runs of one study."
        )
        require(one == two, sentence)
    ours, theirs = read_recorded(study, store), read_recorded(other, other_store)
    by_key = {trial.record["key"]: trial for trial in theirs}
    taken = {trial.record["key"] for trial in ours} & by_key.keys()
    by_name = {(trial.variant, trial.seed): trial for trial in theirs if trial.record["key"] not in taken}
    pairs = []
    for trial in ours:
        partner = by_key.get(trial.record["key"]) or by_name.get((trial.variant, trial.seed))
        if partner is not None:
            pairs.append(Pair(trial, trial.record, partner.record, study.metric))
    require(
        bool(pairs),
        f"{store.folder} and {other_store.folder} have no variant and seed in common; compare runs of one study.",
    )
    return pairs, len(ours) + len(theirs) - 2 * len(pairs)


def provenance_rows(pairs: Sequence[Pair]) -> list[list[str]]:
    """The differences in provenance, with all values of each run."""
    rows = []
    for table in (facts, background):
        a, b = _values(table(pair.a) for pair in pairs), _values(table(pair.b) for pair in pairs)
        differ = [name for name in {**a, **b} if a.get(name) != b.get(name)]
        rows += [[name, *(", ".join(side.get(name, ["none"])) for side in (a, b))] for name in differ]
    return rows


def variant_rows(pairs: Sequence[Pair]) -> list[list[str]]:
    """One row per variant, with the columns `HEADER`."""
    variants: dict[str, list[Pair]] = {}
    for pair in pairs:
        variants.setdefault(pair.trial.variant, []).append(pair)
    values = {name: np.array([p.values() for p in own if p.finished]).reshape(-1, 2) for name, own in variants.items()}
    deltas = {
        name: level(pair[:, 1] - pair[:, 0], SINGLE * float(np.abs(pair).max(initial=0)))
        for name, pair in values.items()
    }
    corrected = holm(np.array([t_test(delta) for delta in deltas.values()]))
    rows = []
    for (name, own), p in zip(variants.items(), corrected, strict=True):
        delta, n = deltas[name], len(deltas[name])
        means = values[name].mean(axis=0) if n else (math.nan, math.nan)
        changed = [" → ".join(pair.statuses) for pair in own if pair.changed]
        changes = ", ".join(f"{changed.count(what)} {what}" for what in dict.fromkeys(changed))
        shown = name + " (other configs)" * any(pair.other_config for pair in own)
        identical = sum(pair.identical for pair in own if pair.finished)
        shift = number(delta.mean() if n else math.nan, signed=True)
        between = interval(*mean_interval(delta.tolist()), signed=True)
        rows.append([shown, str(n), str(identical), *map(number, means), shift, between, p_value(p), changes])
    return rows


def was_it_the_code(pairs: Sequence[Pair]) -> str:
    """One sentence about the cause: which facts differ for the trials whose numbers differ."""
    compared = [pair for pair in pairs if pair.compared]
    apart = [pair for pair in compared if not pair.identical]
    n = len(compared)
    if not n:
        return "No trial is done in either run, so there is nothing to compare."
    if not apart:
        return f"All {n} trials are bit-identical." if n > 1 else "The only trial is bit-identical."
    opening = f"{len(apart)} of {n} trials differ"
    gpu = any(on_gpu(record) for pair in apart for record in (pair.a, pair.b))
    hint = " Results on a GPU are not always bit-reproducible." if gpu else ""
    unexplained = [pair for pair in apart if not differences(pair.a, pair.b) and not pair.other_config]
    if unexplained:
        opening += f"; for {len(unexplained)} of them, nothing recorded that affects numbers differs."
        if not gpu:
            hint = " This should not happen; run `bench verify` on both to see which one can be reproduced."
        if seen := ", ".join(row[0] for row in provenance_rows(unexplained)):
            hint += f" Other differences: {seen}."
        return opening + hint
    found = dict.fromkeys(name for pair in apart for name in differences(pair.a, pair.b))
    suspects = [f"the {name}" if name in NOUNS else name for name in found]
    suspects += ["the config"] * any(pair.other_config for pair in apart)
    if suspects == ["the code"]:
        return f"{opening}. Only the code differs, so the code is the cause.{hint}"
    if len(suspects) == 1:
        return f"{opening}. Only {suspects[0]} differs, so the cause is not the code.{hint}"
    return f"{opening}. Possible causes: {', '.join(suspects)}.{hint}"


def _values(tables: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The sorted values of each fact."""
    found: dict[str, set[str]] = {}
    for table in tables:
        for name, value in table.items():
            found.setdefault(name, set()).add(text(value))
    return {name: sorted(values) for name, values in found.items()}

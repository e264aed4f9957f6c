"""What a study claims before it is run: comparisons, thresholds and trends. Imports neither torch nor scipy."""

from dataclasses import dataclass, field
from typing import Any, TypeGuard

from datamodules.errors import InputError, choose, unknown
from zoo.metric_names import CLASSIFICATION, REGRESSION, direction

from .study import OF_TRAINING, Study
from .yamlfile import Place

Problem = tuple[Place, str]
RELATIONS = ("better", "worse", "equivalent")
SCALES = ("linear", "log")
DIVERGED = "diverged"  # the share of trials that diverged, as a metric of thresholds
KINDS = ("is", "below", "above", "rises", "falls")
PAIR = ("variant", "against")  # what is compared with what
KEYS = ("claim", "source", *PAIR, "gain_over", "metric", "mode", "margin", "scale", "in", *KINDS)


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        claim: It, in words.
        source: Where it is made.
        kind: `is` (a comparison), `below` or `above` (a threshold), `rises` or `falls` (a trend).
        value: `better`, `worse` or `equivalent`; the threshold; or the axis.
        metric: What is measured: a metric, `diverged`, or what is `OF_TRAINING`.
        mode: Which way is better, for a comparison.
        variants: The variants compared, the second being what the first is compared with, and behind them the two whose
            difference theirs is compared with, if there are such; the one that a threshold is about; or those along the
            axis, in its order.
        margin: Differences up to this do not matter; None where nobody has said.
        log: Whether it is about the logarithms of values.
    """

    claim: str
    source: str
    kind: str
    value: Any
    metric: str
    mode: str
    variants: list[str] = field(default_factory=list)
    margin: float | None = None
    log: bool = False


def make_claims(study: Study) -> list[Claim]:
    """The claims of a study that has no `claim_problems`."""
    return [_make(study, entry) for entry in study.claims]


def _make(study: Study, entry: dict[str, Any]) -> Claim:
    kind = next(kind for kind in KINDS if kind in entry)
    metric = entry.get("metric", study.metric)
    if kind in ("rises", "falls"):
        axis = next(axis for axis in study.vary_axes if axis.name == entry[kind])
        fixed = study.baseline | entry.get("in", {})
        variants = [study.variant(fixed | {axis.name: value}).name for value in axis.values]
    else:
        variants = _pair(study, entry) if kind == "is" else [entry["variant"]]
        variants += _pair(study, entry["gain_over"]) if "gain_over" in entry else []
    mode = entry.get("mode", study.mode if metric == study.metric else direction(metric))
    margin = entry.get("margin", study.margin if metric == study.metric else None)
    log = entry.get("scale") == "log"
    return Claim(entry["claim"], entry.get("source", ""), kind, entry[kind], metric, mode, variants, margin, log)


def _pair(study: Study, entry: dict[str, Any]) -> list[str]:
    """A variant and what it is compared with: the baseline, unless it is said."""
    own = next(variant for variant in study.variants if variant.name == entry["variant"])
    return [own.name, entry.get("against", study.baseline_of(own))]


def claim_problems(study: Study) -> list[Problem]:
    """What is wrong with a study's claims, each with its place."""
    return [
        (("claims", place, *key), sentence)
        for place, entry in enumerate(study.claims)
        for key, sentence in _problems(study, entry)
    ]


def _problems(study: Study, entry: Any) -> list[Problem]:
    if not isinstance(entry, dict) or not isinstance(entry.get("claim"), str):
        return [((), "a claim is a mapping with its words under 'claim', and what is claimed.")]
    found: list[Problem] = []

    def refuse(key: str, what: str, value: Any, valid: Any) -> None:
        try:
            choose(what, value, valid)
        except InputError as error:
            found.append(((key,), str(error)))

    for key in entry:
        refuse(key, "key of a claim", key, KEYS)
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        return [*found, ((), f"a claim says one of {', '.join(KINDS)}; this one says {', '.join(kinds) or 'none'}.")]
    (kind,) = kinds
    names = [variant.name for variant in study.variants]
    if kind in ("rises", "falls"):
        refuse(kind, "axis of a trend", entry[kind], [axis.name for axis in study.vary_axes])
        found += _fixed(study, entry.get("in", {}))
        stray = {*PAIR, "gain_over", "margin"}
    else:
        refuse("variant", "variant of a claim", entry.get("variant"), names)
        stray = {"in"} | (set() if kind == "is" else {"against", "gain_over", "margin"})
    if kind == "is":
        refuse(kind, "relation", entry["is"], RELATIONS)
        if "against" in entry:
            refuse("against", "variant of a claim", entry["against"], names)
        found += _comparison(study, entry)
        found += _gain_over(study, entry) if "gain_over" in entry else []
    elif kind in ("below", "above") and (
        not _is_number(entry[kind]) or (entry.get("scale") == "log" and entry[kind] <= 0)
    ):
        found.append(((kind,), f"a threshold is a number, above 0 on a log scale; got {entry[kind]!r}."))
    if "scale" in entry:
        refuse("scale", "scale", entry["scale"], SCALES)
    if "mode" in entry:
        refuse("mode", "mode", entry["mode"], ("max", "min"))
    found += [
        ((key,), f"{key!r} says nothing for a claim with {kind!r}; take it out.") for key in entry if key in stray
    ]
    if entry.get("metric") == DIVERGED and kind not in ("below", "above"):
        found.append(
            (("metric",), f"{DIVERGED!r}, the share of trials that diverged, is compared with thresholds alone.")
        )
    if entry.get("metric") in OF_TRAINING and study.task != "fit":
        found.append((("metric",), f"{entry['metric']!r} is recorded by the task 'fit' alone."))
    return found


def _comparison(study: Study, entry: dict[str, Any]) -> list[Problem]:
    """What is wrong with a comparison beside names."""
    found: list[Problem] = []
    metric, margin = entry.get("metric", study.metric), entry.get("margin", study.margin)
    known = isinstance(metric, str) and metric.rpartition("/")[2] in (*CLASSIFICATION, *REGRESSION)
    if metric != study.metric and not known and "mode" not in entry:
        found.append((("metric",), f"which way is {metric!r} better? Say mode: max, or min."))
    if metric != study.metric and "margin" not in entry:
        margin = None
    if entry["is"] == "equivalent" and margin is None:
        found.append((("is",), "nothing is equivalent without a margin; give the claim one."))
    if "margin" in entry and not (_is_number(margin) and margin > 0):
        found.append((("margin",), f"'margin' is the smallest difference that matters, above 0; got {margin!r}."))
    return found + _with_itself(study, entry)


def _gain_over(study: Study, entry: dict[str, Any]) -> list[Problem]:
    """What is wrong with the pair whose difference the claim's own is compared with."""
    other = entry["gain_over"]
    if not isinstance(other, dict) or "variant" not in other:
        return [(("gain_over",), "'gain_over' is two more variants, {variant: NAME, against: NAME}.")]
    found: list[Problem] = []
    names = [variant.name for variant in study.variants]
    for key, value in other.items():
        try:
            choose("key of 'gain_over'", key, PAIR)
            choose("variant of a claim", value, names)
        except InputError as error:
            found.append((("gain_over", key), str(error)))
    found += [(("gain_over", *key), sentence) for key, sentence in _with_itself(study, other)]
    if not found and entry.get("variant") in names and _pair(study, other) == _pair(study, entry):
        found.append((("gain_over",), "the difference is compared with itself; name two other variants."))
    return found


def _with_itself(study: Study, entry: dict[str, Any]) -> list[Problem]:
    """Refuse a variant that is compared with itself."""
    variant = next((v for v in study.variants if v.name == entry.get("variant")), None)
    if variant is not None and entry.get("against", study.baseline_of(variant)) == variant.name:
        return [(("variant",), f"{variant.name!r} is compared with itself; say against: another variant.")]
    return []


def _fixed(study: Study, cell: Any) -> list[Problem]:
    """What is wrong with where a trend is looked for: axes to values."""
    if not isinstance(cell, dict):
        return [(("in",), "'in' maps axes to values, such as model.activation: relu.")]
    axes = {axis.name: axis for axis in study.vary_axes}
    found: list[Problem] = []
    for name, value in cell.items():
        if name not in axes:
            found.append((("in", name), str(unknown("axis", name, axes))))
        elif value not in axes[name].values:
            found.append((("in", name), str(unknown(f"value of {name}", str(value), map(str, axes[name].values)))))
    return found


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float)

"""Claims that a study makes before it is run: comparisons, thresholds and trends. Imports neither torch nor scipy."""

from dataclasses import dataclass, field
from typing import Any

from datamodules.errors import InputError, choose, unknown
from zoo.parts.metric_names import direction, is_known
from zoo.plain import is_number
from zoo.yaml_lines import Place

from .study import OF_TRAINING, Study, same, text

Problem = tuple[Place, str]
RELATIONS = ("better", "worse", "equivalent", "no worse")
SCALES = ("linear", "log")
DIVERGED = "diverged"  # the fraction of trials that diverged, as a metric for thresholds
KINDS = ("is", "below", "above", "rises", "falls")
PAIR = ("variant", "against")  # the two variants of a comparison
KEYS = ("claim", "source", *PAIR, "gain_over", "metric", "mode", "margin", "scale", "in", *KINDS)


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        claim: The claim in words.
        source: Its source.
        kind: `is` (a comparison), `below` or `above` (a threshold), `rises` or `falls` (a trend).
        value: `better`, `worse`, `equivalent` or `no worse`; the threshold; or the axis.
        metric: A metric, `diverged`, or one of `OF_TRAINING`.
        mode: `max` or `min`: whether higher or lower is better in a comparison.
        variants: For a comparison, the variant and its reference, followed by the second pair if there is a
            `gain_over`; for a threshold, the one variant; for a trend, the variants in the order of the axis.
        margin: Differences up to the margin do not matter; in powers of ten on a log scale, None if not given.
        log: Whether the claim is about logarithms.
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
    """The claims of a study that has no `claim_problems`, as objects."""
    return [_make(study, entry) for entry in study.claims]


def _make(study: Study, entry: dict[str, Any]) -> Claim:
    kind = next(kind for kind in KINDS if kind in entry)
    metric = entry.get("metric", study.metric)
    if kind in ("rises", "falls"):
        variants = _along(study, entry[kind], entry.get("in", {}))
    else:
        variants = _pair(study, entry) if kind == "is" else [_name(entry["variant"])]
        variants += _pair(study, entry["gain_over"]) if "gain_over" in entry else []
    mode = entry.get("mode", study.mode if metric == study.metric else direction(metric))
    log = entry.get("scale") == "log"
    return Claim(
        *(entry["claim"], entry.get("source", ""), kind, entry[kind], metric, mode, variants),
        *(_margin(study, entry), log),
    )


def _pair(study: Study, entry: dict[str, Any]) -> list[str]:
    """A variant and its reference, which is the baseline by default."""
    own = next(variant for variant in study.variants if variant.name == _name(entry["variant"]))
    return [own.name, _name(entry.get("against", study.baseline_of(own)))]


def _name(value: Any) -> str:
    """A variant's name as written in a claim, where a number needs no quotes."""
    return value if isinstance(value, str) else text(value)


def _along(study: Study, axis: str, cell: dict[str, Any]) -> list[str]:
    """The variants along an axis; the other axes are at the values of `cell`, or else at the baseline."""
    values = next(own.values for own in study.vary_axes if own.name == axis)
    return [study.variant({**study.baseline, **cell, axis: value}).name for value in values]


def _margin(study: Study, entry: dict[str, Any]) -> float | None:
    """The claim's margin, by default the study's, which applies only to the study's metric on a linear scale."""
    own = entry.get("metric", study.metric) == study.metric and entry.get("scale") != "log"
    return entry.get("margin", study.margin if own else None)


def claim_problems(study: Study, trains: bool = True) -> list[Problem]:
    """The problems of a study's claims, each with its place.

    Args:
        study: The study.
        trains: Whether its task trains, so that records hold what is `OF_TRAINING`.
    """
    return [
        (("claims", place, *key), sentence)
        for place, entry in enumerate(study.claims)
        for key, sentence in _problems(study, entry, trains)
    ]


def _problems(study: Study, entry: Any, trains: bool) -> list[Problem]:
    if not isinstance(entry, dict) or not isinstance(entry.get("claim"), str):
        return [((), "a claim must be a mapping with its sentence under 'claim', and the comparison to test.")]
    found: list[Problem] = []

    def refuse(key: str, what: str, value: Any, valid: Any) -> None:
        try:
            choose(what, value, valid)
        except InputError as error:
            found.append(((key,), str(error)))

    for key in entry:
        refuse(key, "key of a claim", key, KEYS)
    found += [
        ((key,), f"{key!r} must be text, got {entry[key]!r}; put it in quotes.")
        for key in ("source", "metric")
        if not isinstance(entry.get(key, ""), str)
    ]
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        got = ", ".join(kinds) or "none of them"
        return [*found, ((), f"a claim must have exactly one of the keys {', '.join(KINDS)}; this one has {got}.")]
    (kind,) = kinds
    names = [variant.name for variant in study.variants]
    if kind in ("rises", "falls"):
        refuse(kind, "axis of a trend", entry[kind], [axis.name for axis in study.vary_axes])
        found += _fixed(study, kind, entry)
        stray = {*PAIR, "gain_over", "margin"}
    else:
        if "variant" not in entry:
            found.append(((), f"a claim with {kind!r} needs the key 'variant'; choose from {', '.join(names)}."))
        else:
            refuse("variant", "variant of a claim", _name(entry["variant"]), names)
        stray = {"in"} | (set() if kind == "is" else {"against", "gain_over", "margin"})
    if kind == "is":
        refuse(kind, "relation", entry["is"], RELATIONS)
        if "against" in entry:
            refuse("against", "variant of a claim", _name(entry["against"]), names)
        found += _comparison(study, entry)
        found += _gain_over(study, entry) if "gain_over" in entry else []
    elif kind in ("below", "above") and (
        not is_number(entry[kind]) or (entry.get("scale") == "log" and entry[kind] <= 0)
    ):
        found.append(((kind,), f"a threshold must be a number, above 0 on a log scale; got {entry[kind]!r}."))
    elif kind in ("below", "above") and entry.get("metric") == DIVERGED and not 0 <= entry[kind] <= 1:
        found.append(((kind,), f"the threshold of {DIVERGED!r} must be in [0, 1], got {entry[kind]!r}."))
    if "scale" in entry:
        refuse("scale", "scale", entry["scale"], SCALES)
    if "mode" in entry:
        refuse("mode", "mode", entry["mode"], ("max", "min"))
    found += [((key,), f"{key!r} cannot be used in a claim with {kind!r}; remove it.") for key in entry if key in stray]
    if entry.get("metric") == DIVERGED and kind not in ("below", "above"):
        found.append((("metric",), f"{DIVERGED!r} requires a threshold; use 'below' or 'above' instead of {kind!r}."))
    if entry.get("metric") in OF_TRAINING and not trains:
        found.append((("metric",), f"{entry['metric']!r} is only recorded by the task 'fit'; choose another metric."))
    return found


def _comparison(study: Study, entry: dict[str, Any]) -> list[Problem]:
    """The problems of a comparison other than unknown names."""
    found: list[Problem] = []
    metric, margin = entry.get("metric", study.metric), _margin(study, entry)
    known = isinstance(metric, str) and is_known(metric)
    if metric != study.metric and not known and "mode" not in entry:
        found.append((("metric",), f"whether {metric!r} should be high or low is unknown; add mode: max, or min."))
    if entry["is"] in ("equivalent", "no worse") and margin is None:
        unit = " in powers of ten" if entry.get("scale") == "log" else ""
        found.append((("is",), f"the claim 'is: {entry['is']}' requires a margin; add 'margin'{unit} to the claim."))
    if "margin" in entry and not (is_number(margin) and margin > 0):
        found.append((("margin",), f"'margin' must be a number above 0, got {margin!r}."))
    return found + _with_itself(study, entry)


def _gain_over(study: Study, entry: dict[str, Any]) -> list[Problem]:
    """The problems of a claim's second pair of variants."""
    other = entry["gain_over"]
    if not isinstance(other, dict) or "variant" not in other:
        return [(("gain_over",), "'gain_over' must name a second pair of variants: {variant: NAME, against: NAME}.")]
    found: list[Problem] = []
    names = [variant.name for variant in study.variants]
    for key, value in other.items():
        try:
            choose("key of 'gain_over'", key, PAIR)
            choose("variant of a claim", _name(value), names)
        except InputError as error:
            found.append((("gain_over", key), str(error)))
    found += [(("gain_over", *key), sentence) for key, sentence in _with_itself(study, other)]
    if not found and _name(entry.get("variant")) in names and _pair(study, other) == _pair(study, entry):
        found.append((("gain_over",), "'gain_over' is the same pair as that of the claim; name two other variants."))
    return found


def _with_itself(study: Study, entry: dict[str, Any]) -> list[Problem]:
    """Refuse a variant that is compared with itself."""
    variant = next((v for v in study.variants if v.name == _name(entry.get("variant"))), None)
    if variant is not None and _name(entry.get("against", study.baseline_of(variant))) == variant.name:
        return [(("variant",), f"{variant.name!r} is compared with itself; set 'against' to another variant.")]
    return []


def _fixed(study: Study, kind: str, entry: dict[str, Any]) -> list[Problem]:
    """The problems of a trend's axis, and of `in`, which maps the other axes to values."""
    cell = entry.get("in", {})
    if not isinstance(cell, dict):
        return [(("in",), "'in' must map axes to values, such as model.activation: relu.")]
    axes = {axis.name: axis for axis in study.vary_axes}
    found: list[Problem] = []
    for name, value in cell.items():
        if name not in axes:
            found.append((("in", name), str(unknown("axis", name, axes))))
        elif name == entry[kind]:
            found.append((("in", name), f"the trend is along {name!r}; remove it from 'in'."))
        elif not any(same(value, other) for other in axes[name].values):
            found.append((("in", name), str(unknown(f"value of {name}", text(value), map(text, axes[name].values)))))
    if found or not isinstance(entry[kind], str) or entry[kind] not in axes:
        return found
    if len(axes[entry[kind]].values) < 2:
        return [((kind,), f"a trend needs at least two values, but the axis {entry[kind]!r} has one.")]
    names = [variant.name for variant in study.variants]
    missing = [name for name in _along(study, entry[kind], cell) if name not in names]
    if missing:
        sentence = f"the study has no variant {missing[0]!r}, because it varies one axis at a time; remove 'in'."
        return [(("in",), sentence)]
    return []

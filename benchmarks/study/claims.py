"""What a study claims before it is run: comparisons, thresholds and trends. Imports neither torch nor scipy."""

from dataclasses import dataclass, field
from typing import Any

from datamodules.errors import InputError, choose, unknown
from zoo.parts.metric_names import direction, is_known
from zoo.plain import is_number

from .study import OF_TRAINING, Study, same, text
from .yaml_lines import Place

Problem = tuple[Place, str]
RELATIONS = ("better", "worse", "equivalent", "no worse")
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
        value: `better`, `worse`, `equivalent` or `no worse`; the threshold; or the axis.
        metric: What is measured: a metric, `diverged`, or what is `OF_TRAINING`.
        mode: Which way is better, for a comparison.
        variants: The variants compared, the second being what the first is compared with, and behind them the two whose
            difference theirs is compared with, if there are such; the one that a threshold is about; or those along the
            axis, in its order.
        margin: Differences up to this do not matter, in powers of ten on a log scale; None where nobody has said.
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
    """A variant and what it is compared with: the baseline, unless it is said."""
    own = next(variant for variant in study.variants if variant.name == _name(entry["variant"]))
    return [own.name, _name(entry.get("against", study.baseline_of(own)))]


def _name(value: Any) -> str:
    """A variant's name as a claim says it: a number needs no quotes."""
    return value if isinstance(value, str) else text(value)


def _along(study: Study, axis: str, cell: dict[str, Any]) -> list[str]:
    """The variants along an axis, the others being where a cell says, else at the baseline."""
    values = next(own.values for own in study.vary_axes if own.name == axis)
    return [study.variant({**study.baseline, **cell, axis: value}).name for value in values]


def _margin(study: Study, entry: dict[str, Any]) -> float | None:
    """The claim's margin; the study's is that of its own metric, as it is measured."""
    own = entry.get("metric", study.metric) == study.metric and entry.get("scale") != "log"
    return entry.get("margin", study.margin if own else None)


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
    found += [
        ((key,), f"{key!r} takes words, got {entry[key]!r}; put it in quotes.")
        for key in ("source", "metric")
        if not isinstance(entry.get(key, ""), str)
    ]
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        return [*found, ((), f"a claim says one of {', '.join(KINDS)}; this one says {', '.join(kinds) or 'none'}.")]
    (kind,) = kinds
    names = [variant.name for variant in study.variants]
    if kind in ("rises", "falls"):
        refuse(kind, "axis of a trend", entry[kind], [axis.name for axis in study.vary_axes])
        found += _fixed(study, kind, entry)
        stray = {*PAIR, "gain_over", "margin"}
    else:
        if "variant" not in entry:
            found.append(((), f"a claim with {kind!r} says under 'variant' which one; take of {', '.join(names)}."))
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
        found.append(((kind,), f"a threshold is a number, above 0 on a log scale; got {entry[kind]!r}."))
    elif kind in ("below", "above") and entry.get("metric") == DIVERGED and not 0 <= entry[kind] <= 1:
        found.append(((kind,), f"{DIVERGED!r} is a share; its threshold lies in [0, 1], got {entry[kind]!r}."))
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
    metric, margin = entry.get("metric", study.metric), _margin(study, entry)
    known = isinstance(metric, str) and is_known(metric)
    if metric != study.metric and not known and "mode" not in entry:
        found.append((("metric",), f"which way is {metric!r} better? Say mode: max, or min."))
    if entry["is"] in ("equivalent", "no worse") and margin is None:
        unit = ", in powers of ten" if entry.get("scale") == "log" else ""
        found.append((("is",), f"nothing is {entry['is']} without a margin; give the claim one{unit}."))
    if "margin" in entry and not (is_number(margin) and margin > 0):
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
            choose("variant of a claim", _name(value), names)
        except InputError as error:
            found.append((("gain_over", key), str(error)))
    found += [(("gain_over", *key), sentence) for key, sentence in _with_itself(study, other)]
    if not found and _name(entry.get("variant")) in names and _pair(study, other) == _pair(study, entry):
        found.append((("gain_over",), "the difference is compared with itself; name two other variants."))
    return found


def _with_itself(study: Study, entry: dict[str, Any]) -> list[Problem]:
    """Refuse a variant that is compared with itself."""
    variant = next((v for v in study.variants if v.name == _name(entry.get("variant"))), None)
    if variant is not None and _name(entry.get("against", study.baseline_of(variant))) == variant.name:
        return [(("variant",), f"{variant.name!r} is compared with itself; say against: another variant.")]
    return []


def _fixed(study: Study, kind: str, entry: dict[str, Any]) -> list[Problem]:
    """What is wrong with a trend's axis, and with where it is looked for: axes to values."""
    cell = entry.get("in", {})
    if not isinstance(cell, dict):
        return [(("in",), "'in' maps axes to values, such as model.activation: relu.")]
    axes = {axis.name: axis for axis in study.vary_axes}
    found: list[Problem] = []
    for name, value in cell.items():
        if name not in axes:
            found.append((("in", name), str(unknown("axis", name, axes))))
        elif name == entry[kind]:
            found.append((("in", name), f"the trend goes along {name!r}; take it out of 'in'."))
        elif not any(same(value, other) for other in axes[name].values):
            found.append((("in", name), str(unknown(f"value of {name}", text(value), map(text, axes[name].values)))))
    if found or not isinstance(entry[kind], str) or entry[kind] not in axes:
        return found
    if len(axes[entry[kind]].values) < 2:
        return [((kind,), f"the axis {entry[kind]!r} has one value; a trend needs two.")]
    names = [variant.name for variant in study.variants]
    missing = [name for name in _along(study, entry[kind], cell) if name not in names]
    if missing:
        sentence = f"the study has no variant {missing[0]!r}, as it varies one axis at a time; leave 'in' out."
        return [(("in",), sentence)]
    return []

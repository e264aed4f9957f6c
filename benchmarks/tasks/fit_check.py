"""Checks a study of the task `fit`: resolves its variants and finds what `zoo` would refuse. Needs torch."""

from collections.abc import Iterator

from datamodules.errors import InputError, choose
from zoo.parts.metric_names import RARE_CLASS, THROUGHPUT, callback_of
from zoo.plain import Config
from zoo.trainer import quiet

from ..study.blame import Resolved, find_problems
from ..study.claims import make_claims
from ..study.problems import Problem
from ..study.study import Study
from ..study.yaml_lines import Place
from .base import Checked
from .fit_facts import identity, measured, packing, refusal
from .fit_variants import attempt, resolve_variants

_CLAIMED = " All variants that the claim is about must have the layer."
STAND_INS = {"model": {"name": "perceptron"}, "data": {"name": "iris"}}  # these two always go together


def check_study(study: Study) -> Checked:
    """Resolve a study's variants, or say what is wrong with them."""

    def checked(study: Study) -> Iterator[Resolved]:
        for config in resolve_variants(study):
            yield config if isinstance(config, str) else refusal(config) or config

    def attempted(config: Config) -> Resolved:
        resolved = attempt(config)
        return resolved if isinstance(resolved, str) else refusal(resolved) or resolved

    with quiet():
        configs, problems = find_problems(study, checked, attempted, STAND_INS)
        problems += _unmeasured_metrics(study, configs, sound=not problems)
        if problems:
            return Checked(problems=problems)
        return Checked(configs, [identity(c) for c in configs], [packing(c) for c in configs])


def _unmeasured_metrics(study: Study, configs: list[Config], sound: bool) -> list[Problem]:
    """Refuse metrics that trials would not measure: those of a claim in the variants that it is about, others in all.

    Args:
        study: The study.
        configs: See `blame.find_problems`.
        sound: Whether these are those of all variants, in their order.
    """
    names = [variant.name for variant in study.variants]
    problems: list[Problem] = []
    for metric, place in study.metrics():
        own = configs
        if sound and place[0] == "claims":
            claim = make_claims(study)[int(place[1])]
            own = [configs[names.index(name)] for name in claim.variants]
        found = _unmeasured(metric, place, own)
        if not sound and place[0] == "claims":  # which config is whose is not known: some must measure it
            found = found if all(_unmeasured(metric, place, [config]) for config in configs) else []
        problems += found
    return problems


def _unmeasured(metric: str, place: Place, configs: list[Config]) -> list[Problem]:
    """Refuse a metric that some trial would not measure."""
    for kind in sorted({measured(config) for config in configs}):
        try:
            choose("metric", metric, kind.names)
        except InputError as error:
            remedy, callback = "", callback_of(metric)
            if metric.startswith(("train_eval/", "gap/")) and not kind.gap:
                remedy = " With callbacks.generalization_gap true in all trials, train_eval/... and gap/... are, too."
            elif metric in RARE_CLASS and not kind.rare_class:
                remedy = f" With callbacks.rare_class true in all trials, {', '.join(RARE_CLASS)} are, too."
            elif metric in THROUGHPUT and not kind.throughput:
                remedy = f" With callbacks.throughput true in all trials, {', '.join(THROUGHPUT)} are, too."
            elif callback and callback not in kind.diagnosing:
                remedy = f" With callbacks.{callback} true in all trials, its metrics are, too."
            elif callback:
                remedy = " All variants must have the layer." if place[0] != "claims" else _CLAIMED
            return [(place, f"{error}{remedy}")]
    return []

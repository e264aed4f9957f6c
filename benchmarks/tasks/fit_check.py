"""Check a study of the task `fit`: resolve its variants and find what `zoo` would reject. Needs torch."""

from collections.abc import Iterator

from datamodules.errors import InputError, choose
from zoo.parts.metric_names import RARE_CLASS, THROUGHPUT, callback_of
from zoo.plain import Config
from zoo.trainer import quiet
from zoo.yaml_lines import Place

from ..study.blame import Resolved, find_problems
from ..study.claims import make_claims
from ..study.problems import Problem
from ..study.study import Study
from .base import Checked
from .fit_facts import identity, measured, packing, refusal
from .fit_variants import attempt, resolve_variants

_CLAIMED = " All variants of the claim must have this layer."
STAND_INS = {"model": {"name": "perceptron"}, "data": {"name": "iris"}}  # a valid combination


def check_study(study: Study) -> Checked:
    """Resolve a study's variants, or report their problems."""

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
    """Report metrics that trials would not measure: those of a claim for its variants, others for all variants.

    Args:
        study: The study.
        configs: See `blame.find_problems`.
        sound: Whether these are the configs of all variants, in order.
    """
    names = [variant.name for variant in study.variants]
    problems: list[Problem] = []
    for metric, place in study.metrics():
        own = configs
        if sound and place[0] == "claims":
            claim = make_claims(study)[int(place[1])]
            own = [configs[names.index(name)] for name in claim.variants]
        found = _unmeasured(metric, place, own)
        if not sound and place[0] == "claims":  # it is not known which config belongs to which variant
            found = found if all(_unmeasured(metric, place, [config]) for config in configs) else []
        problems += found
    return problems


def _unmeasured(metric: str, place: Place, configs: list[Config]) -> list[Problem]:
    """Raise an error for a metric that some trial would not measure."""
    for kind in sorted({measured(config) for config in configs}):
        try:
            choose("metric", metric, kind.names)
        except InputError as error:
            remedy, callback = "", callback_of(metric)
            if metric.startswith(("train_eval/", "gap/")) and not kind.gap:
                remedy = (
                    " Set callbacks.generalization_gap: true in all trials to measure train_eval/ and gap/ metrics."
                )
            elif metric in RARE_CLASS and not kind.rare_class:
                remedy = f" Set callbacks.rare_class: true in all trials to measure {', '.join(RARE_CLASS)}."
            elif metric in THROUGHPUT and not kind.throughput:
                remedy = f" Set callbacks.throughput: true in all trials to measure {', '.join(THROUGHPUT)}."
            elif callback and callback not in kind.diagnosing:
                remedy = f" Set callbacks.{callback}: true in all trials to measure its metrics."
            elif callback:
                remedy = " All variants must have this layer." if place[0] != "claims" else _CLAIMED
            return [(place, f"{error}{remedy}")]
    return []

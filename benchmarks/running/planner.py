"""Makes a study's plan: trials are resolved and checked in a worker, where torch is, and keyed here."""

from ..study.blame import find_plain_problems
from ..study.problems import StudyError
from ..study.study import Study
from ..tasks import resolve_noop
from .engines.base import Engine
from .plan import Checked, Packing, Plan, trial_key


def make_plan(study: Study, engine: Engine) -> Plan:
    """Resolve and key all trials of a study.

    Raises:
        StudyError: A config that would be refused, a metric that no trial would measure, two trials that are one.
    """
    if study.task == "noop":
        configs, problems = find_plain_problems(study, resolve_noop, lambda config: config["returns"])
        identities, packings = [None] * len(configs), [Packing(alone="it does not train")] * len(configs)
    else:
        outcome = next(engine.run(_check, [(study,)]))
        if outcome.crash:
            sentence = f"the process that checks the study was {outcome.crash}; see what its task does when imported."
            raise StudyError(study.name, [(("task",), sentence)], study.lines)
        checked = outcome.value
        configs, identities, packings = checked.configs, checked.identities, checked.packings
        problems = checked.problems
    if problems:
        raise StudyError(study.name, problems, study.lines)
    keys = [
        [trial_key(study.task, config, identity, seed) for seed in range(study.seeds)]
        for config, identity in zip(configs, identities, strict=True)
    ]
    alike: dict[str, list[str]] = {}
    for variant, (key, *_) in zip(study.variants, keys, strict=True):
        alike.setdefault(key, []).append(repr(variant.name))
    same = [names for names in alike.values() if len(names) > 1]
    if same:
        others = f" (and {len(same) - 1} more such sets)" if len(same) > 1 else ""
        sentence = f"the variants {' and '.join(same[0])} are the same trials{others}; take all but one out."
        raise StudyError(study.name, [(("vary",), sentence)], study.lines)
    return Plan(study, configs, keys, packings)


def _check(study: Study) -> Checked:
    """In a worker, where torch is."""
    from .check import check_study

    return check_study(study)

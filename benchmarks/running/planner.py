"""Make the plan of a study: its task resolves and checks the trials, in a worker if it needs torch."""

from ..study.problems import StudyError
from ..study.study import Study
from ..tasks import find_task
from ..tasks.base import Checked
from .engines.base import Engine
from .plan import Plan, trial_key


def make_plan(study: Study, engine: Engine) -> Plan:
    """Resolve and key all trials of a study.

    Raises:
        StudyError: A config is invalid, a metric is not measured, or two variants have the same trials.
    """
    if find_task(study.task).needs_torch:
        outcome = next(engine.run(_check, [(study,)]))
        if outcome.crash:
            sentence = (
                f"the process that checks the study died ({outcome.crash}); check what the task's module does when it "
                "is imported."
            )
            raise StudyError(study.name, [(("task",), sentence)], study.lines)
        checked = outcome.value
    else:
        checked = _check(study)
    if checked.problems:
        raise StudyError(study.name, checked.problems, study.lines)
    keys = [
        [trial_key(study.task, config, identity, seed) for seed in range(study.seeds)]
        for config, identity in zip(checked.configs, checked.identities, strict=True)
    ]
    alike: dict[str, list[str]] = {}
    for variant, (key, *_) in zip(study.variants, keys, strict=True):
        alike.setdefault(key, []).append(repr(variant.name))
    same = [names for names in alike.values() if len(names) > 1]
    if same:
        others = f" (and {len(same) - 1} more such sets)" if len(same) > 1 else ""
        sentence = f"the variants {' and '.join(same[0])} have the same trials{others}; remove all but one."
        raise StudyError(study.name, [(("vary",), sentence)], study.lines)
    return Plan(study, checked.configs, keys, checked.packings)


def _check(study: Study) -> Checked:
    return find_task(study.task).check(study)

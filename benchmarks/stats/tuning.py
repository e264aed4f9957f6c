"""Each variant at its own best setting of what a study tunes."""

from typing import NamedTuple

import pandas as pd

from zoo.plain import is_number

from ..study.study import Study, Variant, text
from .summary import summarize


class Choice(NamedTuple):
    """The setting chosen for a variant.

    Attributes:
        variant: The variant that is compared.
        at: The same at the setting chosen.
        edges: What was chosen at an end of its grid of numbers, so that a better value may lie beyond.
    """

    variant: Variant
    at: Variant
    edges: list[str]


def choose_tuned(study: Study, trials: pd.DataFrame) -> list[Choice]:
    """For each compared variant the setting whose mean of `study.tuning_metric` over the seeds is best.

    The test split has no say. A setting at which more trials are done comes before one at which fewer are, whatever
    its mean; of equals the first in the grid is chosen; one without a finished trial never is, unless all are.

    Args:
        study: A study that tunes something.
        trials: As in `summarize`, with a column `study.tuning_metric`.
    """
    sign = 1 if study.mode == "max" else -1
    done = trials["status"] == "done"
    score = trials.assign(score=sign * trials[study.tuning_metric].where(done), lacking=~done)
    by_name = score.groupby("variant").agg(score=("score", "mean"), lacking=("lacking", "sum"))
    choices = []
    for variant in study.compared:
        settings = study.tuned(variant)
        rows = by_name.loc[[setting.name for setting in settings]]
        order = rows.reset_index(drop=True).sort_values(
            ["lacking", "score"], ascending=[True, False], kind="stable", na_position="last"
        )
        order = order[order["score"].notna()]
        at = settings[order.index[0]] if len(order) else variant
        edges = [
            axis.name
            for axis in study.axes
            if len(order)
            and axis.section == "tune"
            and len(axis.values) > 2
            and all(is_number(value) for value in axis.values)
            and at.cell[axis.name] in (min(axis.values), max(axis.values))
        ]
        choices.append(Choice(variant, at, edges))
    return choices


def summarize_tuned(study: Study, trials: pd.DataFrame, choices: list[Choice]) -> pd.DataFrame:
    """As `summarize`, each variant at the setting chosen, with a column for each key that is tuned."""
    table = summarize(study, trials, {choice.variant.name: choice.at.name for choice in choices})
    for place, name in enumerate(study.tune, 1):
        values = [choice.at.cell[name] for choice in choices]
        if not all(is_number(value) for value in values):
            values = list(map(text, values))
        table.insert(place, name, pd.Series(values, dtype=object))
    return table

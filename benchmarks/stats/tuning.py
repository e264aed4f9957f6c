"""Each variant at its own best setting of the tuned values."""

from typing import NamedTuple

import pandas as pd

from zoo.plain import is_number

from ..study.study import Study, Variant, text
from .summary import summarize


class Choice(NamedTuple):
    """The setting chosen for a variant.

    Attributes:
        variant: The compared variant.
        at: The same variant at the chosen setting.
        edges: Keys whose chosen value is at the edge of its grid, so that a better value may lie outside the grid.
    """

    variant: Variant
    at: Variant
    edges: list[str]


def choose_tuned(study: Study, trials: pd.DataFrame) -> list[Choice]:
    """For each compared variant, choose the setting with the best mean of `study.tuning_metric` over the seeds.

    Test data are not used. Settings with more completed trials rank first, whatever their mean; ties go to the first
    setting in the grid. A setting without a finished trial is chosen only if no setting has one.

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
    """As `summarize`, with each variant at its chosen setting and a column for each tuned key."""
    table = summarize(study, trials, {choice.variant.name: choice.at.name for choice in choices})
    for place, name in enumerate(study.tune, 1):
        values = [choice.at.cell[name] for choice in choices]
        if not all(is_number(value) for value in values):
            values = list(map(text, values))
        table.insert(place, name, pd.Series(values, dtype=object))
    return table

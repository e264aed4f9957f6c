"""All results that a report shows, independent of the output format."""

from dataclasses import dataclass, field

import pandas as pd

from ..records.store import Store
from ..records.stored import read_stored
from ..stats import choose_tuned, summarize, summarize_tuned
from ..stats.across import Across, across_data_sets
from ..stats.claims import judge_claims
from ..stats.factorial import effects, is_factorial, marginal_means
from ..stats.parity import parity_table
from ..stats.tuning import Choice
from ..study.study import Study
from .provenance import Provenance
from .speed import read_speed
from .trials import read_trials


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Analysis:
    """Results of the statistical analysis of a study.

    Attributes:
        study: The study.
        trials: See `read_trials`.
        provenance: Code, packages and hardware of the trials.
        table: One row per compared variant; see `benchmarks.stats.summarize`.
        choices: The chosen setting of each variant, if something is tuned.
        tuned: The table at those settings.
        effects: Analysis of variance of a two-axis grid.
        marginals: Marginal means of its axes.
        across: Comparison across data sets, if the data set varies.
        claims: The study's claims with their verdicts, if it has claims.
        speed: Training speed by hardware, if the study compares it.
        parity: For such a study, the differences of all other metrics from the baseline.
    """

    study: Study
    trials: pd.DataFrame
    provenance: Provenance
    table: pd.DataFrame
    choices: list[Choice] = field(default_factory=list)
    tuned: pd.DataFrame | None = None
    effects: pd.DataFrame | None = None
    marginals: pd.DataFrame | None = None
    across: Across | None = None
    claims: pd.DataFrame | None = None
    speed: pd.DataFrame | None = None
    parity: pd.DataFrame | None = None


def analyze(study: Study, store: Store) -> Analysis:
    """Run the statistical analysis of a study from its records, which are read once.

    Raises:
        InputError: The store does not hold this study, or has records of another schema.
    """
    stored = read_stored(study, store)
    trials, provenance = read_trials(study, stored)
    speed = read_speed(study, stored)
    choices = choose_tuned(study, trials) if study.tune else []
    grid = is_factorial(study)
    return Analysis(
        study,
        trials,
        provenance,
        summarize(study, trials),
        choices,
        summarize_tuned(study, trials, choices) if choices else None,
        effects(study, trials) if grid else None,
        marginal_means(study, trials) if grid else None,
        across_data_sets(study, trials),
        judge_claims(study, trials) if study.claims else None,
        speed,
        parity_table(study, trials) if speed is not None else None,
    )

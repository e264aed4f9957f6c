"""Whether a study's claims hold: *holds*, *does not hold* or *cannot tell*."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from ..study.claims import DIVERGED, Claim, make_claims
from ..study.study import Study
from .paired import ALPHA, Array, level, moments, t_interval, t_test, tost
from .summary import FAILED, SINGLE, by_seed, holm

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot tell"


class Evidence(NamedTuple):
    """Evidence for or against one claim.

    Attributes:
        effect: A paired difference, a difference of two paired differences, a mean (geometric on a log scale), a rate,
            or a mean step along an axis.
        low: Lower end of the 95 % interval of the effect.
        high: Upper end.
        n: Number of seeds; for a rate, number of trials.
        p: Two-sided p value of the null hypothesis that there is no effect, or that the mean equals the threshold.
        side: 1 if the effect has the claimed direction, -1 if the opposite, 0 if neither.
        settled: The decision if it does not depend on p (True if the claim holds, False if not), else None.
        blocked: Whether missing trials rule out `holds`, and whether they rule out `does not hold`.
    """

    effect: float
    low: float
    high: float
    n: int
    p: float
    side: float
    settled: bool | None = None
    blocked: tuple[bool, bool] = (False, False)


def judge_claims(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """Test each claim of a study.

    A claim `holds` if a two-sided t test is significant at .05, after Holm's correction over all claims of the study,
    and the effect has the claimed direction. It `does not hold` if the test is significant in the opposite direction.
    Otherwise the verdict is `cannot tell`. In addition:

    - A claim of `better` or `worse` does not hold if the two are equivalent within the margin (TOST). A claim of
      `equivalent` holds in that case, and does not hold if the 95 % interval lies outside the margin.
    - `no worse` tests the null hypothesis that the variant is worse by exactly the margin.
    - A trend holds only if every step between neighbouring means has the claimed direction, and does not hold if one
      step is significant in the opposite direction.
    - A claim with `gain_over` tests the difference of two paired differences, (first - second) - (third - fourth),
      seed by seed.
    - Failed trials are left out of all means. The verdict is `cannot tell` if they could have changed it, and if a
      finished trial lacks the metric, or has no logarithm for a claim on a log scale.

    Args:
        study: The study.
        trials: As in `benchmarks.report.trials.read_trials`.

    Returns:
        One row per claim: `claim, source, about, metric, verdict, effect, ci_low, ci_high, n, p, p_holm`.
    """
    claims = make_claims(study)
    found = [_evidence(study, trials, claim) for claim in claims]
    p_holm = holm(np.array([evidence.p for evidence in found]))
    rows = []
    for claim, evidence, p in zip(claims, found, p_holm, strict=True):
        rows.append(
            {
                **{"claim": claim.claim, "source": claim.source, "about": about(claim), "metric": claim.metric},
                **{"verdict": _verdict(evidence, p), "effect": evidence.effect},
                **{"ci_low": evidence.low, "ci_high": evidence.high, "n": evidence.n, "p": evidence.p, "p_holm": p},
            }
        )
    return pd.DataFrame(rows)


def about(claim: Claim) -> str:
    """What is compared, as a formula."""
    first = claim.variants[0]
    if claim.kind == "is":
        relation = "≈" if claim.value == "equivalent" else f"{claim.value} than"
        pairs = list(zip(claim.variants[::2], claim.variants[1::2], strict=True))
        if len(pairs) == 1:
            return f"{first} {relation} {claim.variants[1]}"
        return f" {relation} ".join(f"({one} over {other})" for one, other in pairs)
    if claim.kind in ("below", "above"):
        return f"{first} {'<' if claim.kind == 'below' else '>'} {claim.value:g}"
    return f"{claim.kind} with {claim.value}: {first} … {claim.variants[-1]}"


def _verdict(evidence: Evidence, p: float) -> str:
    holds, fails = evidence.blocked
    if evidence.settled is not None:
        said = HOLDS if evidence.settled else FAILS
    else:
        said = OPEN if not p < ALPHA or not evidence.side else HOLDS if evidence.side > 0 else FAILS
    return OPEN if (said == HOLDS and holds) or (said == FAILS and fails) else said


def _evidence(study: Study, trials: pd.DataFrame, claim: Claim) -> Evidence:
    if claim.metric == DIVERGED:
        return _rate(trials, claim)
    column = "value" if claim.metric == study.metric else claim.metric
    values = by_seed(study, trials, claim.variants, column)  # (seeds, variants)
    failed = [set(_seeds(trials, name)) for name in claim.variants]
    if claim.log:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.log10(np.where(values > 0, values, np.nan))
    largest = float(np.where(np.isfinite(values), np.abs(values), 0).max(initial=0))
    noise = SINGLE * (max(1.0, largest) if claim.log else largest)
    if claim.kind == "is":
        evidence = _comparison(claim, values, failed, noise)
    elif claim.kind in ("below", "above"):
        evidence = _threshold(claim, values[:, 0], bool(failed[0]), noise)
    else:
        evidence = _trend(claim, values, any(failed), noise)
    # A finished trial without a value, or without a logarithm, could have had any value.
    done = by_seed(study, trials.assign(done=1.0), claim.variants, "done") == 1
    return evidence._replace(blocked=(True, True)) if (done & ~np.isfinite(values)).any() else evidence


def _comparison(claim: Claim, values: Array, failed: Sequence[set[int]], noise: float) -> Evidence:
    d = values[:, ::2] - values[:, 1::2]  # (seeds, pairs)
    several = d.shape[1] > 1
    d = level(d[:, 0] - d[:, 1] if several else d[:, 0], noise * d.shape[1])
    n, delta, _ = moments(d)
    low, high = t_interval(d)
    gain = float(delta) * (1 if claim.mode == "max" else -1)
    same = claim.margin is not None and bool(tost(d, claim.margin) < ALPHA)
    # With four variants, each missing trial hides a difference that could have gone either way.
    lost, won = (any(failed), any(failed)) if several else (bool(failed[0] - failed[1]), bool(failed[1] - failed[0]))
    evidence = Evidence(float(delta), float(low), float(high), int(n), float(t_test(d)), np.sign(gain))
    if claim.value == "equivalent":
        assert claim.margin is not None
        beyond = bool(low > claim.margin or high < -claim.margin)
        return evidence._replace(
            settled=True if same else False if beyond else None, side=0, blocked=(lost or won, several and lost)
        )
    if claim.value == "no worse":
        assert claim.margin is not None
        worst = d + claim.margin * (1 if claim.mode == "max" else -1)  # the null hypothesis: worse by the margin
        side = float(np.sign(gain + claim.margin))
        return evidence._replace(p=float(t_test(worst)), side=side, blocked=(lost, won))
    if claim.value == "worse":
        return evidence._replace(
            side=-evidence.side, settled=False if same else None, blocked=(won, lost or (same and won))
        )
    return evidence._replace(settled=False if same else None, blocked=(lost, won or (same and lost)))


def _threshold(claim: Claim, values: Array, failed: bool, noise: float) -> Evidence:
    reference = np.log10(claim.value) if claim.log else claim.value
    values = level(values, noise)
    n, mean, _ = moments(values)
    low, high = t_interval(values)
    side = np.sign(mean - reference) * (1 if claim.kind == "above" else -1)
    middle, *ends = (float(10**x if claim.log else x) for x in (mean, low, high))
    return Evidence(
        middle, ends[0], ends[1], int(n), float(t_test(values - reference)), float(side), blocked=(failed, failed)
    )


def _trend(claim: Claim, values: Array, failed: bool, noise: float) -> Evidence:
    values = np.where(np.isfinite(values).all(axis=1, keepdims=True), values, np.nan)  # complete seeds
    steps = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    slopes = level(values @ steps / (steps @ steps), noise)  # least squares, per step along the axis
    n, slope, _ = moments(slopes)
    low, high = t_interval(slopes)
    way = 1 if claim.kind == "rises" else -1
    between = level(np.diff(values, axis=1) * way, noise)  # (seeds, steps)
    back = (moments(between)[1] < 0) & (holm(t_test(between)) < ALPHA)
    monotone = bool((moments(between)[1] > 0).all())
    side = float(np.sign(slope) * way)
    settled = False if back.any() else None
    return Evidence(
        float(slope),
        float(low),
        float(high),
        int(n),
        float(t_test(slopes)),
        side if side < 0 or monotone else 0.0,
        settled,
        (failed, failed),
    )


def _rate(trials: pd.DataFrame, claim: Claim) -> Evidence:
    """Exact binomial test of a variant's divergence rate, among the trials that were done or diverged."""
    status = trials.loc[trials["variant"] == claim.variants[0], "status"]
    diverged, n = int((status == "diverged").sum()), int(status.isin(["done", "diverged"]).sum())
    lost = bool(status.isin(["failed", "crashed"]).any())
    if not n:
        return Evidence(np.nan, np.nan, np.nan, 0, np.nan, 0.0)
    low, high = proportion_confint(diverged, n, method="wilson")
    share = diverged / n
    p = float(stats.binomtest(diverged, n, float(claim.value)).pvalue)
    side = np.sign(share - claim.value) * (1 if claim.kind == "above" else -1)
    return Evidence(share, max(0.0, low), min(1.0, high), n, p, float(side), blocked=(lost, lost))


def _seeds(trials: pd.DataFrame, variant: str) -> list[int]:
    own = trials[trials["variant"] == variant]
    return list(own.loc[own["status"].isin(FAILED), "seed"])

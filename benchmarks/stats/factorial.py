"""Main effects and the interaction of a study with two axes, seeds being blocks."""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import helmert

from ..study.study import Study, text
from .paired import Array, level, moments, t_interval
from .summary import SINGLE, by_seed


def is_factorial(study: Study) -> bool:
    """Whether a study is a full grid of two axes with two values each at least, on one data set."""
    axes = study.vary_axes
    return len(axes) == 2 and not study.one_at_a_time and not study.block_axes and all(len(a.values) > 1 for a in axes)


def cells(study: Study, trials: pd.DataFrame) -> Array:
    """Values by (seed, value of the first axis, value of the second); NaN where a trial is not done."""
    table = by_seed(study, trials, [variant.name for variant in study.compared])
    return table.reshape(study.seeds, *(len(axis.values) for axis in study.vary_axes))


def effects(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """The repeated-measures analysis of variance of a two-axis study.

    Each effect is tested against its own interaction with the seeds, with Greenhouse & Geisser's (1959) correction for
    unequal variances and correlations of the differences. Seeds that lack a cell are left out.

    Returns:
        One row for each axis and their interaction: `effect, n, F, df1, df2, epsilon, p, partial_eta2`; degrees of
        freedom are uncorrected, `epsilon` is the factor that both are multiplied by for `p`. `n` counts the complete
        seeds; with fewer than two all else is missing, as is `p` where an effect has no spread at all.
    """
    y = cells(study, trials)
    y = y[np.isfinite(y).all(axis=(1, 2))]  # (n, a, b)
    n, a, b = y.shape
    flat = y.reshape(n, a * b)
    # Orthonormal contrasts: what varies along an axis, averaged over the other.
    along = {k: helmert(k) for k in (a, b)}
    average = {k: np.full((1, k), k**-0.5) for k in (a, b)}
    first, second = (axis.name for axis in study.vary_axes)
    contrasts = {
        first: np.kron(along[a], average[b]),
        second: np.kron(average[a], along[b]),
        f"{first} × {second}": np.kron(along[a], along[b]),
    }
    rounding = SINGLE * np.abs(flat).max(initial=0)  # contrasts of equal values are not quite 0, nor equal
    z = {name: level(flat @ c.T, rounding) for name, c in contrasts.items()}
    return pd.DataFrame(
        [{"effect": name, "n": n, **_test(np.where(np.abs(x) > rounding, x, 0))} for name, x in z.items()]
    )


def _test(z: Array) -> dict[str, float]:
    """The test that all means of the contrasts, (n, df), are zero."""
    n, df = z.shape
    if n < 2:
        return dict.fromkeys(("F", "df1", "df2", "epsilon", "p", "partial_eta2"), np.nan)
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    error = np.trace(covariance)
    explained = n * float((z.mean(axis=0) ** 2).sum())
    spread = float((covariance**2).sum())
    epsilon = error**2 / (df * spread) if spread > 0 else 1.0
    f = explained / error if error > 0 else (np.inf if explained > 0 else 0.0)
    p = float(stats.f.sf(f, df * epsilon, df * epsilon * (n - 1)))
    if error == 0 and explained > 0:  # no spread, of which F says nothing: as in `paired`, or not at all
        p = 2 * 0.5**n if df == 1 else np.nan
    total = explained + error * (n - 1)
    return {
        "F": f,
        "df1": df,
        "df2": df * (n - 1),
        "epsilon": epsilon,
        "p": p,
        "partial_eta2": explained / total if total > 0 else 0.0,
    }


def marginal_means(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """Each value of each axis, averaged over the other axis.

    Returns:
        `axis, value, n, mean, ci_low, ci_high, delta, delta_ci_low, delta_ci_high`: the mean over seeds of the seed's
        mean over the other axis with its 95 % t interval, and the paired difference from the baseline's value of this
        axis. Seeds that lack a cell in question are left out.
    """
    y = cells(study, trials)
    rows = []
    for axis, means in zip(study.vary_axes, (y.mean(axis=2), y.mean(axis=1)), strict=True):
        d = means - means[:, [axis.index(study.baseline[axis.name])]]
        d = level(d, SINGLE * float(np.nanmax(np.abs(means), initial=0)))
        columns = {"n": moments(means)[0], "mean": moments(means)[1]}
        columns |= dict(zip(("ci_low", "ci_high"), t_interval(means), strict=True)) | {"delta": moments(d)[1]}
        columns |= dict(zip(("delta_ci_low", "delta_ci_high"), t_interval(d), strict=True))
        rows.append(pd.DataFrame({"axis": axis.name, "value": [text(v) for v in axis.values], **columns}))
    return pd.concat(rows, ignore_index=True)

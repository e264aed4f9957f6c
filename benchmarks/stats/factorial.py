"""Main effects and interaction of a study with two axes; seeds are the blocks."""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import helmert

from ..study.study import Study, text
from .paired import Array, level, moments, t_interval
from .summary import SINGLE, by_seed


def is_factorial(study: Study) -> bool:
    """Whether a study is a full grid of two axes, each with at least two values, on one data set."""
    axes = study.vary_axes
    return len(axes) == 2 and not study.one_at_a_time and not study.block_axes and all(len(a.values) > 1 for a in axes)


def cells(study: Study, trials: pd.DataFrame) -> Array:
    """Values as an array (seeds, values of the first axis, values of the second); NaN if a trial is not done."""
    table = by_seed(study, trials, [variant.name for variant in study.compared])
    return table.reshape(study.seeds, *(len(axis.values) for axis in study.vary_axes))


def effects(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """Repeated-measures analysis of variance of a two-axis study.

    Each effect is tested against its own interaction with the seeds, with the Greenhouse-Geisser (1959) correction for
    violations of sphericity. Seeds with a missing cell are left out.

    Returns:
        One row for each axis and one for their interaction: `effect, n, F, df1, df2, epsilon, p, partial_eta2`. The
        degrees of freedom are uncorrected; `epsilon` is the factor by which both are multiplied to compute `p`. `n` is
        the number of complete seeds; with fewer than two the other columns are missing. `p` is also missing if an
        effect does not vary between seeds.
    """
    y = cells(study, trials)
    y = y[np.isfinite(y).all(axis=(1, 2))]  # (n, a, b)
    n, a, b = y.shape
    flat = y.reshape(n, a * b)
    # Orthonormal contrasts along one axis, averaged over the other.
    along = {k: helmert(k) for k in (a, b)}
    average = {k: np.full((1, k), k**-0.5) for k in (a, b)}
    first, second = (axis.name for axis in study.vary_axes)
    contrasts = {
        first: np.kron(along[a], average[b]),
        second: np.kron(average[a], along[b]),
        f"{first} × {second}": np.kron(along[a], along[b]),
    }
    rounding = SINGLE * np.abs(flat).max(initial=0)  # contrasts of equal values are not exactly 0
    z = {name: level(flat @ c.T, rounding) for name, c in contrasts.items()}
    return pd.DataFrame(
        [{"effect": name, "n": n, **_test(np.where(np.abs(x) > rounding, x, 0))} for name, x in z.items()]
    )


def _test(z: Array) -> dict[str, float]:
    """F test of the null hypothesis that all means of the contrasts, (n, df), are zero."""
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
    if error == 0 and explained > 0:  # F is undefined without spread: the sign-flip p as in `paired`, or none
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
    """Marginal mean of each value of each axis, averaged over the other axis.

    Returns:
        `axis, value, n, mean, ci_low, ci_high, delta, delta_ci_low, delta_ci_high`: the mean with its 95 % t interval
        over seeds, and the paired difference from the baseline's value on this axis. Seeds with a missing cell are
        left out.
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

"""Format numbers, intervals and lists as text."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd


def number(value: float, signed: bool = False) -> str:
    """A value with four decimals, or in scientific notation if it is very small or large; empty if missing."""
    if pd.isna(value):
        return ""
    plain = value == 0 or 5e-5 <= abs(value) < 1e5
    return f"{value:{'+' if signed else ''}{'.4f' if plain else '.2e'}}"


def interval(low: float, high: float, signed: bool = False) -> str:
    """An interval; empty if missing."""
    return "" if pd.isna(low) else f"{number(low, signed)} to {number(high, signed)}"


def exact(value: float, signed: bool = False) -> str:
    """A value with three significant digits; empty if missing."""
    return "" if pd.isna(value) else f"{value:{'+' if signed and value else ''}.3g}"


def exact_interval(low: float, high: float) -> str:
    """An interval of differences with three significant digits; empty if missing."""
    return "" if pd.isna(low) else f"{exact(low, True)} to {exact(high, True)}"


def p_value(p: float) -> str:
    """A p value with two significant digits, very small ones as a bound; empty if missing."""
    if pd.isna(p):
        return ""
    if p < 1e-4:
        return "<.0001"
    if 0.045 <= p < 0.055:  # show on which side of .05 it is
        return f"{p:.3g}".lstrip("0")
    return f"{p:.2g}".lstrip("0") if p < 0.995 else "1"


def share(value: float) -> str:
    """A fraction in percent."""
    return f"{100 * value:.0f} %"


def listed(words: Sequence[str], most: int = 6) -> str:
    """Words joined with commas and "and", truncated after `most`."""
    shown = list(words[:most]) + ([f"{len(words) - most} more"] if len(words) > most else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def quoted(name: str) -> str:
    """A variant's name for use in a sentence: quoted if it contains a comma, so that lists stay readable."""
    return f"“{name}”" if "," in name else name


def many(n: int, what: str) -> str:
    """A count with its noun: `1 seed`, `2 seeds`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def verdicts(found: Sequence[str]) -> str:
    """Number of claims with each verdict: `7 hold, 1 does not hold and 2 are undecided`."""
    forms = {"holds": ("holds", "hold"), "does not hold": ("does not hold", "do not hold")}
    forms["cannot tell"] = ("is undecided", "are undecided")
    counts = Counter(found)
    return listed([f"{n} {form[n > 1]}" for verdict, form in forms.items() if (n := counts[verdict])])


def rounded(value: float) -> str:
    """A number rounded to two significant digits."""
    if not np.isfinite(value):
        return "?"
    return f"{float(f'{value:.2g}'):g}"

"""The columns of a trial's learning curves, kept in single precision."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curves = Mapping[str, Sequence[Any]]  # columns of metrics.csv: name to one value per epoch
SMALLEST = float(np.finfo(np.float32).smallest_normal)  # below it, single precision loses digits


@dataclass(frozen=True, eq=False, slots=True)
class Column(Sequence[Any]):
    """One column with one value per epoch. As a sequence it yields the values, with the fewest digits needed.

    Attributes:
        numbers: The values: `int64` if all are integers, else `float32`; 0 or NaN for epochs in `others`.
        others: Values that such an array cannot hold, by epoch: None for an empty cell, text, numbers out of range.
    """

    numbers: NDArray[Any]
    others: Mapping[int, Any]

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Column":
        """The column with these values; floats are rounded to single precision."""
        if isinstance(values, Column):
            return values
        others: dict[int, Any] = {}
        if not set(map(type, values)) <= {int, float}:
            values = [_parsed(value) for value in values]
            others = {n: value for n, value in enumerate(values) if value is None or isinstance(value, str)}
        kept = [value for n, value in enumerate(values) if n not in others] if others else values
        if kept and all(isinstance(value, int) and abs(value) < 2**63 for value in kept):
            numbers = [0 if n in others else value for n, value in enumerate(values)] if others else kept
            return cls(np.array(numbers, dtype=np.int64), others)
        exact = np.array([math.nan if n in others else value for n, value in enumerate(values)], dtype=np.float64)
        with np.errstate(over="ignore", under="ignore"):
            rounded = exact.astype(np.float32)
            out_of_range = np.isfinite(exact) & (np.isinf(rounded) | (np.abs(rounded) < SMALLEST)) & (rounded != exact)
        for n in np.flatnonzero(out_of_range).tolist():
            others[n], rounded[n] = values[n], math.nan
        return cls(rounded, others)

    def floats(self) -> NDArray[np.float64]:
        """The values in single precision; NaN for missing ones."""
        values = self.numbers.astype(np.float32).astype(np.float64)
        with np.errstate(over="ignore", under="ignore"):
            for n, value in self.others.items():
                values[n] = np.float32(value) if isinstance(value, int | float) else math.nan
        return values

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        return self._values()[place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())

    def _values(self) -> list[Any]:
        # float32 0.1 is .10000000149 as a Python float; through text it is .1 again.
        integers = self.numbers.dtype.kind == "i"
        values: list[Any] = (self.numbers if integers else self.numbers.astype(str).astype(float)).tolist()
        for n, value in self.others.items():
            values[n] = value
        return values


def _parsed(value: Any) -> Any:
    """A value with `nan`, `inf` and `-inf` as numbers; JSON has none, so old archives hold them as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value

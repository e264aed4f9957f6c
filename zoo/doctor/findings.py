"""The result of a check: a level, what was measured, why it matters, what to change."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["ok", "remark", "broken"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: Name of the check, such as `gradient_flow`.
        level: `ok`; `remark` (trains, but could be better); `broken` (should be fixed before training).
        measured: What was measured, as a sentence with numbers.
        numbers: The same numbers in machine-readable form.
        why: Why it matters, with the source; empty if the level is `ok`.
        change: What to change, as an option where possible; empty if the level is `ok`.
    """

    check: str
    level: Level
    measured: str
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    why: str = ""
    change: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Convert to values that JSON supports; numbers that are not finite become None."""
        numbers = {k: v if v is not None and math.isfinite(v) else None for k, v in self.numbers.items()}
        return asdict(self) | {"numbers": numbers}


def worst(*levels: Level) -> Level:
    """Most severe of some levels; `ok` if there are none."""
    order: tuple[Level, ...] = ("ok", "remark", "broken")
    return max(levels, key=order.index, default="ok")


def above(value: float, remark: float, broken: float) -> Level:
    """Level of a value that should be small; NaN is broken."""
    if not value <= broken:
        return "broken"
    return "remark" if value > remark else "ok"


def below(value: float, remark: float, broken: float) -> Level:
    """Level of a value that should be large; NaN is broken."""
    return above(-value, -remark, -broken)

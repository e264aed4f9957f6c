"""What a check says: a level, what was measured, why it matters, what to change."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["ok", "remark", "broken"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: The check's name, such as `gradient_flow`.
        level: `ok`; `remark`, which trains but could do better; `broken`, which should be mended before training.
        measured: What was measured, as a sentence with its numbers.
        numbers: The same numbers for programs.
        why: Why it matters, with the source; empty where all is well.
        change: What to change, as an option where there is one; empty where all is well.
    """

    check: str
    level: Level
    measured: str
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    why: str = ""
    change: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes: a number that is not finite becomes None."""
        numbers = {k: v if v is not None and math.isfinite(v) else None for k, v in self.numbers.items()}
        return asdict(self) | {"numbers": numbers}


def worst(*levels: Level) -> Level:
    """The gravest of some levels; `ok` of none."""
    order: tuple[Level, ...] = ("ok", "remark", "broken")
    return max(levels, key=order.index, default="ok")


def above(value: float, remark: float, broken: float) -> Level:
    """The level of a value that should be small; NaN is broken."""
    if not value <= broken:
        return "broken"
    return "remark" if value > remark else "ok"


def below(value: float, remark: float, broken: float) -> Level:
    """The level of a value that should be large; NaN is broken."""
    return above(-value, -remark, -broken)

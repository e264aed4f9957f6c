"""Plain values, of which configs are made: strings, numbers, lists, mappings. Imports neither torch nor lightning."""

import json
import sys
from typing import Any, NewType, TypeGuard

Config = dict[str, Any]
# A complete config, every value typed. Only the edge makes one, `zoo.config.resolve`, or takes one from a plan that has
# been made by it; what is behind the edge takes nothing else, and never resolves again.
ResolvedConfig = NewType("ResolvedConfig", dict[str, Any])


def canonical(value: Any) -> str:
    """A plain value as compact JSON with sorted keys: equal values give equal text, and unlike for ==, true is not 1.

    The keys of trials are hashes of this text, so it must never change.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a finite number; true and false are not."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max

"""All claims of a folder of studies on one page, `claims.md`."""

from collections.abc import Sequence

import pandas as pd

from .grids import CLAIMS, Grid, claims_grid, picked
from .markup import markdown_table


def claims_page(found: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """`claims.md`: each claim with its source, verdict, effect with interval, n and the command that tests it.

    Args:
        found: The folder name of each study with its claims (see `benchmarks.stats.claims.judge_claims`).
    """
    header = ["claim", "source", "verdict", "as measured", "effect", "95 % interval", "n"]
    rows = [[*row, f"bench run {name}"] for name, claims in found for row in picked(claims_grid(claims), header)]
    table = markdown_table(Grid("", [*header, "command"], rows, []))
    return "\n".join(["# Claims", "", f"Made by `bench report --claims`. {CLAIMS}", "", *table]) + "\n"

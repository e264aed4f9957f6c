"""All claims of a folder of studies on one page."""

from collections.abc import Sequence

import pandas as pd

from .grids import CLAIMS, Grid
from .markup import markdown_table
from .words import interval, number


def claims_page(found: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """`claims.md`: each claim with source, verdict, effect with interval, n and the command that measures it.

    Args:
        found: The claims of each study (see `benchmarks.stats.claims.judge_claims`) under its folder's name.
    """
    rows = [
        [
            *(row["claim"], row["source"], row["verdict"], f"{row['metric']}: {row['about']}", number(row["effect"])),
            *(interval(row["ci_low"], row["ci_high"]), str(row["n"]), f"bench run {name}"),
        ]
        for name, claims in found
        for row in claims.to_dict("records")
    ]
    header = ["claim", "source", "verdict", "as measured", "effect", "95 % interval", "n", "command"]
    table = markdown_table(Grid("", header, rows, []))
    return "\n".join(["# Claims", "", f"Made by `bench report --claims`. {CLAIMS}", "", *table]) + "\n"

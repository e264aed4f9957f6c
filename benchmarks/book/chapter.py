"""Update the results in the reading guide `docs/chapter.md`: the claims of its studies, with verdicts.

    python -m benchmarks.book.chapter

It writes the command, the figure and the claims of results/NAME between `<!-- study NAME -->` and `<!-- end -->`. The
rest of the page is written by hand.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from datamodules.errors import InputError, require
from zoo.outputs.files import write_atomically

from ..report.grids import Grid, claims_grid, picked
from ..report.markup import markdown_table, sentence
from ..report.words import many, verdicts
from ..study.file import list_studies, load_study

ROOT = Path(__file__).parents[2]
PAGE, RESULTS = ROOT / "docs" / "chapter.md", ROOT / "results"
BLOCK = re.compile(r"<!-- study (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def fill(text: str, results: Path) -> str:
    """Fill each block of the page from the results.

    Args:
        text: The page.
        results: Folder of archived studies.

    Raises:
        InputError: A block names a study that is not shipped, or one without results for its claims.
    """
    return BLOCK.sub(lambda found: f"<!-- study {found[1]} -->\n\n{block(found[1], results)}\n\n<!-- end -->", text)


def block(name: str, results: Path) -> str:
    """The block of a study: command, links, summary of its claims, figure, claims."""
    require(name in list_studies(), f"docs/chapter.md names the study {name!r}, which is not shipped.")
    folder = results / name
    try:
        claims = pd.read_csv(folder / "claims.csv")
    except FileNotFoundError:
        raise InputError(f"{folder} has no claims.csv; run and archive {name} first.") from None
    header = ["claim", "verdict", "effect", "95 % interval", "n"]
    table = markdown_table(Grid("", header, picked(claims_grid(claims), header), []))
    study, where = load_study(name), f"../results/{name}"
    return "\n".join(
        [
            f"`bench run {name}` · [the study](../benchmarks/studies/{name}.yaml) · [its table]({where}/table.md) · "
            f"{many(len(claims), 'claim')}: {verdicts(list(claims['verdict']))}",
            "",
            f"![{sentence(study.question)}]({where}/figure.png)",
            "",
            *table,
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Update the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
    try:
        write_atomically(PAGE, fill(PAGE.read_text(encoding="utf-8"), RESULTS))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

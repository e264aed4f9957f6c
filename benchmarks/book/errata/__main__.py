"""Write docs/errata.md."""

import sys
from pathlib import Path

from zoo.outputs.files import write_atomically

from .page import page

FILE = Path(__file__).parents[3] / "docs/errata.md"


def main() -> int:
    """Write the page."""
    FILE.parent.mkdir(exist_ok=True)
    write_atomically(FILE, page())
    print(f"wrote {FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m zoo.cli` is the command `zoo`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())

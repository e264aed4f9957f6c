"""Location of data files that no package provides."""

import os
from pathlib import Path


def data_folder(root: str | None) -> Path:
    """Return the data root: `root`, else $ZOO_DATA_DIR, else ~/.cache/ablation-zoo."""
    return Path(root or os.environ.get("ZOO_DATA_DIR") or "~/.cache/ablation-zoo").expanduser()

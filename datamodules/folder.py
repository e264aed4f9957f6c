"""Where data lie that come with no package."""

import os
from pathlib import Path


def data_folder(root: str | None) -> Path:
    """The data root: `root`, else $ZOO_DATA_DIR, else a cache in the home folder."""
    return Path(root or os.environ.get("ZOO_DATA_DIR") or "~/.cache/ablation-zoo").expanduser()

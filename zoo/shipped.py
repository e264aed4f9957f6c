"""Configs that ship with the package."""

from fnmatch import fnmatchcase
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"


def shipped_configs(pattern: str = "*") -> dict[str, Path]:
    """Return the files of the shipped configs whose names match a glob pattern, by name."""
    return {file.stem: file for file in sorted(CONFIGS.glob("*.yaml")) if fnmatchcase(file.stem, pattern)}

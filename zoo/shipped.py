"""The configs that ship with the package."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"


def shipped_configs(pattern: str = "*") -> dict[str, Path]:
    """The files of the shipped configs whose name matches a glob pattern, by name."""
    return {file.stem: file for file in sorted(CONFIGS.glob(f"{pattern}.yaml"))}

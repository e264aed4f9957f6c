"""Problems of a study, with their places in its file."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from datamodules.errors import InputError
from zoo.yaml_lines import Place

Problem = tuple[Place, str]  # place and message


class StudyError(InputError):
    """All problems of a study.

    Args:
        source: The study.
        problems: The problems.
        lines: Origin of each value: a line of the file, or the option that set it.
    """

    def __init__(self, source: Path | str, problems: Iterable[Problem], lines: Mapping[Place, int | str]) -> None:
        def where(place: Place) -> int | str:
            """The line of a place, or of the nearest enclosing one."""
            return next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), 1)

        told = dict.fromkeys((where(place), sentence) for place, sentence in problems)
        ordered = sorted(told, key=lambda item: (isinstance(item[0], str), item))
        listed = "".join(f"\n  {f'line {n}' if isinstance(n, int) else n}: {sentence}" for n, sentence in ordered)
        super().__init__(f"{source} cannot run:{listed}")

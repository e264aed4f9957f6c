"""Find the values of a study that make its trials invalid."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from datamodules.errors import InputError, unknown
from zoo.plain import Config
from zoo.yaml_lines import Place

from .problems import Problem
from .study import Axis, Study, Variant

Resolved = Config | str  # a variant's config, or the error message
Path = tuple[str, ...]


class Culprit(NamedTuple):
    """The value that causes an error: its place in the study file and its path in a config (empty if not found)."""

    place: Place
    path: Path


def find_problems(
    study: Study,
    resolve: Callable[[Study], Iterable[Resolved]],
    attempt: Callable[[Config], Resolved],
    stand_ins: Mapping[str, Any] | None = None,
) -> tuple[list[Config], list[Problem]]:
    """Resolve each variant, and find all problems: culprits are removed one by one to find the errors they hide.

    Args:
        study: The study.
        resolve: Returns the resolved config of each variant, or its error message.
        attempt: Does the same for one config as written.
        stand_ins: Required sections, each with a valid value to replace an invalid section by.

    Returns:
        Configs and problems. If there are problems, the configs are those of the valid variants and those of the
        others with the culprits removed.
    """
    search = _Search(study, attempt, stand_ins or {})
    resolved = list(zip(study.variants, resolve(study), strict=True))
    sound = [(variant, config) for variant, config in resolved if isinstance(config, dict)]
    refused = [(variant, message) for variant, message in resolved if isinstance(message, str)]
    for message, variant in {message: variant for variant, message in reversed(refused)}.items():
        culprit = search.culprit(variant, study.config(variant), message)
        alone = culprit.place[0] != "base" and any(_holds(study, v, culprit.place) for v, _ in sound)
        search.tell(culprit, message, f"in the variant {variant.name!r}: {message}" if alone else message)
    seen: set[tuple[str, int]] = set()
    mended: list[Config] = []
    for variant, _ in refused:  # one variant per value is enough
        values = {(axis.name, axis.index(variant.cell[axis.name])) for axis in study.axes}
        if not values <= seen:
            seen |= values
            mended += search.mend(variant)
    return [config for _, config in sound] + mended, search.problems


def find_plain_problems(
    study: Study, resolve: Callable[[Config], Config], measured: Callable[[Config], Iterable[str] | None]
) -> tuple[list[Config], list[Problem]]:
    """`find_problems` for a task whose configs are cheap to resolve; also reports metrics that a trial would lack.

    Args:
        study: The study.
        resolve: Returns a complete config, or raises `InputError`.
        measured: Returns the names of the metrics that a complete config measures; None if only its trials can tell.
    """

    def attempt(config: Config) -> Resolved:
        try:
            return resolve(config)
        except InputError as error:
            return str(error)

    configs, problems = find_problems(study, lambda s: (attempt(s.config(v)) for v in s.variants), attempt)
    known = [measured(config) for config in configs]
    names = [list(own) for own in known if own is not None]
    for metric, place in study.metrics():
        if lacking := [own for own in names if metric not in own and (own or not problems)]:
            problems.append((place, str(unknown("metric", metric, lacking[0]))))
    return configs, problems


class _Search:
    """Finds culprits, and reports each of them once."""

    def __init__(self, study: Study, attempt: Callable[[Config], Resolved], stand_ins: Mapping[str, Any]) -> None:
        self.study, self.attempt, self.stand_ins = study, attempt, stand_ins
        self.problems: list[Problem] = []
        self.known: dict[str, list[Culprit]] = {}

    def tell(self, culprit: Culprit, message: str, sentence: str) -> None:
        """Record a problem; an error shared by several values of one axis is recorded once."""
        known = self.known.setdefault(message, [])
        if not any(culprit.place[:2] == other.place[:2] and culprit.place[0] != "base" for other in known):
            self.problems.append((culprit.place, sentence))
        known.append(culprit)

    def mend(self, variant: Variant) -> list[Config]:
        """Remove culprits from a variant and record the new ones; returns its config unless a section was replaced."""
        config = self.study.config(variant)
        out: list[Path] = []
        while isinstance(message := self.attempt(config), str):
            culprit = next((c for c in self.known.get(message, []) if self._is_there(c, variant, config)), None)
            if culprit is None:
                culprit = self.culprit(variant, config, message)
                # An error about a value that was removed here is not an error of the study.
                if not any(".".join(path) in message for path in out):
                    self.tell(culprit, message, message)
            if not culprit.path:
                return []
            out.append(culprit.path)
            self._take_out(config, culprit)
        return [] if any(self._replaces(path) for path in out) else [message]

    def culprit(self, variant: Variant, config: Config, message: str) -> Culprit:
        """The value whose removal fixes the config or at least changes the error; values before whole sections."""
        single: list[Culprit] = []
        whole: list[Culprit] = []
        for candidate in self._candidates(variant):
            (whole if self._replaces(candidate.path) else single).append(candidate)
        # Try values that the message names first, and data last because they are the most expensive to create.
        single.sort(key=lambda c: (not _names(message, c.path, config), c.path[0] == "data"))
        for candidates in (single, whole):
            second = None
            for candidate in candidates:
                without = copy.deepcopy(config)
                self._take_out(without, candidate)
                left = self.attempt(without)
                if isinstance(left, dict):
                    return candidate
                if left != message and second is None:
                    second = candidate
            if second is not None:
                return second
        return Culprit(("base",), ())

    def _candidates(self, variant: Variant) -> Iterator[Culprit]:
        for axis in self.study.axes:
            n = axis.index(variant.cell[axis.name])
            for key in axis.settings[n]:
                yield Culprit(_value_place(self.study, axis, n), tuple(key.split(".")))
        for path in (*_paths(self.study.base), *((section,) for section in self.stand_ins)):
            yield Culprit(("base", *path), path)

    def _is_there(self, culprit: Culprit, variant: Variant, config: Config) -> bool:
        if culprit.place[0] != "base" and not _holds(self.study, variant, culprit.place):
            return False
        without = copy.deepcopy(config)
        self._take_out(without, culprit)
        return without != config

    def _replaces(self, path: Path) -> bool:
        return path[:1] != () and path[0] in self.stand_ins and path[1:] in ((), ("name",))

    def _take_out(self, config: Config, culprit: Culprit) -> None:
        path, sections = culprit.path, [config]
        if self._replaces(path):
            config[path[0]] = copy.deepcopy(self.stand_ins[path[0]])
            return
        for part in path[:-1]:
            inner = sections[-1].get(part)
            if not isinstance(inner, dict):
                return
            sections.append(inner)
        sections[-1].pop(path[-1], None)
        # Also remove sections that existed only for the value of an axis.
        for depth in range(len(path) - 1, 0, -1) if culprit.place[0] != "base" else ():
            if not sections[depth]:
                del sections[depth - 1][path[depth - 1]]


def _names(message: str, path: Path, config: Config) -> bool:
    value: Any = config
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return ".".join(path) in message or repr(path[-1]) in message or (isinstance(value, str) and value in message)


def _holds(study: Study, variant: Variant, place: Place) -> bool:
    """Whether a variant has the value at a place in `vary` or `tune`."""
    axis = next(axis for axis in study.axes if axis.name == place[1])
    return _value_place(study, axis, axis.index(variant.cell[axis.name])) == place


def _value_place(study: Study, axis: Axis, n: int) -> Place:
    return (axis.section, axis.name, axis.values[n] if isinstance(study.vary.get(axis.name), dict) else n)


def _paths(section: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all values; the path of a mapping comes after those of the values in it."""
    if isinstance(section, dict):
        for key, value in section.items():
            yield from _paths(value, (*path, key))
    if path:
        yield path

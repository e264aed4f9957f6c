"""Read study files, shipped ones by name and others by path; all problems are reported at once, with line numbers."""

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from datamodules.errors import InputError, choose, require, unknown
from zoo.parts.metric_names import direction, has_direction, is_known
from zoo.plain import canonical, is_number
from zoo.yaml_lines import Place, parse_value, read_yaml

from ..tasks import find_task
from .claims import claim_problems
from .problems import Problem, StudyError
from .study import OF_TRAINING, Axis, Study, get_dotted, same, set_dotted, text

FILES = ("path", "test_path")  # parameters of data sets that are files
STUDIES = Path(__file__).parents[1] / "studies"
MOST_VARIANTS, MOST_TRIALS = 100_000, 1_000_000  # in a study; planning them takes seconds, and gigabytes of memory
DEFAULT_SEEDS = Study.seeds
NEEDED = ("base", "vary", "baseline", "metric")
KEYS = ("name", "task", *NEEDED, "margin", "seeds", "one_at_a_time", "baseline_per", "also", "tune", "claims")
RESERVED = ("seed_everything", "task", "schema")  # set by the study, not by its base
# Further columns of trials.csv.
TRAINING_COLUMNS = (*OF_TRAINING, "train_seconds")
COLUMNS = ("study", "key", "variant", "seed", "status", "reason", "metric", "value", *TRAINING_COLUMNS)
# Columns of table_tuned.csv, besides those with a `_` in their name.
TABLE_COLUMNS = ("variant", "n", "mean", "std", "baseline", "delta", "wins", "ties", "p", "mde", "verdict")


def find_study(name: str) -> Path:
    """The file of a shipped study given by name, or of another study given by path.

    Raises:
        InputError: There is no such study.
    """
    if name.endswith((".yaml", ".yml")):
        require(
            Path(name).is_file(),
            f"there is no study file {name}; check the path, or run `bench list` to see the shipped studies.",
        )
        return Path(name)
    if name not in list_studies():
        raise unknown("study", name, list_studies())
    return STUDIES / f"{name}.yaml"


def list_studies() -> list[str]:
    """Names of the shipped studies."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def load_study(name: str, seeds: int | None = None, settings: Sequence[str] = ()) -> Study:
    """Load a study from its file; `benchmarks.running.planner` checks what requires `zoo`.

    Args:
        name: See `find_study`.
        seeds: Overrides the number of seeds in the file.
        settings: Settings `dotted.key=value` that override the base in the file.

    Raises:
        StudyError: The file is not valid.
        InputError: There is no such study, or `seeds` or `settings` are invalid.
    """
    path = find_study(name)
    content, source, file_lines = read_yaml(path)
    require(isinstance(content, dict), f"{path} must contain a mapping with the keys {', '.join(NEEDED)}.")
    content.setdefault("name", path.stem)
    if problems := _shape(content):
        raise StudyError(path, problems, file_lines)
    _place_files(content, path.absolute().parent)
    lines: dict[Place, int | str] = {**file_lines}
    for setting in settings:
        key, value = split_setting("--set", setting)
        _lay_over(content, key, value)
        place = ("base", *key.split("."))
        lines = {p: line for p, line in lines.items() if p[: len(place)] != place}
        # The sections that it created come from the option as well.
        lines |= {place[:n]: f"--set {setting}" for n in range(2, len(place) + 1) if place[:n] not in lines}
    if seeds is not None:
        require(seeds >= 1, f"--seeds must be at least 1, got {seeds}.")
        content["seeds"] = seeds
        lines["seeds",] = f"--seeds {seeds}"
    _place_files(content, Path.cwd())  # those of --set
    metric = content.pop("metric")
    metric, mode = (metric["name"], metric["mode"]) if isinstance(metric, dict) else (metric, direction(metric))
    comment = source[: re.match(r"(?:#.*\n|\s*\n)*", source).end()]  # type: ignore[union-attr]  # matches nothing at worst
    study = {"metric": metric, "mode": mode, "comment": comment, "lines": lines, **content}
    if problems := _cells(study):
        raise StudyError(path, problems, lines)
    if problems := _too_large(study):
        raise StudyError(path, problems, lines)
    made = Study(**study)
    names = [variant.name for variant in made.variants]
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise StudyError(path, [(("vary",), f"two variants have the name {twice[0]!r}; rename a label.")], lines)
    if problems := claim_problems(made, find_task(made.task).trains):
        raise StudyError(path, problems, lines)
    return made


def _place_files(content: dict[str, Any], folder: Path) -> None:
    """Make paths of data absolute, in the base and in groups; relative ones count from the study's folder.

    Those that exist only in the current folder are found there, and others below the data root.
    """
    trains = find_task(content.get("task", "fit")).trains

    def place(section: Any, prefix: str) -> None:
        for key in (f"{prefix}{name}" for name in FILES):
            value = section.get(key) if isinstance(section, dict) else None
            if isinstance(value, str) and value and trains:
                section[key] = _placed(value, (folder, Path.cwd()))

    place(content["base"].get("data"), "")
    for axis in content["vary"].values():
        for group in axis.values() if isinstance(axis, dict) else ():
            place(group, "data.")


def _placed(value: str, folders: Sequence[Path]) -> str:
    """The path of a file in the first of some folders that has it; the value itself if there is none."""
    for folder in folders:
        with suppress(OSError, ValueError):  # a name that no file can have
            if (folder / value).exists():
                return os.path.normpath(folder / value)
    return value


def split_setting(option: str, setting: str) -> tuple[str, Any]:
    """Split `dotted.key=value` into the key and the parsed value.

    Raises:
        InputError: The setting does not have this form.
    """
    key, equals, value = setting.partition("=")
    well_formed = equals and re.fullmatch(r"[^.\s]+(\.[^.\s]+)*", key)
    require(bool(well_formed), f"{option} must have the form dotted.key=value, such as model.lr=0.01; got {setting!r}.")
    return key, parse_value(value, key)


def _lay_over(content: dict[str, Any], key: str, value: Any) -> None:
    for varied in (k for axis in _axes(content["vary"]) for k in axis.keys):
        if f"{key}.".startswith(f"{varied}."):
            raise InputError(
                f"--set {key}: the study varies {varied!r}; use --filter {varied}=VALUE to select one of its values."
            )
    require(key not in RESERVED, f"--set {key}: this key cannot be set; use --seeds N to set the number of seeds.")
    try:
        set_dotted(content["base"], key, value)
    except KeyError as error:
        raise InputError(f"--set {key}: {error.args[0]!r} is a plain value in the base, not a section.") from None


def _shape(content: dict[str, Any]) -> list[Problem]:
    """The problems of single entries of a study file."""
    problems: list[Problem] = []

    def check(good: bool, place: Place, sentence: str) -> None:
        if not good:
            problems.append((place, sentence))

    def refuses(place: Place, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except InputError as error:
            problems.append((place, str(error)))

    for key in content:
        refuses((key,), choose, "key of a study", key, KEYS)
    for key in NEEDED:
        check(key in content, (), f"the required key {key!r} is missing.")
    for key in ("base", "vary", "baseline"):
        good = isinstance(content.get(key, {1: 1}), dict) and content.get(key, {1: 1}) != {}
        check(good, (key,), f"{key!r} must be a mapping with at least one entry.")
    if isinstance(content.get("base"), dict):
        for key in RESERVED:
            check(key not in content["base"], ("base", key), f"{key!r} cannot be set in 'base'; remove it.")
    for name, values in content["vary"].items() if isinstance(content.get("vary"), dict) else ():
        problems += _axis(name, values)
    name, seeds, margin = content.get("name", "x"), content.get("seeds", 1), content.get("margin", 1)
    good = isinstance(name, str) and bool(re.fullmatch(r"\w[\w.-]*", name))
    check(
        good,
        ("name",),
        f"'name' must consist of letters, digits, '_', '-' and '.', and not start with '-' or '.'; got {name!r}.",
    )
    check(type(seeds) is int and seeds >= 1, ("seeds",), f"'seeds' must be an integer of at least 1, got {seeds!r}.")
    good = is_number(margin) and margin > 0
    check(
        good, ("margin",), f"'margin', the smallest difference that matters, must be a number above 0, got {margin!r}."
    )
    once = content.get("one_at_a_time", False)
    check(type(once) is bool, ("one_at_a_time",), f"'one_at_a_time' must be true or false, got {once!r}.")
    per = content.get("baseline_per")
    check(per is None or isinstance(per, str), ("baseline_per",), f"'baseline_per' must name an axis, got {per!r}.")
    also = content.get("also", [])
    good = isinstance(also, list) and all(isinstance(metric, str) for metric in also)
    check(good, ("also",), f"'also' must be a list of further metrics, such as [val/accuracy]; got {also!r}.")
    claims = content.get("claims", [])
    check(isinstance(claims, list), ("claims",), f"'claims' must be a list of claims, got {claims!r}.")
    problems += _tune(content.get("tune", {}), content.get("metric", "loss"))
    refuses(("task",), find_task, content.get("task", "fit"))
    problems += _metric(content.get("metric", "loss"), content.get("task", "fit"))
    return problems


def _axis(name: str, values: Any, section: str = "vary") -> list[Problem]:
    if not isinstance(values, list | dict) or not values:
        sentence = (
            f"the axis {name!r} must be a list of values, or a mapping of labels to groups of keys, and not empty."
        )
        return [((section, name), sentence)]
    problems: list[Problem] = []
    if isinstance(values, dict):
        for label, group in values.items():
            if not str(label).strip():
                problems.append(((section, name, label), f"the group {name!r} has an empty label; give it a name."))
            if not isinstance(group, dict):
                sentence = f"{label!r} in the group {name!r} must map dotted keys to values."
                problems.append(((section, name, label), sentence))
        groups = {label: group for label, group in values.items() if isinstance(group, dict)}
        keys: list[tuple[Place, str]] = [((section, name, label), key) for label, g in groups.items() for key in g]
    else:
        keys = [((section, name), name)]
    for place, key in [((section, name), name), *keys]:
        if key in COLUMNS:
            problems.append((place, f"{key!r} is a column of trials.csv; give the axis another name."))
    for place, key in keys:
        if not re.fullmatch(r"[^.\s]+(\.[^.\s]+)*", key):
            problems.append((place, f"an axis must be a dotted key such as model.lr, got {key!r}."))
        if key in RESERVED:
            problems.append((place, f"{key!r} cannot be varied; use 'seeds' to set the number of seeds."))
    seen: set[str] = set()
    shown: set[str] = set()
    for label, value in values.items() if isinstance(values, dict) else enumerate(values):
        if canonical(value) in seen:
            problems.append(((section, name, label), f"the axis {name!r} contains {text(value)!r} twice; remove one."))
        elif isinstance(values, list) and text(value) in shown:
            sentence = (
                f"two values of the axis {name!r} are both shown as {text(value)!r}; use a group with labels instead."
            )
            problems.append(((section, name, label), sentence))
        seen.add(canonical(value))
        shown.add(text(value))
    return problems


def _tune(tune: Any, metric: Any) -> list[Problem]:
    if not isinstance(tune, dict) or not all(isinstance(values, list) for values in tune.values()):
        return [(("tune",), "'tune' must map dotted keys to lists of values, such as model.lr: [0.001, 0.01].")]
    problems = [problem for name, values in tune.items() for problem in _axis(name, values, "tune")]
    for name in tune:
        if name in TABLE_COLUMNS or ("_" in name and "." not in name):
            problems.append((("tune", name), f"{name!r} may be a column of the tables; tune a key with another name."))
    metric = metric.get("name") if isinstance(metric, dict) else metric
    if tune and isinstance(metric, str) and not metric.startswith("test/"):
        sentence = f"'tune' requires a metric of the test split, such as test/accuracy; the metric is {metric!r}."
        problems.append((("tune",), sentence))
    return problems


def _trains(task: Any) -> bool:
    try:
        return find_task(task).trains
    except InputError:
        return False


def _metric(metric: Any, task: Any) -> list[Problem]:
    name, mode = (metric.get("name"), metric.get("mode")) if isinstance(metric, dict) else (metric, None)
    if not isinstance(name, str) or (isinstance(metric, dict) and set(metric) != {"name", "mode"}):
        return [
            (("metric",), "'metric' must name a metric, such as test/accuracy, or be {name: NAME, mode: max or min}.")
        ]
    known = is_known(name)
    if mode is None and not known and not (_trains(task) and has_direction(name)):
        unknown_mode = f"whether {name!r} should be high or low is unknown"
        return [(("metric",), f"{unknown_mode}; write metric: {{name: {name}, mode: max}}, or mode: min.")]
    if mode is not None and mode not in ("max", "min"):
        return [(("metric", "mode"), f"the mode of a metric must be max or min, got {mode!r}.")]
    if mode is not None and known and mode != direction(name):
        return [(("metric", "mode"), f"the mode of {name} must be {direction(name)}, got {mode}.")]
    return []


def _cells(study: dict[str, Any]) -> list[Problem]:
    """The problems of entries that do not fit together."""
    problems: list[Problem] = []
    axes = _axes(study["vary"]) + _axes(study.get("tune", {}), "tune")
    owner: dict[str, str] = {}
    for axis in axes:
        for key in axis.keys:
            if owner.setdefault(key, axis.name) != axis.name:
                sentence = f"{key!r} is varied by both {owner[key]!r} and {axis.name!r}; remove it from one."
                problems.append(((axis.section, axis.name), sentence))
            try:
                set_dotted(_copy(study["base"]), key, None)
            except KeyError as error:
                problems.append(
                    (
                        (axis.section, axis.name),
                        f"{key!r} cannot be varied: {error.args[0]!r} is a plain value in the base, not a section.",
                    )
                )
    for name, grid in study.get("tune", {}).items():
        value = get_dotted(study["base"], name)
        if not any(same(value, other) for other in grid):
            shown = "not set" if value is None else text(value)
            sentence = f"the base must set {name!r} to one of the values listed in 'tune'; it is {shown}."
            problems.append((("tune", name), sentence))
    values = {axis.name: axis.values for axis in axes if axis.section == "vary"}
    for name, value in study["baseline"].items():
        if name not in values:
            problems.append((("baseline", name), str(unknown("axis in the baseline", name, values))))
        elif not any(same(value, other) for other in values[name]):
            shown = str(unknown(f"value of the baseline for {name!r}", text(value), [text(v) for v in values[name]]))
            problems.append((("baseline", name), shown))
    for place, name in enumerate(study.get("also", [])):
        recorded = name in OF_TRAINING and find_task(study.get("task", "fit")).trains
        if (name in COLUMNS and not recorded) or name in owner or name in values:
            problems.append((("also", place), f"{name!r} is already a column of trials.csv; remove it from 'also'."))
    for place, claim in enumerate(study.get("claims", [])):
        name = claim.get("metric") if isinstance(claim, dict) else None
        taken = {*COLUMNS, *owner, *values} - {*OF_TRAINING}
        if isinstance(name, str) and name != study["metric"] and name in taken:
            sentence = f"{name!r} is already a column of trials.csv; let the task return the metric under another name."
            problems.append((("claims", place, "metric"), sentence))
    per = study.get("baseline_per")
    if per is not None and per not in values:
        problems.append((("baseline_per",), str(unknown("axis in 'baseline_per'", str(per), values))))
    elif per is not None and len(values) == 1:
        sentence = f"every variant would be its own baseline, because only {per!r} varies; remove 'baseline_per'."
        problems.append((("baseline_per",), sentence))
    for name in values.keys() - study["baseline"].keys():
        problems.append((("baseline",), f"'baseline' must give a value for {name!r}."))
    return problems


def _too_large(study: dict[str, Any]) -> list[Problem]:
    """The problem of a study with more variants or trials than can be planned, which would take hours or all memory."""
    sizes = [len(values) for values in study["vary"].values()]
    alone = study.get("one_at_a_time", False)
    variants = sum(sizes) - len(sizes) + 1 if alone else math.prod(sizes)
    variants *= math.prod(len(values) for values in study.get("tune", {}).values())
    if variants > MOST_VARIANTS:
        remedy = "list fewer values" if alone else "list fewer values, set one_at_a_time: true"
        sentence = f"the study has {variants:,} variants, but at most {MOST_VARIANTS:,} can be planned; {remedy}, or "
        return [(("vary",), f"{sentence}split it into several studies.")]
    trials = variants * study.get("seeds", DEFAULT_SEEDS)
    if trials > MOST_TRIALS:
        sentence = f"the study has {trials:,} trials, but at most {MOST_TRIALS:,} can be planned; "
        return [(("seeds",), f"{sentence}use at most {MOST_TRIALS // variants:,} seeds.")]
    return []


def _axes(vary: dict[str, Any], section: str = "vary") -> list[Axis]:
    return [Axis.of(name, values, section) for name, values in vary.items()]


def _copy(section: Any) -> Any:
    return {k: _copy(v) for k, v in section.items()} if isinstance(section, dict) else section

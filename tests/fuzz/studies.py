"""Bad configs and studies, and damaged folders of studies that have run."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from .driver import INSTEAD, Input, Prepare, draw_for, put
from .material import BY_GROUP, CONFIG, IMAGE_CONFIG, NOOP, STUDY, TEXT_CONFIG
from .mutations import both, changed, copied, damaged, write
from .values import SNIPPETS

RUN = ["--workers", "1", "--trial-timeout", "5"]


def yaml_inputs(material: Path) -> Iterator[Input]:
    """Configs for `zoo fit` and `zoo doctor`, studies for `bench run`."""
    number = 0
    texts = [(CONFIG, "fit", 80), (TEXT_CONFIG, "fit", 50), (IMAGE_CONFIG, "fit", 50), (CONFIG, "doctor", 20)]
    texts += [(NOOP, "run", 60), (BY_GROUP, "run", 40), (STUDY, "run", 50)]
    for text, kind, amount in texts:
        for _ in range(amount):
            draw = draw_for("yaml", number)
            data, about = _bad_yaml(text, draw)
            argv = ["run", "bad.yaml", *RUN] if kind == "run" else [kind, "--config", "bad.yaml"]
            argv += ["--out", "out"] if kind == "fit" else []
            command = "bench" if kind == "run" else "zoo"
            yield Input(
                f"yaml-{number}", command, argv, copied(material, ["base.csv", "text.csv"], {"bad.yaml": data}), about
            )
            number += 1


def _bad_yaml(text: str, draw: Random) -> tuple[bytes, str]:
    import yaml

    way = draw.random()
    if way < 0.4:
        content, about = changed(yaml.safe_load(text), draw)
        return json.dumps(content, indent=1, ensure_ascii=False).encode(), about
    if way < 0.6:
        snippet, first = draw.choice(SNIPPETS), draw.random() < 0.3
        return (f"{snippet}\n{text}" if first else f"{text}{snippet}\n").encode(), f"with {snippet[:40]!r}"
    if way < 0.7:
        lines = text.splitlines(keepends=True)
        place = draw.randrange(len(lines))
        return "".join([*lines[: place + 1], *lines[place:]]).encode(), f"line {place + 1} twice"
    return damaged(text.encode(), draw)


RECORD_FILES = {
    "runs": (
        *(["result.json"] * 6),
        *("plan.json plan.json study.yaml study.yaml trials.csv summary.json table.csv".split()),
        *(".report .lock config.yaml metrics.csv metrics.csv".split()),
    ),
    "kept": ("records.zip",) * 4 + ("study.yaml", "trials.csv", "summary.json"),
    "old": ("records.jsonl",) * 4 + ("study.yaml",),
}
VERBS = (
    ["report", "{}"],
    *([["compare", "{}", "{}"]] * 4),  # the fastest
    ["verify", "{}", "--trials", "1", "--workers", "1"],
    ["archive", "{}", "out"],
    ["push", "{}"],
)


def record_inputs(material: Path) -> Iterator[Input]:
    """Folders of studies with one damaged file, for all verbs that read them."""
    for number in range(200):
        draw = draw_for("records", number)
        form, study = draw.choice(("runs", "runs", "kept", "old")), draw.choice(("noop", "noop", "study"))
        name, verb = draw.choice(RECORD_FILES[form]), draw.choice(VERBS)
        folder = f"{form}/{study}"
        argv = [word.replace("{}", folder) for word in verb]
        if form == "runs" and draw.random() < 0.2:
            argv = ["run", f"{study}.yaml", *RUN]
        root = material / folder
        if draw.random() < 0.25:
            path = draw.choice([root, *sorted(root.rglob("*"))])
            what = draw.choice(INSTEAD)
            where = f"{folder}/{path.relative_to(root)}"
            change, about = _put(where, what), f"{where} is {what}"
        else:
            file = draw.choice(sorted(root.rglob(name)) or [root / "study.yaml"])
            where = f"{folder}/{file.relative_to(root)}"
            data, about = _bad_record(file, draw)
            change, about = _written(where, data), f"{where}: {about}"
        good = copied(material, [folder, "noop.yaml", "study.yaml"], {})
        yield Input(f"records-{number}", "bench", argv, both(good, change), about)


def _put(where: str, what: str) -> Prepare:
    return lambda folder: put(folder / where, what)


def _written(where: str, data: bytes) -> Prepare:
    return lambda folder: write(folder / where, data)


def _bad_record(file: Path, draw: Random) -> tuple[bytes, str]:
    data = file.read_bytes()
    if draw.random() < 0.3:
        return damaged(data, draw)
    if file.suffix in (".json", ".jsonl"):
        return _bad_json(data, draw)
    return _bad_zip(data, draw) if file.suffix == ".zip" else damaged(data, draw)


def _bad_json(data: bytes, draw: Random) -> tuple[bytes, str]:
    """JSON, or lines of JSON, with a change in one place."""
    try:
        lines = [json.loads(data)]
    except ValueError:
        lines = [json.loads(line) for line in data.splitlines()]
    place = draw.randrange(len(lines))
    if isinstance(lines[place], dict):
        lines[place].pop("checksum", None)  # else nothing in the record is looked at
    lines[place], about = changed(lines[place], draw)
    return "".join(json.dumps(line) + "\n" for line in lines).encode(), f"line {place + 1}, {about}"


def _bad_zip(data: bytes, draw: Random) -> tuple[bytes, str]:
    """An archive in which one entry was changed, with a right checksum."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(entries))
    entries[name], about = (damaged if name.endswith(".npy") else _bad_json)(entries[name], draw)
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return into.getvalue(), f"{name}: {about}"

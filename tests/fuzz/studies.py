"""Bad configs and studies, and damaged folders of studies that have run."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from .driver import INSTEAD, Input, Prepare, draw_for, put
from .material import CONFIG, NOOP, STUDY
from .mutations import both, changed, copied, damaged, write
from .values import SNIPPETS

RUN = ["--workers", "1", "--trial-timeout", "5"]


def yaml_inputs(material: Path) -> Iterator[Input]:
    """Configs for `zoo fit` and `zoo doctor`, studies for `bench run`."""
    number = 0
    for text, kind, amount in ((CONFIG, "fit", 110), (CONFIG, "doctor", 20), (NOOP, "run", 90), (STUDY, "run", 50)):
        for _ in range(amount):
            draw = draw_for("yaml", number)
            data, about = _bad_yaml(text, draw)
            argv = ["run", "bad.yaml", *RUN] if kind == "run" else [kind, "--config", "bad.yaml"]
            argv += ["--out", "out"] if kind == "fit" else []
            command = "bench" if kind == "run" else "zoo"
            yield Input(f"yaml-{number}", command, argv, copied(material, ["base.csv"], {"bad.yaml": data}), about)
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
    ["compare", "{}", "{}"],
    ["compare", "{}", "{}"],
    ["verify", "{}", "--trials", "1", "--workers", "1"],
    ["archive", "{}", "out"],
    ["push", "{}"],
)


def record_inputs(material: Path) -> Iterator[Input]:
    """Folders of studies with one damaged file, for all verbs that read them."""
    for number in range(260):
        draw = draw_for("records", number)
        form, study = draw.choice(("runs", "runs", "kept", "old")), draw.choice(("noop", "noop", "study"))
        name, verb = draw.choice(RECORD_FILES[form]), draw.choice(VERBS)
        folder = f"{form}/{study}"
        argv = [word.replace("{}", folder) for word in verb]
        if form == "runs" and draw.random() < 0.2:
            argv = ["run", f"{study}.yaml", *RUN]
        root = material / folder
        found = sorted(path for path in root.rglob(name)) or [root / "study.yaml"]
        file = draw.choice(found)
        where = f"{folder}/{file.relative_to(root)}"
        change, about = _bad_record(file, where, draw)
        good = copied(material, [folder, "noop.yaml", "study.yaml"], {})
        yield Input(f"records-{number}", "bench", argv, both(good, change), about)


def _bad_record(file: Path, where: str, draw: Random) -> tuple[Prepare, str]:
    way = draw.random()
    if way < 0.15:
        what = draw.choice(INSTEAD)
        return (lambda folder: put(folder / where, what)), f"{where} is {what}"
    data = file.read_bytes()
    if way < 0.7 and file.suffix in (".json", ".jsonl"):
        lines = data.splitlines(keepends=True) if file.suffix == ".jsonl" else [data]
        place = draw.randrange(len(lines))
        content = json.loads(lines[place])
        if isinstance(content, dict):
            content.pop("checksum", None)  # else nothing in the record is looked at
        content, about = changed(content, draw)
        lines[place] = json.dumps(content).encode() + b"\n"
        data = b"".join(lines)
    elif way < 0.7 and file.suffix == ".zip":
        data, about = _bad_zip(data, draw)
    else:
        data, about = damaged(data, draw)
    return (lambda folder: write(folder / where, data)), f"{where}: {about}"


def _bad_zip(data: bytes, draw: Random) -> tuple[bytes, str]:
    """An archive in which one entry was changed, with a right checksum."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(entries))
    try:
        content, about = changed(json.loads(entries[name]), draw)
        entries[name] = json.dumps(content).encode()
    except ValueError:
        entries[name], about = damaged(entries[name], draw)
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return into.getvalue(), f"{name}: {about}"

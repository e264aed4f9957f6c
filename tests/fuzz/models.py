"""Bad checkpoints and tables."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from .driver import Input, Prepare, draw_for, put
from .mutations import both, changed, copied, damaged
from .values import CELLS, TABLES, VALUES


def checkpoint_inputs(material: Path) -> Iterator[Input]:
    """Checkpoints with damaged bytes or with one entry that is not what it should be."""
    import torch

    contents = {kind: torch.load(material / f"{kind}_run/best.ckpt", weights_only=True) for kind in ("csv", "text")}
    values = (
        *(value for value in VALUES if value != "fifo"),
        *(
            float("nan"),
            float("inf"),
            (1, 2),
            {1, 2},
            b"x",
            {1: 2},
            torch.ones(2),
            torch.ones(0),
            torch.tensor(float("nan")),
        ),
        *(
            torch.ones(1).expand(10**9),
            torch.ones(2, 2).to_sparse(),
            torch.float64,
            torch.ones(2).cfloat(),
            "fifo",
            "fifo",
        ),
    )
    for number in range(220):
        draw = draw_for("checkpoints", number)
        kind = draw.choice(("csv", "text"))
        verb = draw.choice(("test", "validate", "predict"))
        if draw.random() < 0.75:
            bad, about = changed(contents[kind], draw, values)

            def write(folder: Path, bad: Any = bad) -> None:
                torch.save(bad, folder / "bad.ckpt")
        else:
            data, about = damaged((material / f"{kind}_run/best.ckpt").read_bytes(), draw)

            def write(folder: Path, data: bytes = data) -> None:
                (folder / "bad.ckpt").write_bytes(data)

        def prepare(folder: Path, write: Prepare = write) -> None:
            write(folder)
            put(folder / "fifo", "fifo")
            put(folder / "folder", "folder")

        argv = [verb, "--ckpt_path", "bad.ckpt"]
        argv += ["--data.path", "base.csv" if kind == "csv" else "text.csv"] if draw.random() < 0.3 else []
        yield Input(
            f"checkpoints-{number}", "zoo", argv, both(copied(material, ["base.csv", "text.csv"], {}), prepare), about
        )


def table_inputs(material: Path) -> Iterator[Input]:
    """CSV, ARFF and text files for training, the doctor and prediction."""
    for number in range(230):
        draw = draw_for("tables", number)
        source = draw.choice(("base.csv", "base.csv", "text.csv", "base.arff"))
        data, about = _bad_table(material / source, draw)
        name = f"bad{Path(source).suffix}"
        kind = "text" if source == "text.csv" else "csv"
        given = ["--data", kind, "--data.path", name, "--data.target", "label"]
        given += ["--data.text", "text"] if kind == "text" else []
        given += ["--data.sep", draw.choice((";", "\\t", "|", "||", ""))] if draw.random() < 0.1 else []
        given += (
            ["--data.missing", draw.choice(("mean", "median", "x"))] if draw.random() < 0.1 and kind == "csv" else []
        )
        fit = ["--model", "mlp", "--model.hidden_dims", "[4]", "--trainer.max_epochs", "1", "--trainer.max_steps", "2"]
        verb = "doctor" if number % 15 == 0 else draw.choice(("fit", "fit", "predict"))
        argv = (
            ["predict", "--ckpt_path", f"{kind}_run", "--data.path", name]
            if verb == "predict"
            else [verb, *fit, *given]
        )
        argv += ["--out", "out"] if verb == "fit" else []
        yield Input(f"tables-{number}", "zoo", argv, copied(material, [f"{kind}_run"], {name: data}), about)


def _bad_table(file: Path, draw: Random) -> tuple[bytes, str]:
    way, text = draw.random(), file.read_text()
    if way < 0.25 and file.suffix == ".csv":
        table = draw.choice(TABLES)
        return table.encode(), f"{table[:60]!r}"
    if way < 0.65:
        lines = text.splitlines()
        place = draw.randrange(len(lines))
        cells = lines[place].split(",")
        column, cell = draw.randrange(len(cells)), draw.choice(CELLS)
        cells[column] = cell
        lines[place] = ",".join(cells)
        if draw.random() < 0.3:  # the whole column
            lines[1:] = [",".join([*c[:column], cell, *c[column + 1 :]]) for c in (x.split(",") for x in lines[1:])]
        return "\n".join(lines).encode(), f"{file.name}: {cell[:40]!r} in line {place + 1}"
    return damaged(text.encode(), draw)

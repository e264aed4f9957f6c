"""Good files, which the inputs damage: tables, a run with its checkpoint, studies that have run, archives."""

import json
import random
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from .driver import commands

FIT = "--model mlp --data iris --model.hidden_dims [4] --trainer.max_epochs 1 --trainer.max_steps 2".split()
CONFIG = """\
seed_everything: 3
model: {name: mlp, hidden_dims: [4, 4], activation: relu, dropout: 0.1, lr: 0.01, weight_decay: 0.0}
data:
  name: csv
  path: base.csv
  target: label
  batch_size: 64
  drop: [c]
trainer: {max_epochs: 1, max_steps: 2, gradient_clip_val: 1.0}
callbacks:
  early_stopping: {patience: 10}
  gradient_flow: null
  dead_units: true
"""
TEXT_CONFIG = """\
model:
  {name: mlp, hidden_dims: [4], norm: [batch], dropout: [0.1], class_weights: [1.0, 2.0], optimizer: sgd, momentum: 0.9}
data: {name: text, path: text.csv, text: text, target: label, vectorizer: tfidf, ngrams: 2, max_features: 20}
trainer: {max_epochs: 1, max_steps: 2, accumulate_grad_batches: 2}
callbacks: {dead_units: true, gradient_flow: true, early_stopping: {monitor: val/accuracy, min_delta: 0.01}}
"""
IMAGE_CONFIG = """\
model: {name: cnn, channels: [2], hidden_dims: [4], kernel_size: 3, pool: max, norm: batch, schedule: cosine, lr: 1e-3}
data: {name: digits, train_size: 100, val_fraction: 0.2, pad: 1, shift: 1, permute_pixels: true, seed: 1}
trainer: {max_epochs: 1, max_steps: 1, max_time: "00:00:00:20", deterministic: true}
callbacks: {rare_class: null, activation_statistics: true, model_checkpoint: {monitor: val/loss}}
"""
NOOP = """\
# Does noise matter?
task: noop
base: {sleep: 0, returns: {value: 1}}
vary:
  noise: [0.01, 0.02]
  kind:
    plain: {raises: null}
    better: {returns: {value: 1.5}}
seeds: 2
baseline: {noise: 0.01, kind: plain}
metric: {name: value, mode: max}
margin: 0.1
claims:
  - {claim: Better is better, source: '7', variant: 'noise=0.01, kind=better', is: better}
"""
STUDY = """\
# Does the activation matter?
base:
  model: {name: mlp, hidden_dims: [4], lr: 0.01}
  data: {name: iris, batch_size: 64}
  trainer: {max_epochs: 2, max_steps: 2}
vary:
  model.activation: [relu, tanh]
tune: {model.lr: [0.01, 0.1]}
seeds: 2
baseline: {model.activation: relu}
metric: test/accuracy
also: [test/loss]
margin: 0.05
"""
BY_GROUP = """\
# Which group is best, for each noise?
name: other
task: noop
one_at_a_time: false
base: {returns: {value: 1, other: 2}, sleep: 0.0}
vary:
  noise: [0.01, 0.02]
  group: {"a b": {raises: null}, b: {returns.value: 2, dies: null}}
seeds: 2
baseline: {noise: 0.01, group: a b}
baseline_per: noise
metric: {name: value, mode: min}
also: [other]
"""


def write_tables(folder: Path) -> None:
    """Write a table of numbers, categories and labels, and one of texts."""
    draw = random.Random(0)
    rows = ["a,b,c,label"]
    words = "good bad fine poor nice ugly warm cold".split()
    texts = ["text,label"]
    for i in range(60):
        a, b = draw.gauss(0, 1), draw.gauss(0, 1)
        label = "yes" if a + b > 0 else "no"
        rows.append(f"{a:.3f},{b:.3f},{i % 3},{label}")
        texts.append(f"{' '.join(draw.choices(words, k=4))},{label}")
    (folder / "base.csv").write_text("\n".join(rows) + "\n")
    (folder / "text.csv").write_text("\n".join(texts) + "\n")
    types = {"a": "numeric", "b": "numeric", "c": "numeric", "label": "{yes,no}"}
    header = ["@relation r", *(f"@attribute {name} {type_}" for name, type_ in types.items()), "@data"]
    (folder / "base.arff").write_text("\n".join([*header, *rows[1:]]) + "\n")


def make_material(folder: Path) -> None:
    """Write everything into a folder; the first trained run also imports what the commands import on demand."""
    with redirect_stdout(StringIO()):
        _make(folder)


def _make(folder: Path) -> None:
    zoo, bench = (commands()[name] for name in ("zoo", "bench"))
    write_tables(folder)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "noop.yaml").write_text(NOOP)
    (folder / "study.yaml").write_text(STUDY)
    out = ["--out", str(folder / "runs")]
    for kind, name in (("csv", "base"), ("text", "text")):
        table = ["--data", kind, "--data.path", str(folder / f"{name}.csv"), "--data.target", "label"]
        table += ["--data.text", "text"] if kind == "text" else []
        assert zoo(["fit", *FIT, *table, "--out", str(folder / f"{kind}_run")]) == 0
    assert zoo(["doctor", *FIT]) in (0, 1)
    for verb in ("test", "validate", "predict"):
        assert zoo([verb, "--ckpt_path", str(folder / "csv_run")]) == 0
    for name in ("noop", "study"):
        assert bench(["run", str(folder / f"{name}.yaml"), "--workers", "1", *out]) == 0
        assert bench(["archive", str(folder / "runs" / name), str(folder / "kept")]) == 0
        _as_old_archive(folder / "runs" / name, folder / "old" / name)


def _as_old_archive(folder: Path, target: Path) -> None:
    """The records in the form of earlier versions: no checksums, one line each."""
    target.mkdir(parents=True)
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("trials/*/result.json"))]
    for record in records:
        record.pop("checksum")
    (target / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    shutil.copy(folder / "study.yaml", target)

"""The speed table, on records made by hand: paired by seed, divided by devices, and never across hardware."""

import io
import json

import pandas as pd
import pytest

from benchmarks.records.record_file import SCHEMA
from benchmarks.records.store import Store
from benchmarks.report import tables
from benchmarks.report.analysis import analyze
from benchmarks.report.speed import hardware
from benchmarks.study.file import load_study
from benchmarks.study.problems import StudyError

STUDY = """# How fast?
base: {data: {name: iris}}
vary:
  trainer:
    one: {trainer.accelerator: cpu, trainer.devices: 1}
    two: {trainer.accelerator: cpu, trainer.devices: 2, trainer.strategy: ddp}
    half: {trainer.accelerator: cpu, trainer.devices: 1, trainer.precision: bf16-mixed}
  model: {small: {model.name: mlp}, large: {model.name: robust_mlp}}
baseline: {trainer: one, model: small}
baseline_per: model
metric: test/accuracy
margin: 0.01
also: [samples_per_second]
seeds: 3
"""
# Samples per second of each variant's seeds on a slow machine; a fast one has ten times as many, of some trials alone.
RATES = {
    "trainer=one, model=small": [100.0, 200.0, 400.0],
    "trainer=one, model=large": [50.0, 50.0, 50.0],
    "trainer=two, model=small": [150.0, 300.0, 560.0],
    "trainer=two, model=large": [80.0, 90.0, 100.0],
    "trainer=half, model=small": [200.0, 200.0, 200.0],
    "trainer=half, model=large": [None, 25.0, 100.0],
}
SLOW = {"cpu": "Slow", "cores": 2, "threads": 1, "gpus": []}
FAST = {"cpu": "Fast", "cores": 16, "threads": 2, "gpus": ["Big", "Big"]}
ON_FAST = {("trainer=one, model=small", 2), ("trainer=two, model=small", 2), ("trainer=two, model=large", 2)}


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("seeds: 3", "name: fast\nseeds: 3"))
    study, lines = load_study(str(path)), []
    for variant in study.variants:
        for seed, rate in enumerate(RATES[variant.name]):
            fast = (variant.name, seed) in ON_FAST
            devices = variant.varied["trainer.devices"]
            metrics = {"test/accuracy": 0.9 + seed / 100, "samples_per_second": rate and rate * (10 if fast else 1)}
            metrics |= {"peak_memory_bytes": 2.0**20, "startup_seconds": 1.0 + seed, "step_seconds": 0.001}
            record = {"schema": SCHEMA, "key": f"{len(lines):016x}", "variant": variant.name, "seed": seed}
            record |= {"status": "done", "reason": "", "metrics": metrics, "started": "2026-01-01T00:00:00"}
            config = {**study.config(variant), "seed_everything": seed}
            lines.append(record | {"config": config, "environment": (FAST if fast else SLOW) | {"world_size": devices}})
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return study, analyze(study, Store(tmp_path))


def test_speed_is_paired_by_seed_and_by_model_on_one_hardware(made):
    table = made[1].speed.set_index(["hardware", "variant"])
    slow = table.loc[hardware({"environment": SLOW})]
    small = slow.loc["trainer=two, model=small"]  # seeds 0 and 1; both are 1.5 times as fast
    assert small[["n", "devices", "samples_per_second", "relative"]].tolist() == [2, 2, 225.0, 1.5]
    assert small[["samples_per_second_min", "samples_per_second_max"]].tolist() == [150.0, 300.0]
    assert small["efficiency"] == 0.75
    large = slow.loc["trainer=two, model=large"]  # against its own baseline: 1.6 and 1.8 times
    assert large[["relative", "relative_min", "relative_max"]].tolist() == pytest.approx([1.7, 1.6, 1.8])
    assert large["efficiency"] == pytest.approx(0.85)
    assert slow.loc["trainer=half, model=small", "relative"] == 1.5  # of 2 and 1
    assert slow.loc["trainer=half, model=large", ["n", "relative"]].tolist() == [2, 1.25]
    assert slow.loc[["trainer=one, model=small", "trainer=half, model=small"], "efficiency"].isna().all()
    assert slow.loc["trainer=one, model=small", "startup_seconds"] == 1.5
    fast = table.loc[hardware({"environment": FAST})]
    assert list(fast.index) == ["trainer=one, model=small", "trainer=two, model=small", "trainer=two, model=large"]
    assert fast.loc["trainer=two, model=small", ["relative", "efficiency"]].tolist() == pytest.approx([1.4, 0.7])
    # Its baseline was measured on the other machine alone.
    assert fast.loc["trainer=two, model=large", ["relative", "efficiency"]].isna().all()


def test_each_hardware_has_a_table_of_its_own(made):
    files = tables(made[1])
    assert len(pd.read_csv(io.StringIO(files["speed.csv"]))) == 9
    text = files["table.md"]
    assert text.count("## Speed on ") == 2
    assert "## Speed on Slow, 2 cores, 1 thread a process, no GPU" in text
    assert "## Speed on Fast, 16 cores, 2 threads a process, 2 × Big" in text
    assert "2 kinds of hardware" in text
    assert "| trainer=two, model=small | 2 | 2 | 225 | 150 to 300 | 1.5 | 1.5 to 1.5 | 0.75 | 1 |" in text
    titles = [grid["title"] for grid in json.loads(files["summary.json"])["tables"]]
    assert sum(title.startswith("Speed on") for title in titles) == 2
    assert r"\caption" in files["table.tex"]


def test_parity_is_the_paired_difference_of_all_but_times(made, tmp_path):
    study, analysis = made
    parity = analysis.parity.set_index("variant")
    assert set(parity["metric"]) == {"test/accuracy"}
    assert parity.loc["trainer=two, model=large", "n_pairs"] == 3  # whatever the hardware
    assert parity["largest"].eq(0).all()
    assert len(parity) == 4
    path = tmp_path / "records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record, less in zip(records, [0] * 6 + [1, 2, 6] + [0] * 9, strict=True):
        record["metrics"]["test/accuracy"] -= less / 100  # of the third variant
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    row = analyze(study, Store(tmp_path)).parity.set_index("variant").loc["trainer=two, model=small"]
    assert row[["delta", "largest"]].tolist() == pytest.approx([-0.03, 0.06])
    half = 4.302653 * 0.0264575 / 3**0.5  # t(.975, 2) sd / √3
    assert row[["delta_ci_low", "delta_ci_high"]].tolist() == pytest.approx([-0.03 - half, -0.03 + half], abs=1e-6)


def test_each_model_has_its_own_baseline(made):
    study, analysis = made
    names = {variant.name: study.baseline_of(variant) for variant in study.variants}
    assert {name for name, base in names.items() if name == base} == set(list(RATES)[:2])
    assert names["trainer=half, model=large"] == "trainer=one, model=large"
    assert (analysis.table["verdict"] == "baseline").sum() == 2
    assert analysis.effects is None
    files = tables(analysis)
    assert "from the baseline with the same model, paired by seed" in files["table.md"]
    assert "variants compared with one with the same model" in files["table.md"]
    assert "baseline_per: model" in study.to_file()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("baseline_per: model", "baseline_per: modle", "model"),
        ("baseline_per: model", "baseline_per: [model]", "must name an axis"),
        (
            "baseline: {trainer: one, model: small}\nbaseline_per: model",
            "baseline: {trainer: one}\nbaseline_per: trainer",
            "its own baseline",
        ),
    ],
)
def test_a_wrong_axis_is_refused(before, after, words, tmp_path):
    text = STUDY.replace(before, after)
    if "baseline: {trainer: one}" in text:
        text = text.replace("  model: {small: {model.name: mlp}, large: {model.name: robust_mlp}}\n", "")
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(StudyError, match=words):
        load_study(str(tmp_path / "wrong.yaml"))


def test_trials_that_measure_time_run_one_at_a_time(tmp_path):
    def measures(text: str) -> bool:
        (tmp_path / "some.yaml").write_text(text)
        return load_study(str(tmp_path / "some.yaml")).measures_time

    assert measures(STUDY)
    plain = STUDY.replace("also: [samples_per_second]\n", "")
    assert not measures(plain)
    assert not measures(plain + "also: [peak_memory_bytes]\n")
    assert measures(plain.replace("base: {", "base: {callbacks: {throughput: true}, "))
    assert not measures(plain.replace("base: {", "base: {callbacks: {throughput: false}, "))
    assert measures(plain.replace("trainer.precision: bf16-mixed", "callbacks.throughput.warmup_epochs: 2"))

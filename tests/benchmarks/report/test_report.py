"""`bench report`: what it rebuilds, what it takes away, what it refuses, what it says that a study cannot show."""

import json
import math
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from benchmarks.cli import main
from benchmarks.report import DERIVED, SOMETIMES

FURTHER = {  # beyond those that each report has
    "nasty": set(),
    "tuned": {"table_tuned.csv", "figure_tuned.png", "figure_tuned.svg", "curves.png", "curves.svg"},
    "grid": {"effects.csv", "main_effects.csv", "heatmap.png", "heatmap.svg"},
    "sets": {"across.csv"},
}


def run(command: str) -> int:
    return main(shlex.split(command))


def derived(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (*DERIVED, *SOMETIMES) if (folder / name).exists()}


@pytest.mark.parametrize("name", FURTHER)
def test_derived_files_are_rebuilt_to_the_byte(name, reported, tmp_path):
    before = derived(reported / name)
    assert set(before) == {*DERIVED, *FURTHER[name]}
    assert all(before.values())
    shutil.copytree(reported / name, tmp_path / name)
    for file in before:
        (tmp_path / name / file).unlink()
    assert run(f"report {tmp_path}/{name}") == 0
    assert derived(tmp_path / name) == before
    assert run(f"archive {tmp_path}/{name} {tmp_path}/kept") == 0
    assert derived(tmp_path / "kept" / name) == before, "an archive says the same"
    for file in before:
        (tmp_path / "kept" / name / file).unlink()
    assert run(f"report {tmp_path}/kept/{name}") == 0
    assert derived(tmp_path / "kept" / name) == before


def test_files_that_a_report_no_longer_has_are_taken_away(reported, tmp_path):
    shutil.copytree(reported / "grid", tmp_path / "runs/grid")
    text = (reported.parent / "grid.yaml").read_text()
    text = text.replace("  sleep: [0.0, 0.001]\n", "").replace(", sleep: 0.0}", "}")
    (tmp_path / "grid.yaml").write_text(text)
    (tmp_path / "runs/grid/notes.csv").write_text("mine\n")
    assert run(f"run {tmp_path}/grid.yaml --out {tmp_path}/runs --workers 1") == 0
    assert set(derived(tmp_path / "runs/grid")) == set(DERIVED)
    assert (tmp_path / "runs/grid/notes.csv").exists()


@pytest.mark.parametrize("name", FURTHER)
def test_a_pipe_gets_each_row_on_one_line(name, reported, capsys):
    assert run(f"report {reported}/{name}") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for table in json.loads((reported / name / "summary.json").read_text())["tables"]:
        for row in [table["header"], *table["rows"]]:
            assert " ".join(" ".join(row).split()) in lines


def test_a_folder_of_studies_gets_an_index(reported, tmp_path, capsys):
    for name in FURTHER:
        assert run(f"archive {reported}/{name} {tmp_path}/results") == 0
    (tmp_path / "results/speed").mkdir()
    (tmp_path / "results/speed/packs.md").write_text("# Packs\n")
    (tmp_path / "results/x](y) z").mkdir()
    (tmp_path / "results/x](y) z/notes.md").write_text("# Notes\n")
    before = {name: derived(tmp_path / "results" / name) for name in FURTHER}
    capsys.readouterr()
    assert run(f"report {tmp_path}/results") == 0
    assert {name: derived(tmp_path / "results" / name) for name in FURTHER} == before
    text = (tmp_path / "results/README.md").read_text()
    rows = {m[1]: m[0] for m in re.finditer(r"^\| \[(\w+)\]\(\1/table\.md\) \|.*\|$", text, re.MULTILINE)}
    assert list(rows) == sorted(FURTHER)
    for name, row in rows.items():
        cells = re.split(r"(?<!\\)\|", row)
        assert len(cells) == 6, row
        summary = json.loads((tmp_path / "results" / name / "summary.json").read_text())
        assert re.sub(r"<(?=/?script)|\|", r"\\\g<0>", summary["finding"]) in "|".join(cells[3:-2])
    assert "33 |" in rows["nasty"]
    assert r"Also here: [speed](speed/), [x\](y) z](x%5D%28y%29%20z/)." in text
    assert "4 studies in" in capsys.readouterr().out


def test_records_of_another_schema_are_refused_and_nothing_is_changed(reported, tmp_path, capsys):
    shutil.copytree(reported / "grid", tmp_path / "grid")
    record = next((tmp_path / "grid/trials").glob("*/result.json"))
    other = {**json.loads(record.read_text()), "schema": 99}
    del other["checksum"]
    record.write_text(json.dumps(other))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(f"report {tmp_path}/grid") == 2
    assert "has schema 99, but this version only reads schema 1" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_is_no_study_is_refused(tmp_path, capsys):
    assert run(f"report {tmp_path}") == 2
    assert f"{tmp_path} is not a study folder" in capsys.readouterr().err
    assert run(f"report {tmp_path}/nowhere") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_margin_of_nothing_is_refused(refused, reported):
    text = (reported.parent / "grid.yaml").read_text()
    assert "must be a number above 0, got 0" in refused(text + "margin: 0\n")


TEN = """# Eleven of them
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary: {noise: [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2]}
baseline: {noise: 0.1}
metric: {name: score, mode: max}
"""


def power(effect: float, n: int, alpha: float) -> float:
    return float(stats.nct.sf(stats.t.isf(alpha / 2, n - 1), n - 1, effect * math.sqrt(n)))


def test_three_seeds_and_ten_comparisons_say_what_they_cannot_show(tmp_path):
    (tmp_path / "ten.yaml").write_text(TEN)
    assert run(f"run {tmp_path}/ten.yaml --out {tmp_path} --seeds 3 --workers 1") == 0
    text = " ".join((tmp_path / "ten/table.md").read_text().split())
    found = re.search(
        r"With 3 seeds and 10 comparisons, 80 % power requires a difference of ([\d.]+) sd of the paired differences: "
        r"([\d.]+) to ([\d.]+) for the inconclusive variants\. "
        r"To detect a difference of one sd requires about (\d+) seeds\.",
        text,
    )
    assert found, text
    times, low, high, seeds = float(found[1]), float(found[2]), float(found[3]), int(found[4])
    assert power(0.95 * times, 3, 0.005) < 0.8 < power(1.05 * times, 3, 0.005)
    trials = pd.read_csv(tmp_path / "ten/trials.csv").pivot(index="seed", columns="noise", values="value")
    sd = trials.drop(columns=0.1).sub(trials[0.1], axis=0).std()
    assert low == pytest.approx(times * sd.min(), rel=0.06)
    assert high == pytest.approx(times * sd.max(), rel=0.06)
    assert power(1.0, seeds - 1, 0.005) < 0.8 <= power(1.0, seeds, 0.005)
    exact = next(n for n in range(1, 50) if 2 / 2**n * 10 <= 0.05)
    assert (
        "The smallest possible exact sign-flip p with 3 pairs is .25; significance at .05 after Holm's correction "
        f"requires {exact} pairs."
    ) in text


def test_one_seed_says_that_it_shows_nothing(tmp_path, capsys):
    (tmp_path / "ten.yaml").write_text(TEN)
    assert run(f"run {tmp_path}/ten.yaml --out {tmp_path} --seeds 1 --workers 1") == 0
    words = "One seed allows neither an interval nor a test, so differences cannot be distinguished from noise."
    assert words in capsys.readouterr().out
    for file in ("table.md", "report.html"):
        assert words in (tmp_path / "ten" / file).read_text()
    table = pd.read_csv(tmp_path / "ten/table.csv")
    assert table["p"].isna().all()
    assert set(table["verdict"]) == {"baseline", "inconclusive"}


def test_a_study_without_a_finished_trial_has_a_report(tmp_path, reported):
    text = (reported.parent / "grid.yaml").read_text().replace("noise: 0.00001}", "noise: 0.1, raises: always}", 1)
    (tmp_path / "grid.yaml").write_text(text)
    assert run(f"run {tmp_path}/grid.yaml --out {tmp_path} --workers 1 --seeds 2") == 1
    assert set(derived(tmp_path / "grid")) == {*DERIVED, *FURTHER["grid"]}
    assert pd.read_csv(tmp_path / "grid/table.csv")["n"].eq(0).all()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_tables_compile_and_fit_a_page(reported, tmp_path):
    inputs = "".join(rf"\input{{{reported / name / 'table.tex'}}}" for name in FURTHER)
    document = (
        rf"\documentclass{{article}}\usepackage[utf8]{{inputenc}}\usepackage{{booktabs}}\begin{{document}}{inputs}"
    )
    (tmp_path / "all.tex").write_text(document + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert not re.findall(r"^!.*|Overfull .*|.*too large for page.*|Missing character.*", log, re.MULTILINE)


def test_a_readme_of_the_users_own_is_not_overwritten(reported, tmp_path, capsys):
    shutil.copytree(reported / "grid", tmp_path / "runs/grid")
    (tmp_path / "runs/README.md").write_text("# My precious notes\n")
    assert main(["report", str(tmp_path / "runs")]) == 2
    assert "was not written by bench" in capsys.readouterr().err
    assert (tmp_path / "runs/README.md").read_text() == "# My precious notes\n"

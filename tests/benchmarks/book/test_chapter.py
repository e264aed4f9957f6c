"""The reading guide says what the results say."""

import re

import pandas as pd
import pytest

from benchmarks.book.chapter import BLOCK, PAGE, RESULTS, fill
from benchmarks.study.file import list_studies, load_study
from datamodules.errors import InputError

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_results_make_of_it():
    assert fill(TEXT, RESULTS) == TEXT


def test_every_study_that_claims_something_is_on_it():
    elsewhere = {"strategies"}  # the chapter speaks of no hardware
    claiming = {name for name in list_studies() if load_study(name).claims} - elsewhere
    assert set(BLOCK.findall(TEXT)) == claiming


def test_a_changed_verdict_changes_the_page(tmp_path):
    folder = tmp_path / "gradient_flow"
    folder.mkdir()
    claims = pd.read_csv(RESULTS / "gradient_flow" / "claims.csv")
    claims.loc[0, "verdict"] = "does not hold"
    claims.to_csv(folder / "claims.csv", index=False)
    page = "<!-- study gradient_flow -->\n<!-- end -->"
    assert fill(page, tmp_path) != fill(page, RESULTS)
    assert f"| {claims.loc[0, 'claim']} | does not hold |" in fill(page, tmp_path)


def test_a_study_without_results_or_unknown_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no claims\.csv; run and archive gradient_flow first"):
        fill("<!-- study gradient_flow -->\n<!-- end -->", tmp_path)
    with pytest.raises(InputError, match="'nothing', which is not shipped"):
        fill("<!-- study nothing -->\n<!-- end -->", tmp_path)


def test_figures_in_what_is_written_by_hand_are_those_of_the_study_above_it():
    """Of a case study's paragraphs: each .123 is a mean, or an effect, of the study whose block stands above."""
    checked = 0
    parts = re.split(r"<!-- study (\w+) -->.*?<!-- end -->", TEXT, flags=re.DOTALL)
    for name, words in zip(parts[1::2], parts[2::2], strict=True):
        told = "\n".join(p for p in words.split("\n\n") if p.startswith("**"))
        table, claims = (pd.read_csv(RESULTS / name / f"{file}.csv") for file in ("table", "claims"))
        means = table.filter(regex="^mean$|_mean$").to_numpy(float).ravel()
        known = {f"{abs(value):.3f}".lstrip("0") for value in [*means, *claims["effect"]]}
        figures = set(re.findall(r"(?<![\d.])\.\d{3}\b", told))
        assert figures <= known, name
        checked += len(figures)
    assert checked >= 10

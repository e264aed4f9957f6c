"""Records under the name of another variant or seed are refused, or run again."""

import json
import shutil
import zipfile
from typing import Any

import pytest

from benchmarks.records.store import Store
from tests.benchmarks.records.damaged import STUDY, old_archive, run, values

# --- under the wrong name ---------------------------------------------------------------------------------------------

VERBS = ["report {0}", "verify {0} --workers 1", "archive {0} {0}/../../out", "compare {0} {1}", "compare {1} {0}"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_plan_with_the_keys_of_two_variants_swapped_is_refused(finished, ab, refuses, verb):
    plan = json.loads((ab / "plan.json").read_text())
    (ab / "plan.json").write_text(json.dumps({"a": plan["b"], "b": plan["a"]}))
    err = refuses(verb.format(ab, finished / "runs/ab"))
    assert "as the trial of 'a', seed 0, but its record has returns {'score': 0.6}; run the study again" in err
    assert plan["b"][0] in err


def test_the_plan_is_put_right_by_running_the_study_again(ab, again, finished):
    before = values(ab)
    plan = json.loads((ab / "plan.json").read_text())
    (ab / "plan.json").write_text(json.dumps({"a": plan["b"], "b": plan["a"]}))
    status, out, _ = again()
    assert (status, "0 trials run" in out) == (0, True)
    assert json.loads((ab / "plan.json").read_text()) == plan
    assert values(ab) == before


def swap_variants(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        line["variant"] = {"a": "b", "b": "a"}[line["variant"]]
    lines.sort(key=lambda line: line["variant"])


def swap_what_varied(lines: list[dict[str, Any]]) -> None:
    swap_variants(lines)
    for line in lines:
        line["varied"] = {"returns": {"score": {"a": 0.5, "b": 0.6}[line["variant"]]}}


def copy_the_best(lines: list[dict[str, Any]]) -> None:
    for line in lines[6:]:
        line["metrics"] = lines[5]["metrics"]
        line["seed"] = 0


def copy_the_best_under_other_seeds(lines: list[dict[str, Any]]) -> None:
    for line in lines[6:]:
        line |= {name: value for name, value in lines[5].items() if name not in ("key", "seed")}


def repeat_a_line(lines: list[dict[str, Any]]) -> None:
    lines[6] = lines[5]


EDITS = [
    (swap_variants, "its record has returns {'score': 0.6}"),
    (swap_what_varied, "its record has returns {'score': 0.6}"),
    (copy_the_best, "line 7 of"),
    (repeat_a_line, "two trials with the same key"),
]
OTHER_SEEDS = (copy_the_best_under_other_seeds, "its seed is 1, but that of its config is 0")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("edit", "words"), [*EDITS, OTHER_SEEDS])
def test_an_archive_whose_records_are_of_other_trials_is_refused(ab, tmp_path, refuses, verb, edit, words, finished):
    (tmp_path / "old").mkdir()
    folder = old_archive(ab, tmp_path / "old/ab", edit)
    assert words in refuses(verb.format(folder, finished / "runs/ab"))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("edit", "words"), EDITS)
def test_a_compact_archive_whose_records_are_of_other_trials_is_refused(finished, tmp_path, refuses, verb, edit, words):
    folder = tmp_path / "kept/ab"
    shutil.copytree(finished / "kept/ab", folder)
    with zipfile.ZipFile(folder / "records.zip") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    lines = [json.loads(line) for line in entries["records.jsonl"].splitlines()]
    edit(lines)
    entries["records.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with zipfile.ZipFile(folder / "records.zip", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    assert words in refuses(verb.format(folder, finished / "runs/ab"))


def test_an_archive_with_its_records_in_order_is_accepted(ab, tmp_path):
    folder = old_archive(ab, tmp_path / "old", lambda lines: None)
    assert run(f"report {folder}") == 0
    assert values(folder) == values(ab)


def test_a_renamed_variant_keeps_its_records(ab, again, capsys):
    study = ab.parents[1] / "ab.yaml"
    study.write_text(STUDY.replace("    a: ", "    c: ").replace("kind: a", "kind: c"))
    status, out, _ = again()
    assert (status, "0 trials run" in out) == (0, True)
    study.write_text(STUDY.replace("    a: ", "    x: ").replace("    b: ", "    a: ").replace("kind: a", "kind: x"))
    status, out, _ = again()
    assert (status, "0 trials run" in out) == (0, True)
    assert values(ab)["x", 0] < values(ab)["a", 0], "labels may change places: the configs tell"
    assert run(f"report {ab}") == 0


def test_a_record_with_the_config_of_another_trial_is_run_again(ab, again):
    before = values(ab)
    plan = Store(ab).plan()
    for source, target in ((plan["b"][0], plan["a"][0]), (plan["b"][1], plan["b"][2])):
        record = {**Store(ab).record(source), "key": target}
        (ab / "trials" / target / "result.json").write_text(json.dumps(record))
    status, out, err = again()
    assert status == 0
    assert "2 trials run" in out
    assert f"{plan['a'][0]} has no readable record: it has the config of another trial" in err
    assert f"{plan['b'][2]} has no readable record: it has the config of another trial" in err
    assert values(ab) == before
    assert (ab / "trials" / plan["a"][0] / "attempts/1/result.json").is_file()

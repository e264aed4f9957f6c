"""The simulation against sums that can be done by hand, and the page of small measurements."""

import json
import shlex
import shutil
import subprocess

import pandas as pd
import pytest

from benchmarks.cli import main as bench
from benchmarks.measure.scaling.__main__ import main
from benchmarks.measure.scaling.simulate import Costs, Server, simulate

STUDY = """\
# Does noise matter?
task: noop
base: {returns: {value: 1}}
vary: {noise: [0.0, 0.5]}
baseline: {noise: 0.0}
metric: {name: value, mode: max}
seeds: 2
"""
FAST = Server("fast", 1e12, 1e12)


def test_without_costs_workers_are_always_busy():
    came = simulate(Costs(0, 0, {}, 0), FAST, workers=10, trials=100, duration=3.0)
    assert came.seconds == pytest.approx(30)
    assert came.workers == pytest.approx(1)
    assert came.bottleneck == "nobody"


def test_a_driver_that_hands_out_each_trial_sets_the_pace():
    # Ten workers need a trial each 0.1 s, and the driver gives one each 0.5 s.
    came = simulate(Costs(0.5, 0, {}, 0), FAST, workers=10, trials=100, duration=1.0)
    assert came.seconds == pytest.approx(50, rel=0.05)
    assert came.bottleneck == "the driver"
    assert came.workers == pytest.approx(0.2, rel=0.1)


def test_a_share_from_the_start_waits_for_no_driver():
    came = simulate(Costs(0.5, 0, {}, 0), FAST, workers=10, trials=10, duration=1.0, batched=True)
    assert came.seconds == pytest.approx(1 + 10 * 0.5)  # all end at once, and the driver reads of one after the other
    assert came.workers == pytest.approx(1 / 6)


def test_a_server_and_its_folder_serve_one_at_a_time():
    costs = Costs(0, 0, operations={"look": 15, "sync": 5}, changes=2)
    slow = simulate(costs, Server("slow", 100, 1e12), workers=10, trials=100, duration=1.0)
    assert slow.seconds == pytest.approx(100 * 20 / 100, rel=0.1)
    assert slow.bottleneck == "the file server"
    one = simulate(costs, Server("one", 1e12, 10), 10, 100, 1.0)
    assert one.seconds == pytest.approx(100 * 2 / 10, rel=0.1)
    assert one.bottleneck == "the folder"
    # It syncs once a second: 5 s a trial, beside which the rest is nothing.
    mixed = simulate(costs, Server("mixed", 1e12, 1e12, {"sync": 1.0}), workers=10, trials=20, duration=1.0)
    assert mixed.seconds == pytest.approx(1 + 20 * 5)


def test_folders_of_several_machines_can_be_put_together(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    for seed in (0, 1):
        command = f"run {tmp_path}/study.yaml --filter seed={seed} --out {tmp_path}/{seed} --workers 1"
        assert bench(shlex.split(command)) == 0
    subprocess.run(shlex.split("cp -rn 1/study/trials/. 0/study/trials/"), cwd=tmp_path, check=True)
    assert bench(["report", str(tmp_path / "0/study")]) == 0
    assert pd.read_csv(tmp_path / "0/study/trials.csv")["status"].tolist() == ["done"] * 4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_page_tells_what_was_measured(tmp_path, capsys):
    small = "--sizes 20 40 --repeats 1 --curve 20 4 2 --workers 10 --trials 200"
    assert main([*small.split(), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "scaling.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    found = json.loads((tmp_path / "scaling.json").read_text())
    worker = found["operations"]["worker"]
    assert worker["change of trials/"] == 2  # it appears, hidden, and gets its name
    assert worker["sync"] == 1
    assert [one["trials"] for one in found["phases"]] == [20, 40]
    assert all(seconds > 0 for one in found["phases"] for seconds in one["cpu"].values())
    assert len(found["simulations"]) == 3 * 2 * 4
    assert all(0 <= row["workers"] <= 1 and row["seconds"] > 0 for row in found["simulations"])
    assert set(found["rates"]) == {"entries", "look", "open", "change", "list", "sync", "list_seconds"}
    assert all(rate > 0 for rates in found["rates"].values() for rate in rates)
    given = "--sizes 20 40 --repeats 1 --curve 20 4 2 --workers 10 --trials 200"
    assert (
        f"Made by `python -m benchmarks.measure.scaling {given}` (operations, phases, journals, rates, curve)." in text
    )
    again = dict(found["phases"][0])
    assert main([*small.split(), "--out", str(tmp_path), "--only", "operations"]) == 0
    assert json.loads((tmp_path / "scaling.json").read_text())["phases"][0] == again

"""The benchmark of the harness still runs; the seconds themselves are not asserted."""

import contextlib
import io
import math
import re
import time

import pytest

from benchmarks.cli import main as bench
from benchmarks.measure import harness_speed

# The rows that it prints for the numbers of trials below, in their order.
ROWS = """\
a noop trial of 40 on 1 worker
a noop trial of 40 on 2 workers
of which the disk: two synced files of 1 kB
`bench run`, 10 trials, all done
`bench run`, 10 variants x 2 seeds, all done
`bench run`, 20 variants x 1 seeds, all done
`bench report`, 10 variants x 2 seeds
`bench report`, archived with curves, 10 variants x 2 seeds
`bench report`, 20 variants x 1 seeds
`bench report`, archived with curves, 20 variants x 1 seeds
expanded and keyed: noop, 200 variants x 1 seeds
expanded and keyed: noop, 200 variants x 1 seeds
expanded and keyed: fit, 100 variants x 2 seeds
""".splitlines()


def in_this_process(*arguments: str) -> harness_speed.Spent:
    """As `harness_speed.process`, without the seconds of imports that each process of its own would take."""
    start, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        if arguments[0] == "-c":
            exec(arguments[1])
        else:
            assert arguments[:2] == ("-m", "benchmarks.cli")
            assert bench(arguments[2:]) == 0
    return harness_speed.Spent(time.perf_counter() - start, time.process_time() - cpu, 1, said.getvalue())


def test_it_prints_the_machine_and_a_row_for_each_measurement(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(harness_speed, "process", in_this_process)
    small = "--trials 40 --records 20 --expand 200 --repeats 1"
    assert harness_speed.main([*small.split(), "--dir", str(tmp_path)]) == 0
    machine, _, header, rule, *rows = capsys.readouterr().out.splitlines()
    assert " cores, " in machine
    assert (header, rule) == ("| what | measured | limit |", "| --- | --: | --: |")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [what for what, *_ in cells] == ROWS
    for what, measured, limit in cells:
        numbers = [float(number) for number in re.findall(r"([\d.e-]+) (?:ms|s|MiB)\b", measured)]
        assert numbers
        assert all(map(math.isfinite, numbers))
        if "noop trial" not in what:  # a difference, which chance may turn round where there are so few trials
            assert min(numbers) > 0
        assert limit or "disk" in what
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


def test_a_process_of_its_own_tells_time_and_memory():
    ballast = b"x" * 300 * 2**20  # what this process holds is not counted
    spent = harness_speed.bench("list")
    assert len(ballast) == 300 * 2**20
    assert spent.seconds > 0
    assert spent.cpu > 0
    assert 5 < spent.mib < 200
    assert "activations" in spent.said
    with pytest.raises(RuntimeError, match="is not a study folder"):
        harness_speed.bench("report", "nowhere")

"""In which order a run lets go of what it holds."""

import shlex

from benchmarks.cli import main
from benchmarks.records.store import Store
from benchmarks.running.engines.local import LocalEngine
from benchmarks.running.job import PackJob
from datamodules.errors import InputError

STUDY = """\
# Does noise matter?
task: noop
base: {returns: {value: 1}}
vary: {noise: [0.0, 0.5]}
baseline: {noise: 0.0}
metric: {name: value, mode: max}
seeds: 1
"""


def test_an_engine_is_stopped_before_another_driver_may_come(tmp_path, monkeypatch, capsys):
    store, free = Store(tmp_path / "runs/study"), []

    class Failing(LocalEngine):
        def run(self, function, jobs, *more):
            if function == PackJob.run:
                raise InputError("the cluster is gone")
            yield from super().run(function, jobs, *more)

        def stop(self):
            try:
                with store.lock():
                    free.append(True)
            except InputError:
                free.append(False)
            super().stop()

    monkeypatch.setattr("benchmarks.run.open_engine", lambda *given: Failing(1, preload=False))
    (tmp_path / "study.yaml").write_text(STUDY)
    assert main(shlex.split(f"run {tmp_path}/study.yaml --out {tmp_path}/runs --workers 1")) == 2
    assert "the cluster is gone" in capsys.readouterr().err
    assert free[0] is False

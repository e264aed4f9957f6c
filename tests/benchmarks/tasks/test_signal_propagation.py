"""The task `signal_propagation`, by the real command."""

import json

import pandas as pd
import pytest

from benchmarks.cli import main
from benchmarks.tasks import find_task
from zoo.outputs.provenance import code_version

STUDY = """\
# Does the signal come through?
task: signal_propagation
base: {width: 8, n_samples: 4, init_scale: 1}
vary: {depth: [1, 3], initializer: [xavier_normal, orthogonal]}
seeds: 2
baseline: {depth: 1, initializer: orthogonal}
metric: {name: signal_change, mode: min}
also: [signal_ratio, singular_value/mean]
claims:
  - {claim: it falls, metric: signal_ratio, falls: depth, scale: log}
"""


def test_a_study_runs_and_verifies(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(STUDY)
    assert main(["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "runs"), "--workers", "1"]) == 0
    trials = pd.read_csv(tmp_path / "runs/s/trials.csv")
    assert trials["status"].tolist() == ["done"] * 8
    assert (trials["signal_ratio"] > 0).all()
    assert (tmp_path / "runs/s/claims.csv").is_file()
    record = json.loads((tmp_path / "runs/s/trials" / trials["key"][4] / "result.json").read_text())
    assert record["config"] == {
        **{"seed_everything": 0, "depth": 3, "width": 8, "activation": "relu", "initializer": "xavier_normal"},
        **{"init_scale": 1.0, "n_samples": 4, "n_jacobians": 1},
    }
    assert record["environment"]["code_version"] == code_version() == find_task("signal_propagation").code_version()
    assert {"signal_ratio/layer_3", "jacobian/mean_singular_value"} <= set(record["metrics"])
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "runs/s"), "--trials", "2", "--workers", "1"]) == 0
    assert "2 of 2 trials agree; 2 of them are bit-identical." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("n_samples: 4", "n_sample: 4", "line 3: unknown key of a signal_propagation trial 'n_sample'"),
        ("depth: [1, 3]", "depth: [1, 0]", "line 4: depth must be a whole number of at least 1, got 0"),
        ("orthogonal]}", "orthogonl, orthogonal]}", "line 4: unknown initializer 'orthogonl'"),
        ("also: [signal_ratio,", "also: [signal_ratio/layer_2,", "line 8: unknown metric 'signal_ratio/layer_2'"),
        ("n_samples: 4", "n_samples: 4, n_jacobians: 0", "line 8: unknown metric 'singular_value/mean'"),
        (
            "{name: signal_change, mode: min}",
            "signal_change",
            "whether 'signal_change' should be high or low is unknown",
        ),
    ],
)
def test_what_is_wrong_is_said_before_the_first_trial(refused, before, after, sentence):
    assert before in STUDY
    assert sentence in refused(STUDY.replace(before, after))

"""Claims in study files: bad ones are refused, and good ones are in every report."""

import shlex

import pandas as pd
import pytest

from benchmarks.cli import main
from benchmarks.study.file import load_study
from benchmarks.tasks.fit_check import check_study

LAYERS = """\
# Does it?
base: {model: {name: mlp}, data: iris, trainer: {max_epochs: 1}, callbacks: {gradient_flow: true}}
vary: {model.hidden_dims: [[4], [4, 4]]}
baseline: {model.hidden_dims: [4]}
metric: test/accuracy
seeds: 2
claims:
  - {claim: it has a third layer, variant: '[4, 4]', metric: init/gradient_norm/layer_3, above: 1e-9}
"""


def test_a_claim_may_be_about_a_layer_that_other_variants_lack(tmp_path):
    def problems(*change: str) -> list[str]:
        (tmp_path / "it.yaml").write_text(LAYERS.replace(*change))
        return [sentence for _, sentence in check_study(load_study(str(tmp_path / "it.yaml"))).problems]

    assert problems("", "") == []
    (sentence,) = problems("layer_3, above: 1e-9", "layer_3, is: better, mode: max")
    assert "unknown metric 'init/gradient_norm/layer_3'" in sentence
    assert "All variants of the claim must have this layer." in sentence
    assert "unknown metric 'init/gradient_norm/layer_4'" in problems("layer_3", "layer_4")[0]
    both = problems("name: mlp", "name: mlp, lr: -1")  # what is wrong elsewhere does not make this wrong, too
    assert len(both) == 1
    assert "model.lr must be positive" in both[0]


TEXT = """\
# Does it?
task: noop
base: {noise: 0.1, returns: {score: 0.5, other: 1.0}}
vary: {sleep: [0.0, 0.001]}
baseline: {sleep: 0.0}
metric: {name: score, mode: max}
margin: 5.0
seeds: 3
claims:
  - {claim: it does nothing, source: here, variant: '0.001', is: equivalent}
"""


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("claim: x, variant: '0.002', is: better", "unknown variant of a claim '0.002'"),
        ("claim: x, variant: '0.001', is: better, against: zero", "unknown variant of a claim 'zero'"),
        ("claim: x, variant: '0.001', is: faster", "unknown relation 'faster'"),
        (
            "claim: x, variant: '0.001'",
            "must have exactly one of the keys is, below, above, rises, falls; this one has none of them",
        ),
        ("claim: x, variant: '0.001', is: better, below: 1", "this one has is, below"),
        ("variant: '0.001', is: better", "its sentence under 'claim'"),
        ("claim: x, varient: '0.001', is: better", "unknown key of a claim 'varient'. Did you mean 'variant'"),
        ("claim: x, variant: '0.0', is: better", "'0.0' is compared with itself"),
        ("claim: x, variant: '0.001', is: better, metric: nothing, mode: max", "unknown metric 'nothing'"),
        ("claim: x, variant: '0.001', is: better, metric: other", "whether 'other' should be high or low is unknown"),
        ("claim: x, variant: '0.001', is: equivalent, metric: other, mode: max", "'is: equivalent' requires a margin"),
        ("claim: x, variant: '0.001', below: small", "a threshold must be a number"),
        ("claim: x, variant: '0.001', below: -1, scale: log", "above 0 on a log scale"),
        ("claim: x, rises: slip", "unknown axis of a trend 'slip'. Did you mean 'sleep'"),
        ("claim: x, rises: sleep, in: {sleeps: 1}", "unknown axis 'sleeps'"),
        ("claim: x, rises: sleep, variant: '0.001'", "'variant' cannot be used in a claim with 'rises'"),
        ("claim: x, variant: '0.001', is: better, metric: diverged, mode: min", "'diverged' requires a threshold"),
        (
            "claim: x, variant: '0.001', metric: epochs_run, below: 9",
            "'epochs_run' is only recorded by the task 'fit'",
        ),
        ("claim: x, variant: '0.001', is: better, gain_over: '0.0'", "'gain_over' must name a second pair of variants"),
        (
            "claim: x, variant: '0.001', is: better, gain_over: {against: '0.0'}",
            "'gain_over' must name a second pair of variants",
        ),
        ("claim: x, variant: '0.001', is: better, gain_over: {variant: '0.002'}", "unknown variant of a claim '0.002'"),
        ("claim: x, variant: '0.001', is: better, gain_over: {variant: '0.001', is: x}", "key of 'gain_over' 'is'"),
        ("claim: x, variant: '0.001', is: better, gain_over: {variant: '0.0'}", "'0.0' is compared with itself"),
        ("claim: x, variant: '0.001', is: better, gain_over: {variant: '0.001'}", "the same pair as that of the claim"),
        ("claim: x, variant: '0.001', below: 1, gain_over: {variant: '0.001'}", "'gain_over' cannot be used"),
        ("claim: x, rises: sleep, gain_over: {variant: '0.001'}", "'gain_over' cannot be used"),
        (
            "claim: x, variant: '0.001', metric: diverged, below: 5",
            "the threshold of 'diverged' must be in [0, 1], got 5",
        ),
        ("claim: x, source: 2010, variant: '0.001', below: 5", "'source' must be text, got 2010"),
        ("claim: x, metric: [a], variant: '0.001', below: 5", "'metric' must be text, got ['a']"),
        ("claim: x, metric: seed, variant: '0.001', below: 5", "'seed' is already a column of trials.csv"),
        ("claim: x, is: better", "needs the key 'variant'; choose from 0.0, 0.001"),
    ],
)
def test_bad_claims_are_refused_before_the_first_trial(refused, entry, sentence):
    said = refused(TEXT + f"  - {{{entry}}}\n")
    assert "line 11: " in said
    assert sentence in said


def test_claims_are_in_every_report_and_gathered(tmp_path, capsys):
    (tmp_path / "it.yaml").write_text(TEXT)
    assert main(shlex.split(f"run {tmp_path}/it.yaml --out {tmp_path}/runs --workers 1")) == 0
    assert "it does nothing" in capsys.readouterr().out
    folder = tmp_path / "runs/it"
    table = pd.read_csv(folder / "claims.csv")
    # Three equal seeds are no proof.
    assert table[["claim", "source", "verdict"]].to_numpy().tolist() == [["it does nothing", "here", "cannot tell"]]
    for name in ("table.md", "report.html", "table.tex"):
        assert "it does nothing" in (folder / name).read_text()
    assert main(["report", "--claims", str(tmp_path / "runs")]) == 0
    page = (tmp_path / "runs/claims.md").read_text()
    assert "| it does nothing | here | cannot tell |" in page
    assert "bench run it" in page
    assert "1 claim in" in capsys.readouterr().out
    assert main(["report", "--claims", str(folder)]) == 2
    assert "no study in" in capsys.readouterr().err
    assert main(["report"]) == 2

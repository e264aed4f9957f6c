"""What several test files of `bench` share."""

import shlex
from pathlib import Path

import pytest

from benchmarks.cli import main


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs a study's text and gives the words that it is refused with."""

    def refused(text: str, options: str = "", file: str = "bad.yaml") -> str:
        (tmp_path / file).write_text(text)
        command = ["run", str(tmp_path / file), "--out", str(tmp_path / "runs"), "--workers", "1"]
        assert main([*command, *shlex.split(options)]) == 2
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "done" not in err + out
        assert not (tmp_path / "runs").exists()
        return err

    return refused


# Names and reasons that some format, or some shell, takes for something else.
NASTY = r"""# Do names with <b>tags</b>, $ and & survive 100 % of _all_ formats?
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary:
  kind:
    plain: {raises: null, dies: null}
    "<script>document.title='pwned'</script> & more": {returns: {score: 0.6}, noise: 0.1001}
    'a|b \ c': {noise: 0.2}
    '$x_1$ 100% {y} ~^ #1 "q" ''s': {returns: {score: 0.65}, noise: 0.25}
    '[64, 64]': {returns: {score: 1.6}, noise: 0.15}
    '* --':  {noise: 0.12}
    '0x10': {noise: 0.3}
    ' # a: b ': {noise: 0.4}
    'é ł → ≥ 😀 Δ “`”': {returns: {score: 0.51}, noise: 0.35}
    '$(touch pwned) `x` *b* _i_': {raises: 'see <img src="http://x.org/a.png"> & | $ _ %'}
    dying: {dies: SIGKILL}
baseline: {kind: plain}
metric: {name: score, mode: max}
seeds: 3
"""
TUNED = """# Which activation, each at its own rate?
base:
  model: {name: mlp, hidden_dims: [8], lr: 0.01}
  data: {name: iris}
  trainer: {max_epochs: 2}
vary: {model.activation: [relu, tanh]}
tune: {model.lr: [0.001, 0.01, 0.1]}
baseline: {model.activation: relu}
metric: test/accuracy
margin: 0.02
also: [test/loss, epochs_run]
seeds: 3
"""
GRID = """# Two axes, and a metric that is better when it is small
task: noop
base: {returns: {score: 0.00005}, noise: 0.00001}
vary:
  noise: [0.00001, 0.00002, 0.00003]
  sleep: [0.0, 0.001]
baseline: {noise: 0.00001, sleep: 0.0}
metric: {name: score, mode: min}
seeds: 4
"""
SETS = """# Three methods on three sets of data
task: toy:score
base: {data: {name: a}, method: x}
vary: {data.name: [a, b, c], method: [x, y, z]}
baseline: {data.name: a, method: x}
metric: {name: score, mode: max}
seeds: 3
"""
TOY = """import random


def score(config, folder):
    draw = random.Random(f"{config['seed_everything']} {config['data']['name']} {config['method']}")
    return {"score": draw.random() + (config["method"] == "y")}
"""


@pytest.fixture(scope="session")
def reported(tmp_path_factory) -> Path:
    """A folder with the folders of four studies that have run: nasty, tuned, grid and sets."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "toy.py").write_text(TOY)
    for name, text, status in (("nasty", NASTY, 1), ("tuned", TUNED, 0), ("grid", GRID, 0), ("sets", SETS, 0)):
        (folder / f"{name}.yaml").write_text(text)
        assert main(["run", str(folder / f"{name}.yaml"), "--out", str(folder / "runs"), "--workers", "2"]) == status
    return folder / "runs"

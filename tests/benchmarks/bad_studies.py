"""What `bench run` lists as wrong with a study."""

NOOP = """\
# Does noise matter?
task: noop
base:
  sleep: 0
  returns: {value: 1}
vary:
  noise:
    - 0.0
    - 0.5
seeds: 2
baseline:
  noise: 0.0
metric: {name: value, mode: max}
"""


FIT = """\
# Does the activation matter?
base:
  model:
    name: mlp
    hidden_dims: [8]
  data:
    name: iris
  trainer:
    max_epochs: 1
vary:
  model.activation:
    - relu
    - tanh
  model.dropout:
    - 0.0
    - 0.1
seeds: 2
baseline: {model.activation: relu, model.dropout: 0.0}
metric: test/accuracy
"""


def problems(err: str) -> list[str]:
    """What is listed as wrong, each with its line."""
    return [line.strip() for line in err.partition("cannot run:\n")[2].splitlines()]


def change(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def assert_listed(err: str, sentences: list[str]) -> None:
    """Each of these and no other is wrong."""
    listed = problems(err)
    assert len(listed) == len(sentences), err
    for line, sentence in zip(listed, sentences, strict=True):
        assert line.startswith(sentence)

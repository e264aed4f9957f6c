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

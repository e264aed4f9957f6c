"""Hundreds of bad inputs for both commands in one process: each is answered with a status and a sentence, in time."""

import pytest

from tests.fuzz.driver import answers
from tests.fuzz.kinds import KINDS, on_an_island
from tests.fuzz.material import make_material

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    with on_an_island(folder):
        (folder / "material").mkdir()
        make_material(folder / "material")
        yield folder / "material"


def test_there_are_enough_inputs_and_they_are_always_the_same(material):
    told = [[str(one) for kind in KINDS.values() for one in kind(material)] for _ in range(2)]
    assert len(set(told[0])) >= 1000
    assert told[0] == told[1]


# As in a terminal, where a warning ends no command; W&B leaves its temporary folders to the garbage collector.
@pytest.mark.filterwarnings("default", "ignore::ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_no_input_ends_in_a_traceback_a_hang_or_another_status(kind, material, tmp_path):
    found = list(answers(KINDS[kind](material), tmp_path))
    wrong = [str(answer) for answer in found if answer.problems]
    again = "\n\nTo run one of them again: python -m tests.fuzz NAME"
    assert not wrong, f"{len(wrong)} of {len(found)} answers are wrong:\n\n" + "\n\n".join(wrong) + again
    refused, accepted = (sum(answer.status == status for answer in found) for status in (2, 0))
    assert min(refused, accepted) > len(found) / 20, "the inputs are all refused at the door, or not bad"

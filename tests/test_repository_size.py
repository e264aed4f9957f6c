"""The repository stays small enough to be copied to another machine in one go."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MIB = 2**20
LIMITS = {"": 50 * MIB, "results/": 26 * MIB}
DERIVED = (".html", ".svg")  # made by `bench report` from what is there


@pytest.fixture(scope="module")
def tracked() -> dict[str, int]:
    """The size in bytes of each file that git tracks and that is there, by its path."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout, so nothing says which files are tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.split("\0") if path and (ROOT / path).is_file()]
    return {path: (ROOT / path).stat().st_size for path in paths}


@pytest.mark.parametrize("folder", LIMITS)
def test_tracked_files_stay_below_their_limit(tracked, folder):
    sizes = {path: size for path, size in tracked.items() if path.startswith(folder)}
    assert len(sizes) > 100
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:10]
    assert sum(sizes.values()) < LIMITS[folder], f"the largest are {largest}"


def test_results_hold_no_reports_that_can_be_made_again(tracked):
    assert [path for path in tracked if path.startswith("results/") and path.endswith(DERIVED)] == []
    records = [path for path in tracked if path.startswith("results/") and Path(path).name.startswith("records.")]
    assert {Path(path).name for path in records} == {"records.zip"}

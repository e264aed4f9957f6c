"""The commands of the page on Weights & Biases run as written: offline first, then what waits is uploaded."""

import glob
import re
import shlex
import subprocess
import sys
from pathlib import Path

import benchmarks.cli
import zoo.cli

PAGE = (Path(__file__).parents[1] / "docs/wandb.md").read_text(encoding="utf-8")
MAINS = {"zoo": zoo.cli.main, "bench": benchmarks.cli.main}
# Each command runs as it stands, with less of it: a later option wins.
SHORTER = {
    "zoo fit": ["--trainer.max_epochs", "1"],
    "bench run": ["--seeds", "1", "--set", "trainer.max_epochs=1", "--filter", "model.lr=0.001"],
}


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in "".join(blocks).splitlines()]


def test_every_command_runs_in_order(tmp_path, monkeypatch, wandb_server, wandb_runs, capfd):
    monkeypatch.chdir(tmp_path)
    key = wandb_server.key
    monkeypatch.delenv("WANDB_API_KEY")
    told = commands()
    assert [command[:2] for command in told].count(["wandb", "sync"]) == 2
    for command in told:
        if command[0] == "wandb":
            continue
        assert MAINS[command[0]](command[1:] + SHORTER.get(" ".join(command[:2]), [])) == 0, command
    assert Path("runs/tensorboard/lightning_logs/version_0").is_dir()
    runs = wandb_runs("runs/activations") | wandb_runs(".")
    jobs = [one.run.job_type for one in runs.values()]
    assert (jobs.count("fit"), jobs.count("comparison"), len(jobs)) == (2, 1, 10 + 1 + 2)
    assert not wandb_server.runs, "all of it was offline"
    monkeypatch.setenv("WANDB_API_KEY", key)
    for command in told:
        if command[0] == "wandb":
            paths = [path for pattern in command[2:] for path in glob.glob(pattern)]  # noqa: PTH207 - as a shell does
            sync = [sys.executable, "-m", *command[:2], "--yes", *paths]
            subprocess.run(sync, check=True, timeout=180, stdout=subprocess.DEVNULL)
    assert wandb_server.runs.keys() == runs.keys()


def test_the_messages_shown_are_those_of_the_code():
    root = Path(__file__).parents[1]
    sources = [*root.glob("zoo/tracking/*.py"), *root.glob("benchmarks/publish/*.py"), root / "benchmarks/cli/verbs.py"]
    # Without what separates the parts of a string that is written on several lines.
    code = re.sub(r'"\s*f?"', "", "".join(path.read_text(encoding="utf-8") for path in sources))
    messages = re.findall(r"^\|[^|`]+\| `([^`]+)` \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert len(messages) == 12
    for message in messages:
        assert message in code, message
    for offline in re.findall(r"`W&B is offline: (?:SERVER )?([^`]+)`", PAGE):
        assert offline in code, offline


def test_the_tables_name_what_is_there():
    """The options, keys and files that the page names are those of the code."""
    from zoo.tracking.options import RUN_OPTIONS

    for name in RUN_OPTIONS:
        assert name == "on" or f"`{name}`" in PAGE
    for name in ("val/confusion_matrix", "val/worst_mistakes", "gradient_norm/by_layer", "wandb/pushed.jsonl"):
        assert f"`{name}`" in PAGE

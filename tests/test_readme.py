"""The README's commands, tables and Python run as written."""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import benchmarks.cli
import zoo.cli
import zoo.config
from zoo.cli.parsing import read_run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = ROOT.parent / "shared" / "data"
MAINS = {"zoo": zoo.cli.main, "bench": benchmarks.cli.main}
# Each command runs as it stands, with less of it: a later option wins.
SHORTER = {"zoo fit": ["--trainer.max_epochs", "1"], "bench run": ["--seeds", "1", "--set", "trainer.max_epochs=1"]}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def needs_more_processes(command: list[str]) -> bool:
    """Whether a command starts a cluster, or Lightning in further processes, which takes a minute or more."""
    return bool({"--engine", "--trainer.devices"} & set(command)) or command[0] == "torchrun"


@pytest.mark.parametrize("alone", [True, pytest.param(False, marks=pytest.mark.slow, id="with clusters")])
def test_every_command_runs_in_order(tmp_path, monkeypatch, no_wandb, alone):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    ray = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)  # names of its sockets must stay short
    monkeypatch.setenv("RAY_TMPDIR", ray.name)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the user's home
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rows = [f"{i % 13},{i % 5},{i % 7 > 3}" for i in range(200)]
    Path("claims.csv").write_text("amount,age,label\n" + "\n".join(rows) + "\n")
    Path("new_claims.csv").write_text("amount,age\n3,4\n")
    letters = [f"letter{i} on {'tax' if i % 3 else 'rent'},{'finance' if i % 3 else 'housing'}" for i in range(90)]
    Path("letters.csv").write_text("body,office\n" + "\n".join(letters) + "\n")
    Path("new_letters.csv").write_text("body\na tax return\n")
    ran = 0
    for line in "\n".join(blocks("sh")).splitlines():
        command = shlex.split(line, comments=True)
        if not command or command[0] in ("make", "export") or (alone and needs_more_processes(command)):
            continue
        if "fashion_mnist" in command:
            if not DATA.is_dir():
                continue
            command += ["--data.root", str(DATA), "--data.train_size", "0.02"]
        command += SHORTER.get(" ".join(command[:2]), [])
        if {"--engine", "--wandb"} & set(command) and command[0] == "bench":
            command += ["--filter", "model.activation=relu"]
        if command[0] == "torchrun":
            launch = [sys.executable, "-m", "torch.distributed.run", *command[1:], "--trainer.max_epochs", "1"]
            subprocess.run(launch, check=True, timeout=300)
        elif "--trainer.devices" in command:  # launches itself again, so it must be a process of its own
            subprocess.run([sys.executable, "-m", "zoo.cli", *command[1:]], check=True, timeout=300)
        else:
            assert MAINS[command[0]](command[1:]) == 0, line
        ran += 1
    assert ran >= 10
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), {})


def test_the_runs_of_the_page_on_strategies_have_options_that_exist():
    """That they train is shown in `tests/zoo/test_two_processes.py`, on one machine that stands for all nodes."""
    text = (ROOT / "docs/strategies.md").read_text(encoding="utf-8").replace("\\\n", " ")
    runs = re.findall(r"(?:zoo|zoo\.cli) (fit .*)", "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)))
    assert len(runs) >= 5
    for run in runs:
        _, config = read_run(shlex.split(run)[1:], "fit")
        assert zoo.config.resolve(config)["trainer"]["accelerator"] in ("cpu", "gpu")


def test_the_study_shown_in_the_benchmarks_readme_runs(tmp_path):
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    (study,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "clipping.yaml").write_text(study)
    command = f"run {tmp_path}/clipping.yaml --out {tmp_path} --set trainer.max_epochs=1 --seeds 1"
    assert benchmarks.cli.main(shlex.split(command)) == 0
    rows = (tmp_path / "clipping/trials.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * 3 * 2 * 3
    assert "optimizer,model.optimizer,model.lr" in rows[0]


def test_the_table_of_defaults_is_what_a_run_has():
    from zoo.config import resolve

    config = resolve({"model": "mlp", "data": "digits"})
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (`[^|]+`) \|$", README, re.MULTILINE)
    assert len(rows) == 10
    for value, options in rows:
        for option in re.findall(r"`([^`]+)`", options):
            found = config
            for part in option.split("."):
                found = found[part]
            assert str(found) == value, option


def test_the_tables_of_activations_are_the_committed_ones():
    text = (ROOT / "results/activations/table.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| variant .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert len(tables) == 2
    assert all(table in README for table in tables)


def test_make_targets_named_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for target in re.findall(
        r"(?:^|`)make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M
    ):
        assert target in targets

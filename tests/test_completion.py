"""What bash completes by the scripts that the commands print."""

import shutil
import subprocess
from collections.abc import Callable

import pytest

import benchmarks.cli
import datamodules
import zoo
import zoo.cli
from benchmarks.study.file import list_studies
from zoo.cli.options import SUMMARIES
from zoo.shipped import shipped_configs

MAINS = {"zoo": zoo.cli.main, "bench": benchmarks.cli.main}
PRESS_TAB = """\
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"_shtab_$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(tmp_path, capsys) -> Callable[[str], set[str]]:
    """Completes the last word of a command line in a real bash, in a folder with a few files."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    for file in ("mine.yaml", "notes.txt", "runs/s/study.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()

    def complete(line: str) -> set[str]:
        words = line.split(" ")
        script = tmp_path.parent / f"{words[0]}.bash"
        if not script.exists():
            assert MAINS[words[0]](["--print-completion", "bash"]) == 0
            script.write_text(capsys.readouterr().out)
            subprocess.run([bash, "-n", script], check=True)
        command = [bash, "--norc", "-c", PRESS_TAB, "complete", script, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return set(done.stdout.split())

    return complete


def test_zoo(complete):
    assert set(SUMMARIES) <= complete("zoo ")
    assert complete("zoo pre") == {"predict"}
    assert complete("zoo fit --model ") == set(zoo.list_models())
    assert complete("zoo fit --model mlp --data dig") == {"digits"}
    assert complete("zoo test --data ") == set(datamodules.list_datamodules())
    assert complete("zoo fit --config ") == {*shipped_configs(), "mine.yaml", "runs"}
    assert complete("zoo fit --model cnn --model.chan") == {"--model.channels"}
    assert complete("zoo fit --data csv --data.targ") == {"--data.target"}
    assert complete("zoo fit --trainer.max_e") == {"--trainer.max_epochs"}
    assert complete("zoo fit --callbacks.early_stopping.p") == {"--callbacks.early_stopping.patience"}
    assert complete("zoo fit --overw") == {"--overwrite"}
    assert complete("zoo doctor --overw") == set()
    assert complete("zoo fit --out ") == {"runs"}
    assert complete("zoo predict --ckpt_path no") == {"notes.txt"}


def test_bench(complete):
    verbs = {"list", "new", "run", "report", "archive", "verify", "push", "compare"}
    assert verbs <= complete("bench ")
    assert complete("bench ver") == {"verify"}
    assert complete("bench run ") == {*list_studies(), "mine.yaml", "runs"}
    assert complete("bench run activations --eng") == {"--engine"}
    assert complete("bench run activations --engine ") == {"local", "ray", "slurm"}
    assert complete("bench run activations --wandb-m") == {"--wandb-mode"}
    assert complete("bench report ") == {"runs"}
    assert complete("bench archive runs/s ") == {"runs"}
    assert complete("bench new mine.yaml --from ") == set(list_studies())


@pytest.mark.parametrize("command", MAINS)
def test_other_shells(command, capsys):
    for shell, sign in (("zsh", f"#compdef {command}"), ("tcsh", f"complete {command} ")):
        assert MAINS[command]([f"--print-completion={shell}"]) == 0
        assert sign in capsys.readouterr().out
    for wrong in (["--print-completion"], ["--print-completion", "cmd"]):
        assert MAINS[command](wrong) == 2
        assert "bash" in capsys.readouterr().err

"""The commands, tables and Python code of the README and of the pages in docs/ run as written."""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

import benchmarks.cli
import zoo.cli
import zoo.config
from benchmarks.study.file import load_study
from zoo.cli.parsing import read_run
from zoo.models.registry import MODELS

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
MAINS = {"zoo": zoo.cli.main, "bench": benchmarks.cli.main}
# Each command runs as it stands, with less of it: a later option wins.
SHORTER = {"zoo fit": ["--trainer.max_epochs", "1"], "bench run": ["--seeds", "1", "--set", "trainer.max_epochs=1"]}
RUN_HERE = ("README.md", "docs/training.md", "docs/data.md", "docs/studies.md", "docs/chapter.md")
CLUSTERS = "docs/engines.md"  # which takes minutes
# By test_wandb_page.py, by other tests of this file, by tests/benchmarks/measure/test_scaling.py.
RUN_ELSEWHERE = ("docs/wandb.md", "docs/strategies.md", "docs/scaling.md")
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", *DOCS]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def shown_output(page: str) -> dict[str, str]:
    """By command, the output that the page shows below it."""
    return dict(re.findall(r"^```sh\n([^\n]*)\n```\n\n```text\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL))


def assert_alike(printed: str, shown: str):
    """The same words and layout; metrics may differ a little from machine to machine, times and epochs freely."""

    def words(text: str) -> str:
        return re.sub(r"\d[\d.,]*", "#", " ".join(text.split()))

    def metrics(text: str) -> list[float]:
        return [float(number) for number in re.findall(r"\b\d\.\d{4}\b", text)]

    assert words(printed) == words(shown)
    assert metrics(printed) == pytest.approx(metrics(shown), abs=0.02)


@pytest.fixture
def folder(tmp_path, monkeypatch, no_wandb):
    """A fresh folder with the files that the commands name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    ray = tempfile.mkdtemp(prefix="ray")  # the names of its sockets must stay short
    monkeypatch.setenv("RAY_TMPDIR", ray)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the user's home
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(MODELS, "_targets", dict(MODELS._targets))  # what an example registers goes with it
    rows = [f"{i % 13},{i % 5},{i % 7 > 3}" for i in range(200)]
    Path("claims.csv").write_text("amount,age,label\n" + "\n".join(rows) + "\n")
    Path("new_claims.csv").write_text("amount,age\n3,4\n")
    letters = [f"letter{i} on {'tax' if i % 3 else 'rent'},{'finance' if i % 3 else 'housing'}" for i in range(90)]
    Path("letters.csv").write_text("body,office\n" + "\n".join(letters) + "\n")
    Path("new_letters.csv").write_text("body\na tax return\n")
    yield tmp_path
    shutil.rmtree(ray, ignore_errors=True)


@pytest.mark.parametrize("page", [*RUN_HERE, pytest.param(CLUSTERS, marks=pytest.mark.slow)])
def test_every_command_runs_in_order(page, folder, capsys):
    shown, checked, ran = shown_output(page), 0, 0
    for line in "\n".join(blocks(page, "sh")).splitlines():
        command = shlex.split(line, comments=True)
        if not command or command[0] in ("make", "export"):
            continue
        if "fashion_mnist" in command:
            if not DATA.is_dir():
                continue
            command += ["--data.root", str(DATA), "--data.train_size", "0.02"]
        if line not in shown:
            command += SHORTER.get(" ".join(command[:2]), [])
        if "--engine" in command:
            command += ["--filter", "model.activation=relu"]
        capsys.readouterr()
        assert MAINS[command[0]](command[1:]) == 0, line
        if line in shown:
            assert_alike(capsys.readouterr().out, shown[line])
            checked += 1
        ran += 1
    assert ran >= 2
    assert checked == len(shown)
    for code in blocks(page, "python"):
        exec(compile(code, page, "exec"), {"__name__": "example"})


def test_every_page_with_commands_is_run_by_a_test():
    assert {page for page in PAGES if blocks(page, "sh")} == {*RUN_HERE, CLUSTERS, *RUN_ELSEWHERE}
    assert shown_output("README.md")


def test_the_runs_of_the_page_on_strategies_have_options_that_exist():
    """That they train is shown in `tests/zoo/test_two_processes.py`, on one machine that stands for all nodes."""
    text = "\n".join(blocks("docs/strategies.md", "sh")).replace("\\\n", " ")
    runs = re.findall(r"(?:zoo|zoo\.cli) (fit .*)", text)
    assert len(runs) >= 5
    for run in runs:
        _, config = read_run(shlex.split(run)[1:], "fit")
        assert zoo.config.resolve(config)["trainer"]["accelerator"] in ("cpu", "gpu")


@pytest.mark.slow  # each starts two processes
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_the_page_on_strategies_starts_two_processes(launcher, folder):
    line = blocks("docs/strategies.md", "sh")[0].splitlines()[launcher == "torchrun"]
    command = shlex.split(line)
    modules = {"zoo": ["zoo.cli"], "torchrun": ["torch.distributed.run"]}  # a process of its own, which starts another
    launch = [sys.executable, "-m", *modules[command[0]], *command[1:], "--trainer.max_epochs", "1"]
    subprocess.run(launch, check=True, timeout=300)


def test_the_study_shown_on_the_page_of_studies_runs(tmp_path):
    (study,) = blocks("docs/studies.md", "yaml")
    (tmp_path / "clipping.yaml").write_text(study)
    command = f"run {tmp_path}/clipping.yaml --out {tmp_path} --set trainer.max_epochs=1 --seeds 1"
    assert benchmarks.cli.main(shlex.split(command)) == 0
    rows = (tmp_path / "clipping/trials.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * 3 * 2 * 3
    assert "optimizer,model.optimizer,model.lr" in rows[0]


def test_the_task_shown_there_returns_what_its_study_compares(tmp_path):
    (code,), (study,) = blocks("docs/studies.md", "python task"), blocks("docs/studies.md", "yaml task")
    (tmp_path / "averages.yaml").write_text(study)
    loaded, space = load_study(str(tmp_path / "averages.yaml")), {}
    exec(compile(code, "mean.py", "exec"), space)
    module, function = loaded.task.split(":")
    assert f"Save this as `{module}.py`" in " ".join(text_of("docs/studies.md").split())
    for samples, largest in ((10, 2), (1000, 0.2)):
        metrics = space[function](loaded.base | {"samples": samples, "seed_everything": 1}, tmp_path)
        assert 0 < metrics[loaded.metric] < largest


def test_the_table_of_defaults_is_what_a_run_has():
    config = zoo.config.resolve({"model": "mlp", "data": "digits"})
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (`[^|]+`) \|$", text_of("docs/training.md"), re.MULTILINE)
    assert len(rows) == 10
    for value, options in rows:
        for option in re.findall(r"`([^`]+)`", options):
            found = config
            for part in option.split("."):
                found = found[part]
            assert str(found) == value, option


def test_the_table_of_activations_is_the_committed_one():
    tables = re.findall(r"^\| variant .*?(?=\n\n)", text_of("results/activations/table.md"), re.MULTILINE | re.DOTALL)
    assert len(tables) == 2
    assert tables[0] in text_of("README.md")
    tuned = pd.read_csv(ROOT / "results/activations/table_tuned.csv").set_index("variant")
    mean = tuned["mean"].map("{:.4f}".format)
    said = (
        f"sigmoid ({mean['sigmoid']}) is equivalent to ReLU ({mean['relu']}), "
        f"and only the net without an activation ({mean['identity']}) is worse"
    )
    assert said in " ".join(text_of("README.md").split())
    assert tuned["verdict"]["sigmoid"] == "equivalent"
    assert tuned.index[tuned["verdict"] == "worse"].tolist() == ["identity"]


def test_the_table_of_images_is_that_of_the_committed_records():
    rows = re.findall(r"^\| (\w+_\w+) \| ([^|]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", text_of("docs/data.md"), re.M)
    assert len(rows) == 9
    for study, variant, n, mean, sd in rows:
        table = pd.read_csv(ROOT / f"results/{study}/table.csv", keep_default_na=False).set_index("variant")
        row = table.loc[variant]
        assert (n, mean, sd) == (str(row["n"]), f"{float(row['mean']):.4f}", f"{float(row['std']):.4f}"), (
            f"docs/data.md: {study}, {variant} is not what results/{study}/table.csv says"
        )


def test_make_targets_named_exist():
    targets = re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text_of("README.md") + text_of("CONTRIBUTING.md"), re.M):
        assert target in targets


def test_the_page_on_security_names_commands_and_options_that_exist():
    page, options = text_of("docs/security.md"), text_of("tests/options.txt").splitlines()
    assert "(security.md)" in text_of("docs/README.md")
    assert "bench verify --allow-code" in options
    assert "| `bench run` is the permission; `bench verify` needs `--allow-code` |" in page
    existing = {word for line in options for word in line.split()} | {"DIR", "CLASS"}
    named = re.findall(r"`((?:zoo|bench|--)[^`]*)`", page)
    assert len(named) >= 10
    for command in named:
        assert set(command.split()) - {"zoo", "bench"} <= existing, command


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?[^)]*\)", text):
        if link.startswith("http"):
            continue
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"

"""The page of a report: what it says, that it needs nothing else, and that a browser shows it as meant."""

import csv
import html
import json
import re
import shlex
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from benchmarks.cli import main
from benchmarks.running.plan import select
from benchmarks.study.file import load_study

NAMES = ("nasty", "tuned", "grid", "sets")
VOID = ("meta", "link", "br", "wbr", "use")


class Page(HTMLParser):
    """Reads tables, ids and references, and holds that what is opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: Counter[str] = Counter()
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.references.append(value)
            assert not name.startswith("on"), "no handler in an attribute"
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "svg" not in self.open and "style" not in self.open and "script" not in self.open:
            self.text += data
        if {"td", "th"} & {*self.open}:
            self.tables[-1][-1][-1] += data


def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Tables of Markdown as text."""
    tables, before = [], ""
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [re.sub(r"\\(.)", r"\1", cell).strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not before.startswith("|"):
                tables.append([])
            if not set("".join(cells)) <= set("-:"):
                tables[-1].append(cells)
        before = line
    return tables


LATEX = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textbar{}": "|"}
LATEX |= {r"\textasciigrave{}": "`", r"\allowbreak{}": "", r"\raggedright ": "", r"\_": "_", r"\{": "{", r"\}": "}"}
LATEX |= {r"\%": "%", r"\#": "#", r"\$": "\0", "$<$": "<", "$>$": ">", "$-$": "-", r"$\Delta$": "Δ", r"\&": "\1"}
LATEX |= {r"$\eta$": "η", r"$\geq$": "≥", r"$\to$": "→", "{[}": "[", "{*}": "*", "-{}-": "--", "U+1F600": "😀"}


def latex_tables(text: str) -> list[list[list[str]]]:
    """Tables of LaTeX as text; one that goes on is one."""
    tables = []
    for part in re.split(r"\\caption\{", text)[1:]:
        lines = re.findall(r"^    (.*) \\\\$", part, re.MULTILINE)
        for code, plain in LATEX.items():
            lines = [line.replace(code, plain) for line in lines]
        rows = [[cell.strip().replace("\0", "$").replace("\1", "&") for cell in line.split("&")] for line in lines]
        if "(continued)" in part.splitlines()[0]:
            tables[-1] += rows[1:]
        else:
            tables.append(rows)
    return tables


def shown(value: str, sign: str = "") -> str:
    """A number of a CSV as tables show it."""
    if value == "":
        return ""
    plain = float(value) == 0 or 5e-5 <= abs(float(value)) < 1e5
    return format(float(value), f"{sign}.4f" if plain else f"{sign}.2e")


@pytest.mark.parametrize("name", NAMES)
def test_tables_say_the_same_in_all_forms(name, reported):
    folder = reported / name
    read = Page(page(folder)).tables
    of_page = [[[" ".join(cell.split()) for cell in row] for row in table] for table in read]
    of_markdown = markdown_tables((folder / "table.md").read_text())
    assert of_page[: len(of_markdown)] == of_markdown
    of_latex = latex_tables((folder / "table.tex").read_text())
    assert len(of_latex) == len(of_markdown)
    for other, table in zip(of_latex, of_markdown, strict=True):
        kept = [table[0].index(head) for head in other[0]]
        assert {"mean", "Δ", "p (Holm)", "verdict"} <= {*other[0]} or "verdict" not in table[0]
        assert other == [[row[place] for place in kept] for row in table]
    for file, table in zip(("table.csv", "table_tuned.csv"), of_page[: 2 if name == "tuned" else 1], strict=False):
        with (folder / file).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert len(rows) == len(table) - 1
        for cells, row in zip(table[1:], rows, strict=True):
            got = dict(zip(table[0], cells, strict=True))
            base = row["verdict"] == "baseline"
            assert got["variant"] == " ".join(row["variant"].split()) + " (baseline)" * base
            assert got["n"] == row["n"]
            assert got.get("failed", "0") == row["n_failed"]
            assert got["mean"] == shown(row["mean"])
            assert got["sd"] == shown(row["std"])
            ends = [shown(row["ci_low"]), shown(row["ci_high"])]
            assert got["95 % interval"] == " to ".join(ends).removeprefix(" to ")
            assert got["Δ"] == shown(row["delta"], "+")
            ends = [shown(row["delta_ci_low"], "+"), shown(row["delta_ci_high"], "+")]
            assert got["95 % interval of Δ"] == " to ".join(ends).removeprefix(" to ")
            assert got["verdict"] == ("" if base else row["verdict"])
            ties = {"": "", "0": "", "1": ", 1 tie"}.get(row["ties"], f", {row['ties']} ties")
            assert got["wins"] == (f"{row['wins']}/{row['n_pairs']}{ties}" if row["n_pairs"] not in ("", "0") else "")
            if got["p (Holm)"].startswith("<"):
                assert float(row["p_holm"]) < 1e-4
            elif row["p_holm"]:
                assert float(got["p (Holm)"]) == pytest.approx(float(row["p_holm"]), rel=0.051)
            else:
                assert got["p (Holm)"] == ""
            for metric in ("test/loss",) if name == "tuned" else ():
                assert got[metric] == shown(row[f"{metric}_mean"])


@pytest.mark.parametrize("name", NAMES)
def test_the_page_needs_nothing_else_and_is_well_formed(name, reported):
    text = page(reported / name)
    read = Page(text)
    assert max(Counter(read.ids).values(), default=1) == 1
    assert all(reference.startswith("data:") or reference[1:] in read.ids for reference in read.references)
    bare = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[\w/]+"', "", text).replace(html.escape("http://x.org/a"), "")
    assert not re.search(r"https?://|@import|url\((?!#)|src=\"(?!http)", bare)
    assert read.tags["script"] == 1
    assert read.tags["img"] == read.tags["b"] == read.tags["iframe"] == 0
    assert {reference[1:] for reference in re.findall(r"url\((#[^)]+)\)", text)} <= {*read.ids}


def test_failures_stand_on_the_page_with_their_reasons(reported):
    table = Page(page(reported / "nasty")).tables[1]
    assert table[0] == ["variant", "seed", "status", "reason"]
    reason = 'RuntimeError: see <img src="http://x.org/a.png"> & | $ _ %'
    raising = [["$(touch pwned) `x` *b* _i_", str(seed), "failed", reason] for seed in range(3)]
    assert table[1:] == raising + [["dying", str(seed), "crashed", "killed by SIGKILL"] for seed in range(3)]


def commands(folder: Path) -> dict[str, list[str]]:
    """What a shell makes of the command that the page gives for each variant."""
    table = next(t for t in Page(page(folder)).tables if t[0][1].startswith("bench run"))
    found = {}
    for name, line in table:
        done = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], cwd=folder, capture_output=True, check=True)
        found[name] = done.stdout.decode().split("\0")[:-1]
        assert found[name] == shlex.split(line)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_command_selects_the_trials_of_its_row(name, reported):
    study = load_study(str(reported / name / "study.yaml"))
    found = commands(reported / name)
    assert list(found) == [variant.name for variant in study.compared]
    for variant in study.compared:
        program, verb, *options = found[variant.name]
        assert (program, verb, options[:3]) == ("bench", "run", ["study.yaml", "--out", "again"])
        selected = select(study, options[4::2])
        own = [v for v in study.variants if selected(type("Trial", (), {"variant": v, "seed": 0}))]
        assert {v.name for v in own} == ({v.name for v in study.tuned(variant)} or {variant.name})
    assert not (reported / name / "pwned").exists()


@pytest.mark.parametrize(("name", "variant"), [("nasty", '$x_1$ 100% {y} ~^ #1 "q" \'s'), ("tuned", "tanh")])
def test_a_command_runs_the_trials_of_its_row_again(name, variant, reported, tmp_path, monkeypatch):
    shutil.copytree(reported / name, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    assert main(commands(reported / name)[variant][1:]) == 0
    trials = pd.read_csv("trials.csv").set_index("key")
    wanted = trials[trials["variant"].isin([variant, f"{variant}, lr=0.001", f"{variant}, lr=0.1"])]
    again = pd.read_csv(f"again/{name}/trials.csv").set_index("key")
    assert {path.name for path in Path(f"again/{name}/trials").iterdir()} == {*wanted.index}
    assert len(wanted) == (9 if name == "tuned" else 3)
    assert again["value"].dropna().to_dict() == wanted["value"].to_dict(), "the same numbers, to the bit"


PROBE = """
window.onload = () => {
  const out = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, of = frame.contentWindow, table = page.querySelector("table.sortable");
    const heads = [...table.querySelectorAll("th")], orders = {};
    for (const name of ["p (Holm)", "mean"]) {
      const column = heads.findIndex(head => head.textContent.trim() === name);
      const button = heads[column].firstElementChild;
      orders[name] = [0, 1].map(() => {
        button.click();
        return [...table.tBodies[0].rows].map(row => row.cells[column].textContent.trim());
      });
    }
    return {width: page.documentElement.scrollWidth, window: of.innerWidth, orders, title: page.title,
      requests: of.performance.getEntriesByType("resource").length};
  });
  document.getElementById("out").textContent = encodeURIComponent(JSON.stringify(out));
};
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("name", NAMES)
def test_a_browser_sorts_the_table_fits_the_page_and_asks_for_nothing(name, reported, tmp_path):
    source = html.escape(page(reported / name))
    frames = "".join(f'<iframe width={width} height=800 srcdoc="{source}"></iframe>' for width in (1280, 400))
    (tmp_path / "probe.html").write_text(f"<!doctype html>{frames}<pre id=out></pre><script>{PROBE}</script>")
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += ["--window-size=1400,900", "--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path}/probe.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="out">([^<]+)</pre>', done.stdout)
    assert found, done.stderr
    for frame, width in zip(json.loads(unquote(found[1])), (1280, 400), strict=True):
        assert frame["window"] == width
        assert frame["width"] <= width
        assert frame["requests"] == 0
        assert frame["title"].startswith(f"{name}: "), "no script of a variant's name has run"
        for column in ("p (Holm)", "mean"):
            up, down = frame["orders"][column]
            filled = [cell for cell in up if cell]
            assert up == filled + [""] * (len(up) - len(filled)), "what is missing comes last"
            assert down == sorted(filled, key=number, reverse=True) + [""] * (len(up) - len(filled))
            assert filled == sorted(filled, key=number)
            if (name, column) == ("nasty", "p (Holm)"):
                assert up[0] == "<.0001", "below all others"
                assert up[1] not in ("", "<.0001")
                assert up[-1] == down[-1] == ""


def number(cell: str) -> float:
    return float(cell.removeprefix("<")) - 1e-9 * cell.startswith("<")

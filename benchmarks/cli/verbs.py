"""The verbs of `bench`, one function each. Imports are lazy, so that help and lists are fast."""

import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from datamodules.errors import InputError, choose, require, unknown
from zoo.cli.process import call, loading, printable, terminated_is_interrupted, versions, waiting
from zoo.option_names import similar, unknown_option
from zoo.outputs.files import write_atomically, write_new
from zoo.tracking.options import study_options

from ..records.agreement import RULE
from ..study.file import STUDIES, list_studies, load_study
from .parser import make_parser, refuse_unknown_options, verb_parsers

# Packages needed for reports that take more than a second to import.
OF_REPORTS = ("pandas", "scipy")
# Verbs that continue when they are run again; the others start over.
GOES_ON = ("run", "push")

if TYPE_CHECKING:
    from ..records.store import Store
    from ..study.study import Study


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 2 for bad input, 1 if a trial failed or crashed, 130 after Ctrl-C, else 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = shlex.join(["bench", *arguments])
    verb, *rest = arguments or ["--help"]
    kept = "finished trials are kept. To continue, run" if verb in GOES_ON else "to start again, run"
    return call(f"bench {verb}" if verb in VERBS else "bench", lambda: _run(verb, rest, command), f"{kept}: {command}")


def _run(verb: str, argv: Sequence[str], command: str) -> int:
    parser = make_parser()
    if verb in ("-h", "--help"):
        parser.print_help()
    elif verb == "--version":
        print(versions("bench"))
    elif verb.startswith("--print-completion"):
        from .completion import bench_script

        print(bench_script(parser, [verb, *argv]))
    elif verb.startswith("-"):
        raise unknown_option(verb, similar(verb, parser._option_string_actions), "bench --help")
    elif verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    else:
        refuse_unknown_options(parser, verb, argv)
        args = verb_parsers(parser)[verb].parse_args(argv)
        args.command = command
        return VERBS[verb](args)
    return 0


def list_verb(args: Namespace) -> int:
    """`bench list`: print the shipped studies with question, number of trials and expected time."""
    names = list_studies()
    width = max(map(len, names))
    for name in names:
        study = load_study(name)
        print(f"{name:{width}} {study.question}")
        print(f"{'':{width}} {len(study.variants) * study.seeds} trials; {study.cost or 'cost not stated'}")
    return 0


def new_verb(args: Namespace) -> int:
    """`bench new`: copy a shipped study to a new file."""
    choose("study", args.source, list_studies())
    require(args.file.endswith((".yaml", ".yml")), f"a study file must end in .yaml; use {args.file}.yaml.")
    text = (STUDIES / f"{args.source}.yaml").read_text(encoding="utf-8")
    try:
        write_new(Path(args.file), text.replace(f"bench run {args.source}", f"bench run {args.file}"))
    except FileExistsError:
        raise InputError(f"{args.file} already exists; choose another name.") from None
    except OSError as error:
        raise InputError(f"cannot write {args.file}: {error.strerror}; choose another folder.") from None
    print(f"{args.file} is a copy of {args.source}. Edit it, then run: bench run {args.file}")
    return 0


def run_verb(args: Namespace) -> int:
    """`bench run`: run pending trials, write the report, print the table."""
    from ..run import run

    return run(args)


def report_verb(args: Namespace) -> int:
    """`bench report`: rebuild the derived files of a study, or of all studies in a folder, from their records."""
    if args.claims:
        return _gather_claims(Path(args.folder or "results"))
    require(args.folder is not None, "a folder is required, such as runs/activations; or use --claims.")
    with loading(*OF_REPORTS):
        from ..report import write_report
        from ..report.index import OPENING, index
        from ..run import finish_report

    folder = Path(args.folder)
    inside = sorted(path.parent for path in folder.glob("*/study.yaml"))
    if (folder / "study.yaml").is_file() or not inside:
        finish_report(*_open(args.folder))
        return 0
    from ..records.store import Store

    readme = folder / "README.md"
    ours = not readme.is_file() or readme.read_text(encoding="utf-8").startswith(OPENING)
    require(ours, f"{readme} was not written by bench and would be overwritten; move it away first.")
    reports = []
    for path in inside:
        study, store = _open(str(path))
        with store.sentences():
            trials, summary = write_report(study, store)
        print(printable(f"{study.name}: {summary['finding']}"), flush=True)
        reports.append((path.name, study, len(trials), summary))
    with Store(folder).sentences():
        write_atomically(readme, index(folder, reports))
    print(f"{len(reports)} stud{'y' if len(reports) == 1 else 'ies'} in {readme}")
    return 0


def _gather_claims(folder: Path) -> int:
    from ..records.store import Store

    with loading(*OF_REPORTS):
        from ..report.analysis import analyze
        from ..report.claims import claims_page
        from ..report.words import many, verdicts

    found = []
    for path in sorted(path.parent for path in folder.glob("*/study.yaml")):
        study, store = _open(str(path))
        if study.claims and (claims := analyze(study, store).claims) is not None:
            found.append((path.name, claims))
    require(bool(found), f"no study in {folder} has claims; choose a folder of studies with claims.")
    text = claims_page(found)
    with Store(folder).sentences():
        write_atomically(folder / "claims.md", text)
    told = [verdict for _, claims in found for verdict in claims["verdict"]]
    print(f"{many(len(told), 'claim')} in {folder / 'claims.md'}: {verdicts(told)}")
    return 0


def archive_verb(args: Namespace) -> int:
    """`bench archive`: write `records.zip` and the derived files."""
    with loading(*OF_REPORTS):
        from .. import report  # noqa: F401 - needed for the output at the end
        from ..records.archive import archive
        from ..run import finish_report

    study, store = _open(args.folder)
    kept = archive(study, store, Path(args.target) / study.name)
    finish_report(study, kept)
    print(f"{len(study.variants) * study.seeds} trials in {kept.folder}")
    return 0


def verify_verb(args: Namespace) -> int:
    """`bench verify`: rerun some trials in a temporary folder; returns 1 if one does not agree with its record."""
    from ..audit.verify import draw, left_out, read_recorded, told, verify
    from ..run import n_workers
    from ..running.engines.local import LocalEngine
    from ..running.planner import make_plan
    from ..tasks import find_task
    from ..tasks.own_code import importable

    require(args.trials >= 1, f"--trials must be at least 1, got {args.trials}.")
    workers = n_workers(args)
    study, store = _open(args.folder)
    task = find_task(study.task)
    require(
        not task.is_own or args.allow_code,
        f"the task {study.task!r} of this study is code of its own, and verifying runs it with your permissions; read "
        "the code, then add --allow-code.",
    )
    # The module of a user's own task is there, or in the working directory.
    folders = [Path(args.folder), Path.cwd()] if task.is_own else []
    recorded = read_recorded(study, store)
    drawn = draw(recorded, args.trials)
    with (
        importable(*folders),
        TemporaryDirectory(prefix="bench-verify-") as folder,
        LocalEngine(workers, preload=task.needs_torch) as engine,
        terminated_is_interrupted(),
    ):
        with waiting("Checking the study"):
            plan = make_plan(study, engine)
        print(f"{study.name}: rerunning {len(drawn)} of {len(recorded)} trials.\n{RULE}", flush=True)
        verdicts = []
        for trial, verdict in verify(plan, recorded, drawn, engine, Path(folder)):
            print(printable(f"{trial}: {verdict.words}"), flush=True)
            verdicts.append(verdict)
    for sentence in told(verdicts, left_out(drawn)):
        print(sentence)
    return 0 if all(verdict.agrees for verdict in verdicts) else 1


def push_verb(args: Namespace) -> int:
    """`bench push`: publish what is not published yet; returns 1 if W&B did not accept all of it."""
    from zoo.tracking.session import Session

    with loading(*OF_REPORTS):
        from ..publish import push, say, tell

    options = study_options(args)
    require(not options.disabled, "$WANDB_MODE is set to disabled; unset it, or use --wandb-mode online or offline.")
    study, store = _open(args.folder)
    with Session(options, say, store.folder) as session:
        done = push(study, store, session)
        tell(study, done, session, args.command)
    return 0 if done.whole else 1


def compare_verb(args: Namespace) -> int:
    """`bench compare`: print the differences between two runs of a study, and their possible cause."""
    with loading(*OF_REPORTS):
        from ..audit.compare import HEADER, pair_up, provenance_rows, variant_rows, was_it_the_code
        from ..report.terminal import print_rows

    (study, store), other = _open(args.a), _open(args.b)
    pairs, alone = pair_up((study, store), other)
    if rows := provenance_rows(pairs):
        print_rows("provenance", ["", f"A: {store.folder}", f"B: {other[1].folder}"], rows)
    else:
        print(f"A: {store.folder}, B: {other[1].folder}. Their provenance does not differ.")
    print_rows(f"{study.name}: {study.metric}", HEADER, variant_rows(pairs))
    if alone:
        print(f"{alone} trial{' is' if alone == 1 else 's are'} recorded in only one of the runs.")
    print(was_it_the_code(pairs))
    return 0


VERBS: dict[str, Callable[[Namespace], int]] = {
    "list": list_verb,
    "new": new_verb,
    "run": run_verb,
    "report": report_verb,
    "archive": archive_verb,
    "verify": verify_verb,
    "push": push_verb,
    "compare": compare_verb,
}


def _open(folder: str) -> "tuple[Study, Store]":
    from ..records.store import Store

    path = Path(folder) / "study.yaml"
    require(
        path.is_file(), f"{folder} is not a study folder: {path} does not exist. Use a folder that `bench run` wrote."
    )
    return load_study(str(path)), Store(Path(folder))

"""The command `bench`: each verb is a function below. Imports are lazy, so that help and lists answer at once."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from datamodules.errors import InputError, choose, require
from zoo.outputs.files import write_atomically
from zoo.tracking.options import add_study_options, study_options

from .records.agreement import RULE
from .running.engines.options import add_engine_options
from .study.file import STUDIES, list_studies, load_study

if TYPE_CHECKING:
    from .records.store import Store
    from .study.study import Study


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 2 for bad input, 1 where a trial failed or crashed, else 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(arguments)
    args.command = shlex.join(["bench", *arguments])
    try:
        return VERBS[args.verb](args)
    except InputError as error:
        print(f"bench {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = f"; what is done is kept. To go on: {args.command}" if args.verb == "run" else "."
        print(f"bench {args.verb}: interrupted{kept}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench", description="Ablation studies over the zoo.", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, what: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)

    verb("list", "the shipped studies: question, trials and expected time")
    new = verb("new", "copy a shipped study into a file of your own, to start from")
    new.add_argument("file", metavar="FILE.yaml", help="the file to write")
    new.add_argument("--from", dest="source", default="activations", metavar="STUDY", help="default: activations")
    run = verb("run", "run a study, or what is not done of it, and print its table")
    run.add_argument("study", help="a shipped study's name, or a YAML file")
    run.add_argument("--out", default="runs", metavar="DIR", help="records go to DIR/STUDY (default: runs)")
    run.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1, in place of the study's own number")
    what = "trials or packs at once (default: one a core; ray: as many as fit; slurm: 16; one where they measure time)"
    run.add_argument("--workers", type=int, metavar="N", help=what)
    what = "change the base config, such as trainer.max_epochs=3; may be given again"
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=what)
    what = (
        "run only trials with this value of a varied key, or of seed; given again, another key narrows, the same widens"
    )
    run.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help=what)
    what = "train trials of one shape together: auto (the default), off, or at most so many"
    run.add_argument("--pack", default="auto", metavar="auto|off|N", help=what)
    run.add_argument("--explain", action="store_true", help="say first what is trained together, and why not the rest")
    what = "end a trial that takes longer, as failed; in a pack, one that does so on average"
    run.add_argument("--trial-timeout", type=float, metavar="SECONDS", help=what)
    run.add_argument("--retry-failed", action="store_true", help="run failed trials again, too")
    add_engine_options(run)
    run.add_argument("--wandb", action="store_true", help="publish the study in Weights & Biases once it has run")
    add_study_options(run)
    report = verb("report", "rebuild tables and figures from the records, and print the table")
    what = "the folder of a study that was run or archived, or one of such folders, which gets a README.md, too"
    report.add_argument("folder", metavar="DIR/STUDY", nargs="?", help=what)
    what = "gather the claims of all studies in a folder (default: results) in its claims.md"
    report.add_argument("--claims", action="store_true", help=what)
    archive = verb("archive", "keep a study's records as one file, with its report")
    archive.add_argument("folder", metavar="DIR/STUDY", help="the folder of a study that was run")
    archive.add_argument("target", metavar="DIR", help="the archive goes to DIR/STUDY, such as results/")
    verify = verb("verify", "re-run some trials of a study, and say whether they come out as recorded")
    verify.epilog = RULE
    verify.add_argument("folder", metavar="DIR/STUDY", help="the folder of a study that was run or archived")
    verify.add_argument("--trials", type=int, default=3, metavar="K", help="how many, drawn at random (default: 3)")
    verify.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one a core)")
    push = verb("push", "publish a study in Weights & Biases: a run a trial, and one that compares them")
    push.add_argument("folder", metavar="DIR/STUDY", help="the folder of a study that was run or archived")
    add_study_options(push)
    compare = verb("compare", "set two runs of one study side by side, and say whether the code made the difference")
    compare.add_argument("a", metavar="A", help="the folder of a study that was run or archived")
    compare.add_argument("b", metavar="B", help="another")
    return parser


def list_verb(args: argparse.Namespace) -> int:
    """`bench list`: print the shipped studies with question, number of trials and expected time."""
    names = list_studies()
    width = max(map(len, names))
    for name in names:
        study = load_study(name)
        print(f"{name:{width}} {study.question}")
        print(f"{'':{width}} {len(study.variants) * study.seeds} trials; {study.cost or 'cost not stated'}")
    return 0


def new_verb(args: argparse.Namespace) -> int:
    """`bench new`: copy a shipped study into the user's own file."""
    choose("study", args.source, list_studies())
    require(args.file.endswith((".yaml", ".yml")), f"a study is a YAML file; call it {args.file}.yaml.")
    text = (STUDIES / f"{args.source}.yaml").read_text(encoding="utf-8")
    try:
        with Path(args.file).open("x", encoding="utf-8") as file:
            file.write(text.replace(f"bench run {args.source}", f"bench run {args.file}"))
    except FileExistsError:
        raise InputError(f"{args.file} exists; choose another name.") from None
    except OSError as error:
        raise InputError(f"cannot write {args.file}: {error.strerror}.") from None
    print(f"{args.file} is a copy of {args.source}. Change it, then: bench run {args.file}")
    return 0


def run_verb(args: argparse.Namespace) -> int:
    """`bench run`: run what is not done yet, write the report, print the table."""
    from .run import run

    return run(args)


def report_verb(args: argparse.Namespace) -> int:
    """`bench report`: rebuild the derived files of a study, or of all studies in a folder, from their records."""
    if args.claims:
        return _gather_claims(Path(args.folder or "results"))
    require(args.folder is not None, "give the folder of a study, or of several.")
    from .run import finish_report

    folder = Path(args.folder)
    inside = sorted(path.parent for path in folder.glob("*/study.yaml"))
    if (folder / "study.yaml").is_file() or not inside:
        finish_report(*_open(args.folder))
        return 0
    from .records.store import Store
    from .report import write_report
    from .report.index import OPENING, index

    readme = folder / "README.md"
    ours = not readme.is_file() or readme.read_text(encoding="utf-8").startswith(OPENING)
    require(ours, f"{readme} is not of bench's making, and would be overwritten; move it away first.")
    reports = []
    for path in inside:
        study, store = _open(str(path))
        with store.sentences():
            trials, summary = write_report(study, store)
        print(f"{study.name}: {summary['finding']}", flush=True)
        reports.append((path.name, study, len(trials), summary))
    with Store(folder).sentences():
        write_atomically(readme, index(folder, reports))
    print(f"{len(reports)} stud{'y' if len(reports) == 1 else 'ies'} in {readme}")
    return 0


def _gather_claims(folder: Path) -> int:
    from .records.store import Store
    from .report.analysis import analyze
    from .report.claims import claims_page
    from .report.words import many, verdicts

    found = []
    for path in sorted(path.parent for path in folder.glob("*/study.yaml")):
        study, store = _open(str(path))
        if study.claims and (claims := analyze(study, store).claims) is not None:
            found.append((path.name, claims))
    require(bool(found), f"no study in {folder} makes claims; give a folder of studies that do.")
    text = claims_page(found)
    with Store(folder).sentences():
        write_atomically(folder / "claims.md", text)
    told = [verdict for _, claims in found for verdict in claims["verdict"]]
    print(f"{many(len(told), 'claim')} in {folder / 'claims.md'}: {verdicts(told)}")
    return 0


def archive_verb(args: argparse.Namespace) -> int:
    """`bench archive`: write `records.zip` and the derived files."""
    from .records.archive import archive
    from .run import finish_report

    study, store = _open(args.folder)
    kept = archive(study, store, Path(args.target) / study.name)
    finish_report(study, kept)
    print(f"{len(study.variants) * study.seeds} trials in {kept.folder}")
    return 0


def verify_verb(args: argparse.Namespace) -> int:
    """`bench verify`: re-run some trials in a folder of their own; 1 if one does not agree with its record."""
    from .audit.verify import draw, left_out, read_recorded, told, verify
    from .run import n_workers, terminated_is_interrupted
    from .running.engines.local import LocalEngine
    from .running.planner import make_plan

    require(args.trials >= 1, f"--trials must be at least 1, got {args.trials}.")
    workers = n_workers(args)
    study, store = _open(args.folder)
    if ":" in study.task:  # one of the user's own lies there, or where the command is given
        sys.path[:0] = [str(Path(args.folder).resolve()), str(Path.cwd())]
    recorded = read_recorded(study, store)
    drawn = draw(recorded, args.trials)
    with (
        TemporaryDirectory(prefix="bench-verify-") as folder,
        LocalEngine(workers, preload=study.task != "noop") as engine,
        terminated_is_interrupted(),
    ):
        plan = make_plan(study, engine)
        print(f"{study.name}: {len(drawn)} of {len(recorded)} trials are run again.\n{RULE}", flush=True)
        verdicts = []
        for trial, verdict in verify(plan, recorded, drawn, engine, Path(folder)):
            print(f"{trial}: {verdict.words}", flush=True)
            verdicts.append(verdict)
    for sentence in told(verdicts, left_out(drawn)):
        print(sentence)
    return 0 if all(verdict.agrees for verdict in verdicts) else 1


def push_verb(args: argparse.Namespace) -> int:
    """`bench push`: publish what is not published yet; 1 where W&B did not take all of it."""
    from zoo.tracking.session import Session

    from .publish import push, say, tell

    options = study_options(args)
    require(not options.disabled, "$WANDB_MODE is disabled; unset it, or say --wandb-mode online or offline.")
    study, store = _open(args.folder)
    with Session(options, say, store.folder) as session:
        done = push(study, store, session)
        tell(study, done, session, args.command)
    return 0 if done.whole else 1


def compare_verb(args: argparse.Namespace) -> int:
    """`bench compare`: what differs between two runs of a study, and what it may have been."""
    from .audit.compare import HEADER, pair_up, provenance_rows, variant_rows, was_it_the_code
    from .report.terminal import print_rows

    (study, store), other = _open(args.a), _open(args.b)
    pairs, alone = pair_up((study, store), other)
    if rows := provenance_rows(pairs):
        print_rows("where they were made", ["", f"A: {store.folder}", f"B: {other[1].folder}"], rows)
    else:
        print(f"A: {store.folder}, B: {other[1].folder}. Nothing differs in where they were made.")
    print_rows(f"{study.name}: {study.metric}", HEADER, variant_rows(pairs))
    if alone:
        print(f"{alone} trials are recorded in only one of them.")
    print(was_it_the_code(pairs))
    return 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
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
    from .records.store import Store

    path = Path(folder) / "study.yaml"
    require(path.is_file(), f"{folder} holds no study: there is no {path}. Give the folder that `bench run` wrote.")
    return load_study(str(path)), Store(Path(folder))


if __name__ == "__main__":
    sys.exit(main())

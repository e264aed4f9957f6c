"""The options of each verb of `bench`, declared once. Imports nothing slow."""

import argparse
import shlex
from collections.abc import Sequence
from typing import NoReturn

from datamodules.errors import InputError
from zoo.option_names import COMMON_KEYS, same, similar, unknown_option
from zoo.tracking.options import add_study_options

from ..records.agreement import RULE
from ..running.engines.options import add_engine_options

OPTION, SHELLS = "--print-completion", ("bash", "zsh", "tcsh")
EPILOG = """\
bench run activations        run a shipped study and print its table
bench VERB --help            show the options of a verb
bench --print-completion bash > ~/.local/share/bash-completion/completions/bench
                             enable completion in new bash sessions
"""


class Parser(argparse.ArgumentParser):
    """A parser that raises `InputError` where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as an error.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{message.removeprefix('argument ')}. All options: {self.prog} --help")


def make_parser() -> Parser:
    """The parser of `bench`, with one for each verb."""
    parser = Parser(
        "bench",
        usage="bench VERB [options]",
        description="Run ablation studies, report their results and verify them.",
        allow_abbrev=False,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print versions, for bug reports")
    parser.add_argument(
        OPTION,
        choices=SHELLS,
        metavar="|".join(SHELLS),
        help="print a completion script for your shell, for verbs, options, studies and folders",
    )
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True, prog="bench")

    def verb(name: str, what: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)

    verb("list", "list the shipped studies with question, number of trials and expected time")
    new = verb("new", "copy a shipped study into a new file, as a starting point")
    new.add_argument("file", metavar="FILE.yaml", help="file to write")
    new.add_argument(
        "--from", dest="source", default="activations", metavar="STUDY", help="study to copy (default: activations)"
    )
    run = verb("run", "run the trials of a study that are not done yet, and print its table")
    run.add_argument("study", help="name of a shipped study, or a YAML file")
    run.add_argument("--out", default="runs", metavar="DIR", help="write records to DIR/STUDY (default: runs)")
    run.add_argument("--seeds", type=int, metavar="N", help="use seeds 0 to N-1 instead of the study's own number")
    what = "trials or packs that run at once (default: one per core; ray: as many as fit; slurm: 16; 1 to measure time)"
    run.add_argument("--workers", type=int, metavar="N", help=what)
    what = "change the base config, such as trainer.max_epochs=3; can be repeated"
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=what)
    what = (
        "run only trials with this value of a varied key or seed; can be repeated: values of one key are alternatives, "
        "different keys must all match"
    )
    run.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help=what)
    what = "train trials whose nets have the same shapes together: auto (default), off, or the maximum number per pack"
    run.add_argument("--pack", default="auto", metavar="auto|off|N", help=what)
    run.add_argument(
        "--explain", action="store_true", help="print which trials are trained together, and why others are not"
    )
    what = "stop trials that take longer and count them as failed; for a pack, the limit is per trial on average"
    run.add_argument("--trial-timeout", type=float, metavar="SECONDS", help=what)
    run.add_argument("--retry-failed", action="store_true", help="also run failed trials again")
    add_engine_options(run)
    run.add_argument("--wandb", action="store_true", help="publish the study to Weights & Biases after it has run")
    add_study_options(run)
    report = verb("report", "rebuild tables and figures from the records, and print the table")
    what = "folder of a study that was run or archived, or a folder of such folders, which also gets a README.md"
    report.add_argument("folder", metavar="DIR/STUDY", nargs="?", help=what)
    what = "collect the claims of all studies in a folder (default: results) into its claims.md"
    report.add_argument("--claims", action="store_true", help=what)
    archive = verb("archive", "pack a study's records into a few files, with its report")
    archive.add_argument("folder", metavar="DIR/STUDY", help="folder of a study that was run")
    archive.add_argument("target", metavar="DIR", help="write the archive to DIR/STUDY, such as results/")
    verify = verb("verify", "rerun some trials of a study and compare them with their records")
    verify.epilog = RULE
    verify.add_argument("folder", metavar="DIR/STUDY", help="folder of a study that was run or archived")
    verify.add_argument(
        "--trials", type=int, default=3, metavar="K", help="number of trials, drawn at random (default: 3)"
    )
    verify.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one per core)")
    what = "run the code of a study with a task of its own, module:function; read it first"
    verify.add_argument("--allow-code", action="store_true", help=what)
    push = verb("push", "publish a study to Weights & Biases: one run per trial, and one that compares them")
    push.add_argument("folder", metavar="DIR/STUDY", help="folder of a study that was run or archived")
    add_study_options(push)
    compare = verb("compare", "compare two runs of one study, and report whether the code caused the differences")
    compare.add_argument("a", metavar="A", help="folder of a study that was run or archived")
    compare.add_argument("b", metavar="B", help="folder of another run of the study")
    return parser


def refuse_unknown_options(parser: Parser, verb: str, argv: Sequence[str]) -> None:
    """Raise an error for an option that the verb does not have, with a suggestion.

    For keys of a config, such as `--model.lr 0.1`, the suggestion is `bench run --set model.lr=0.1`.

    Raises:
        InputError: There is such an option; the message names it.
    """
    known = [option for option in verb_parsers(parser)[verb]._option_string_actions if option.startswith("--")]
    for place, argument in enumerate(argv):
        option, equals, value = argument.partition("=")
        if argument == "--":
            return
        if not option.startswith("--") or option in known:
            continue
        meant = same(option, known)
        if meant is None and verb == "run" and (key := _config_key(option, known)):
            following = argv[place + 1] if argv[place + 1 :] and not argv[place + 1].startswith("--") else "VALUE"
            meant = f"--set {key}={shlex.quote(value if equals else following)}"
        raise unknown_option(option, meant or similar(option, known), f"bench {verb} --help")


def _config_key(option: str, known: Sequence[str]) -> str | None:
    """The key of a config that an option of `zoo fit` sets."""
    if key := same(option, COMMON_KEYS):
        return key
    if option.startswith(tuple(f"--{section}." for section in ("model", "data", "trainer", "callbacks"))):
        return similar(option, COMMON_KEYS) or option.removeprefix("--")
    return None if similar(option, known) else similar(option, COMMON_KEYS)


def verb_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb."""
    return next(dict(action.choices) for action in parser._actions if isinstance(action, argparse._SubParsersAction))

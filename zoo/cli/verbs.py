"""The verbs of `zoo`, one function each. Imports are lazy, so that help and lists are fast."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import unknown

from ..option_names import similar, unknown_option
from .options import USAGE, VerbParser
from .parsing import read_evaluation, read_run
from .process import INTERRUPTED, call, loading, versions

TOP_OPTIONS = ("--help", "--version", "--print-completion")  # instead of a verb

if TYPE_CHECKING:
    from ..outputs.result import Result
    from ..plain import ResolvedConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 2 for invalid input, 1 for a run that diverged, 130 after Ctrl-C, else 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb, *rest = arguments or ["--help"]
    again = f"to start again: {shlex.join(['zoo', *arguments])}"
    return call(f"zoo {verb}" if verb in VERBS else "zoo", lambda: _run(verb, rest), again)


def _run(verb: str, argv: Sequence[str]) -> int:
    if verb in ("-h", "--help"):
        print(USAGE, end="")
    elif verb == "--version":
        print(versions("zoo"))
    elif verb.startswith("--print-completion"):
        return _print_completion([verb, *argv])
    elif verb.startswith("-"):
        raise unknown_option(verb, similar(verb, TOP_OPTIONS), "zoo --help")
    elif verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    else:
        return VERBS[verb](argv)
    return 0


def fit(argv: Sequence[str]) -> int:
    """`zoo fit`: see `zoo.train.fit`."""
    args, config = read_run(argv, "fit")

    with loading("torch", "lightning"):
        from ..config import resolve
        from ..runfolder import run_into
        from ..tracking.watchers import watchers_of
        from ..train import run as train

    into: list[Path] = []

    def run(complete: "ResolvedConfig", folder: Path) -> "Result":
        into.append(folder)
        with watchers_of(args, _say) as watchers:
            return train(complete, folder, progress=_on_terminal(), watchers=watchers)

    try:
        result, out = run_into(args.out, args.overwrite, resolve(config), run)
    except (KeyboardInterrupt, SystemExit):  # Lightning converts KeyboardInterrupt to SystemExit
        _say_what_is_left(argv, into, args.overwrite)
        return INTERRUPTED
    if result is None:  # only the first rank prints
        return 0
    if result.status == "diverged":
        print(f"zoo fit: diverged: {result.reason}. Try a lower --model.lr or gradient clipping.", file=sys.stderr)
        return 1
    from .tables import print_metrics

    best = "no epoch was validated; last weights" if result.best_epoch is None else f"best epoch {result.best_epoch}"
    print_metrics(result.metrics, f"{best} of {result.epochs_run}")
    print(f"{result.n_parameters:,} parameters, trained in {result.train_seconds:.1f} s; results in {out}")
    return 0


def doctor(argv: Sequence[str]) -> int:
    """`zoo doctor`: check what `zoo fit` would train, and print the findings; the status is 1 if one is broken."""
    args, config = read_run(argv, "doctor")

    with loading("torch", "lightning"):
        from ..doctor import diagnose
        from ..doctor.report import as_json, print_findings

    findings = diagnose(config)
    if args.json:
        print(as_json(findings))
    else:
        print_findings(findings, f"{config['model']['name']} on {config['data']['name']}")
    return int(any(finding.level == "broken" for finding in findings))


def validate(argv: Sequence[str]) -> int:
    """`zoo validate`: print a checkpoint's metrics on the validation split."""
    return _evaluate(argv, "validate")


def test(argv: Sequence[str]) -> int:
    """`zoo test`: print a checkpoint's metrics on the test split."""
    return _evaluate(argv, "test")


def predict(argv: Sequence[str]) -> int:
    """`zoo predict`: write a checkpoint's predictions for the test split, or for every row of another CSV file."""
    args, config = read_evaluation(argv, "predict")

    with loading("pandas"):
        from ..evaluate import predict as run

    file, n = run(args.ckpt_path, config, args.out)
    print(f"{n:,} predictions{f' in {file}' if file else ''}", file=sys.stdout if file else sys.stderr)
    return 0


def list_names(argv: Sequence[str]) -> int:
    """`zoo list`: print the names of models, data sets and configs, with a one-line description of each."""
    parser = VerbParser("list")
    args = parser.parse_args(argv)
    if args.help:
        parser.print_help()
        return 0

    from datamodules import DATAMODULES

    from ..models.registry import MODELS
    from ..shipped import shipped_configs

    for title, registry in (("models", MODELS), ("data sets", DATAMODULES)):
        print(f"{title}:")
        for name in registry.names(args.pattern):
            print(f"  {name:18} {registry.summary(name)}")
    print("configs:")
    for name, file in shipped_configs(args.pattern).items():
        print(f"  {name:18} {file.read_text(encoding='utf-8').splitlines()[0].removeprefix('# ')}")
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "fit": fit,
    "doctor": doctor,
    "validate": validate,
    "test": test,
    "predict": predict,
    "list": list_names,
}


def _evaluate(argv: Sequence[str], verb: str) -> int:
    args, config = read_evaluation(argv, verb)

    with loading("pandas"):
        from ..evaluate import evaluate
    from .tables import print_metrics

    print_metrics(evaluate(args.ckpt_path, config, verb), str(args.ckpt_path))
    return 0


def _print_completion(argv: Sequence[str]) -> int:
    from .completion import wanted_shell

    shell = wanted_shell(argv)
    with loading("torch", "lightning"):
        from .verb_completion import zoo_script
    print(zoo_script(shell))
    return 0


def _say(sentence: str) -> None:
    print(f"zoo fit: {sentence}", file=sys.stderr, flush=True)


def _say_what_is_left(argv: Sequence[str], into: Sequence[Path], overwrite: bool) -> None:
    """After Ctrl-C, print which files exist, and the command that trains again."""
    from ..outputs.result import FILES

    left = [name for name in FILES if into and (into[0] / name).exists()]
    kept = f"Its files {', '.join(left)} are in {into[0]}" if left else "No file was changed"
    again = ["zoo", "fit", *argv, *(["--overwrite"] if left and "--out" in argv and not overwrite else [])]
    _say(f"interrupted; the run is not complete. {kept}. To train again from the start: {shlex.join(again)}")


def _on_terminal() -> bool:
    return sys.stdout.isatty() and sys.stderr.isatty()

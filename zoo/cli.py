"""The command `zoo`: each verb is a function below. Imports are lazy, so that help and lists answer at once."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError, unknown

from .tracking.options import LOGGER, LOGGER_HELP, RUN_OPTIONS, take_logger

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from .outputs.result import Result
    from .plain import Config

USAGE = """\
usage: zoo VERB [options]

  fit       train a model, restore its best checkpoint, test it once
  doctor    check before training that a set-up is sound
  validate  the metrics of a checkpoint on the validation split
  test      the metrics of a checkpoint on the test split
  predict   a checkpoint's predictions as a CSV
  list      the models, data sets and shipped configs

zoo fit --model mlp --data digits --model.hidden_dims '[64, 64]' --trainer.max_epochs 20
zoo fit --model mlp --data digits --help      explains every option
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 2 for bad input, 1 for a run that diverged, else 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    verb, *rest = arguments
    try:
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        return VERBS[verb](rest)
    except InputError as error:
        print(f"zoo {verb}: {error}", file=sys.stderr)
        return 2


def fit(argv: Sequence[str]) -> int:
    """`zoo fit`: see `zoo.train.fit`."""
    args, config = _read_run(
        argv,
        "fit",
        "Train a model, restore its best checkpoint, test it once.",
        {
            "--out": {"metavar": "DIR", "help": "Where the run goes; by default a new folder in runs/."},
            "--overwrite": {"help": "Replace the run in --out once the new one is done.", "action": "store_true"},
            **RUN_OPTIONS,
        },
    )

    from .runfolder import run_into
    from .tracking.watchers import watchers_of
    from .train import fit as train

    def run(complete: "Config", folder: Path) -> "Result":
        with watchers_of(args, _say) as watchers:
            return train(complete, folder, progress=_on_terminal(), watchers=watchers)

    try:
        result, out = run_into(args.out, args.overwrite, config, run)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        print("zoo fit: interrupted; the run is not finished.", file=sys.stderr)
        return 130
    if result is None:  # another rank reports
        return 0
    if result.status == "diverged":
        print(f"zoo fit: diverged: {result.reason}. Try a lower --model.lr or gradient clipping.", file=sys.stderr)
        return 1
    _print_metrics(result.metrics, f"best epoch {result.best_epoch}, of {result.epochs_run} run")
    print(f"{result.n_parameters:,} parameters, trained in {result.train_seconds:.1f} s; all of it in {out}")
    return 0


def doctor(argv: Sequence[str]) -> int:
    """`zoo doctor`: print what is wrong with what `zoo fit` would train; the status is 1 where something is broken."""
    args, config = _read_run(
        argv,
        "doctor",
        "Check before training that a set-up is sound: what `zoo fit` would train is measured and trained for a few "
        "hundred steps, in under a minute. The exit status is 1 where something is broken.",
        {"--json": {"help": "Print the findings as a JSON list and nothing else.", "action": "store_true"}},
    )

    from .doctor import diagnose
    from .doctor.report import as_json, print_findings

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
    checkpoint, config, out = _read_evaluation(argv, "predict")

    from .evaluate import predict as run

    file, n = run(checkpoint, config, out)
    print(f"{n:,} predictions in {file}")
    return 0


def list_names(argv: Sequence[str]) -> int:
    """`zoo list`: print the names of models, data sets and configs with a line on each."""
    parser = argparse.ArgumentParser("zoo list", description="The models, data sets and shipped configs.")
    parser.add_argument("pattern", nargs="?", default="*", help="a glob pattern, such as '*mlp*'")
    pattern = parser.parse_args(argv).pattern

    from datamodules import DATAMODULES

    from .models.registry import MODELS

    for title, registry in (("models", MODELS), ("data sets", DATAMODULES)):
        print(f"{title}:")
        for name in registry.names(pattern):
            print(f"  {name:14} {registry.summary(name)}")
    print("configs:")
    for file in sorted((Path(__file__).parent / "configs").glob(f"{pattern}.yaml")):
        print(f"  {file.stem:14} {file.read_text(encoding='utf-8').splitlines()[0].removeprefix('# ')}")
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "fit": fit,
    "doctor": doctor,
    "validate": validate,
    "test": test,
    "predict": predict,
    "list": list_names,
}


def _read_run(
    argv: Sequence[str], verb: str, description: str, options: dict[str, dict[str, Any]]
) -> tuple[argparse.Namespace, "Config"]:
    """The verb's own options, and the config that files and the other options make."""
    own = _scanner(verb)
    own.add_argument("--config", action="append", default=[])
    for option, how in options.items():
        own.add_argument(option, **how)
    loggers, argv = take_logger(_spell_out(argv, wandb=True)) if verb == "fit" else ([], _spell_out(argv))
    args, rest = own.parse_known_args(argv)
    args.logger = loggers

    from .config import make_parser, merge, read_config

    config: Config = {}
    for file in args.config:
        config = merge(config, read_config(file))
    config = merge(config, {s: {"name": n} for s, n in (("model", args.model), ("data", args.data)) if n})
    model, data = (config.get(section, {}).get("name") for section in ("model", "data"))
    parser = make_parser(
        _known(model, "model"),
        _known(data, "data"),
        prog=f"zoo {verb}",
        usage=f"zoo {verb} --model NAME --data NAME [options]",
        description=f"{description} With --model and --data given, this help explains their own options too.",
    )
    parser.add_argument("--config", metavar="FILE", help="Options from a YAML file, or a shipped config by its name.")
    for option, how in options.items():
        parser.add_argument(option, **how)
    if verb == "fit":
        parser.add_argument(LOGGER, metavar="CLASS", help=LOGGER_HELP)
    return args, merge(config, _parse(parser, rest, model, data))


def _evaluate(argv: Sequence[str], verb: str) -> int:
    checkpoint, config, _ = _read_evaluation(argv, verb)

    from .evaluate import evaluate

    _print_metrics(evaluate(checkpoint, config, verb), str(checkpoint))
    return 0


def _read_evaluation(argv: Sequence[str], verb: str) -> tuple[str, "Config", str | None]:
    """The checkpoint, the `data` and `trainer` sections as given, and --out."""
    own = _scanner(verb)
    own.add_argument("--ckpt_path")
    if verb == "predict":
        own.add_argument("--out")
    args, rest = own.parse_known_args(_spell_out(argv))

    from .config import make_parser
    from .outputs.checkpoint import read_checkpoint

    # The options of the data that the model was trained on are known without --data.
    run = read_checkpoint(args.ckpt_path)["zoo"]["config"] if args.ckpt_path else None
    data = _known(args.data, "data") or (run["data"]["name"] if run else None)
    parser = make_parser(
        None,
        data,
        ("data", "trainer"),
        prog=f"zoo {verb}",
        usage=f"zoo {verb} --ckpt_path FILE [--data NAME] [options]",
        description=(VERBS[verb].__doc__ or "").partition(": ")[2],
    )
    parser.add_argument("--ckpt_path", metavar="FILE", help="A best.ckpt, or the folder that holds it.")
    if verb == "predict":
        parser.add_argument("--out", metavar="FILE", help="The CSV; by default predictions.csv beside the checkpoint.")
    config = _parse(parser, rest, None, data)
    if data:
        config["data"] = {**config.get("data", {}), "name": data}
    if args.ckpt_path is None:
        raise InputError("which checkpoint? Say --ckpt_path FILE.")
    return args.ckpt_path, config, getattr(args, "out", None)


def _scanner(verb: str) -> argparse.ArgumentParser:
    """Reads what must be known before the other options can be: the names."""

    class Scanner(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise InputError(message)

    scanner = Scanner(f"zoo {verb}", add_help=False, allow_abbrev=False)
    if verb in ("fit", "doctor"):
        scanner.add_argument("--model.name", dest="model")
    scanner.add_argument("--data.name", dest="data")
    return scanner


def _spell_out(argv: Sequence[str], wandb: bool = False) -> list[str]:
    """--model X as --model.name X, likewise for data, and --wandb as --wandb.on where there is such an option."""
    spelt = []
    for argument in argv:
        option, equals, value = argument.partition("=")
        more = {"--model": ".name", "--data": ".name", **({"--wandb": ".on"} if wandb else {})}.get(option, "")
        spelt.append(f"{option}{more}{equals}{value}")
    return spelt


def _known(name: str | None, section: str) -> str | None:
    """A name, if it is given, that exists."""
    from datamodules import DATAMODULES

    from .models.registry import MODELS

    registry = MODELS if section == "model" else DATAMODULES
    return None if name is None else registry.check(name)


def _parse(parser: "ArgumentParser", argv: Sequence[str], model: str | None, data: str | None) -> "Config":
    """The options given, typed, as nested dicts; refused with the nearest option where there is none such."""
    from argparse import ArgumentError

    from .config import explain

    for action in parser._actions:
        if action.option_strings in (["--model"], ["--data"], ["--trainer"]):
            action.help = argparse.SUPPRESS if action.option_strings == ["--trainer"] else "Its name."
            action.metavar = "NAME"
    options = {o for action in parser._actions for o in action.option_strings if not o.endswith((".help", "+"))}
    for argument in argv:
        option = argument.partition("=")[0]
        if option.startswith("--") and option not in options and option.count(".") < 2:
            section = option.partition(".")[0] + "."
            raise unknown("option", option, [o for o in options if o.startswith(section)] or options)
    try:
        return parser.parse_args(list(argv), defaults=False).as_dict()
    except ArgumentError as error:
        raise explain(error, model, data) from None


def _say(sentence: str) -> None:
    print(f"zoo fit: {sentence}", file=sys.stderr, flush=True)


def _on_terminal() -> bool:
    return sys.stdout.isatty() and sys.stderr.isatty()


def _print_metrics(metrics: dict[str, float | None], title: str) -> None:
    """A small table: a row a metric, a column a split; and one of a diagnosis, each row by layer from the input on."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .parts.metric_names import THROUGHPUT, is_diagnosis

    known = ("test", "val", "train", "train_eval", "gap")
    splits = [split for split in known if any(name.startswith(f"{split}/") for name in metrics)]
    table = Table("metric", *splits, title=Text(title), box=box.SIMPLE_HEAD)
    for name in dict.fromkeys(name.partition("/")[2] for name in metrics if name.partition("/")[0] in splits):
        row = (metrics.get(f"{split}/{name}") for split in splits)
        table.add_row(name, *("" if value is None else f"{value:.4f}" for value in row))
    Console().print(table)
    if timed := {name: value for name in THROUGHPUT if (value := metrics.get(name)) is not None}:
        table = Table("throughput", "", box=box.SIMPLE_HEAD)
        for name, value in timed.items():
            table.add_row(name, f"{value:,.0f}" if value >= 100 else f"{value:.4g}")
        Console().print(table)
    diagnosed: dict[str, list[str]] = {}
    for name in filter(is_diagnosis, metrics):
        value = metrics[name]
        if not name.startswith("init/"):
            diagnosed.setdefault(name.partition("/layer_")[0], []).append("–" if value is None else f"{value:.3g}")
    if not diagnosed:
        return
    table = Table("diagnosis", "by layer", box=box.SIMPLE_HEAD)
    for name, values in sorted(diagnosed.items()):
        table.add_row(name, "  ".join(values))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())

"""The names of all options, in a list that an intended change edits, so that no other change adds or removes one."""

import sys
from pathlib import Path

from benchmarks.cli.parser import make_parser, verb_parsers
from datamodules import DATAMODULES
from zoo.cli.config_options import add_config_options, config_parser, every_option
from zoo.cli.options import EVALUATIONS, RUNS, SUMMARIES, VerbParser
from zoo.models.registry import MODELS
from zoo.option_names import COMMON_KEYS, SYNONYMS
from zoo.shipped import shipped_configs

LIST = Path(__file__).with_name("options.txt")
UPDATE = "python tests/test_options.py > tests/options.txt"


def zoo_options(verb: str, model: str | None = None, data: str | None = None) -> list[str]:
    parser = VerbParser(verb)
    if verb == "fit":
        parser.declare_logger()
    if verb in RUNS + EVALUATIONS:
        add_config_options(parser, config_parser(verb, model, data), model, data)
    return parser.known_options()


def all_options() -> str:
    """A line for each option: the command with its verb, and the option; then what names add to it."""
    lines = ["zoo --help", "zoo --print-completion", "zoo --version"]
    for verb in SUMMARIES:
        lines += [f"zoo {verb} {option}" for option in sorted(zoo_options(verb))]
    shared = set(zoo_options("fit"))
    for name in MODELS.names():
        lines.append(f"zoo fit --model {name}")
        lines += [f"zoo fit --model {name} {option}" for option in sorted(set(zoo_options("fit", name)) - shared)]
    for name in DATAMODULES.names():
        lines.append(f"zoo fit --data {name}")
        lines += [f"zoo fit --data {name} {option}" for option in sorted(set(zoo_options("fit", None, name)) - shared)]
    lines += [f"zoo fit --config {name}" for name in shipped_configs()]
    parser = make_parser()
    lines += [f"bench {option}" for option in sorted(parser._option_string_actions) if option.startswith("--")]
    for verb, own in verb_parsers(parser).items():
        lines += [f"bench {verb} {option}" for option in sorted(own._option_string_actions) if option.startswith("--")]
    return "\n".join(lines) + "\n"


def test_the_options_are_those_of_the_list():
    found, listed = all_options().splitlines(), LIST.read_text(encoding="utf-8").splitlines()
    added, removed = [o for o in found if o not in listed], [o for o in listed if o not in found]
    message = f"options added: {added}; removed: {removed}. If that is intended: {UPDATE}"
    assert found == listed, message


def test_what_is_suggested_exists():
    fit = set(every_option("fit").known_options())
    assert {f"--{key}" for key in COMMON_KEYS} <= fit
    commands = {line.split()[2] for line in all_options().splitlines() if line.count(" ") > 1}
    for called, names in SYNONYMS.items():
        assert any(f"--{name}" in fit | commands for name in names), called


if __name__ == "__main__":
    sys.stdout.write(all_options())

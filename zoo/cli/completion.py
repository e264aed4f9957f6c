"""Scripts that complete a command in a shell, made by shtab from its parser."""

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import shtab

from datamodules.errors import choose, require

SHELLS = ("bash", "zsh", "tcsh")
OPTION = "--print-completion"

Completion = Mapping[str, Any]  # what completes a value, by shell


def wanted_shell(argv: Sequence[str]) -> str:
    """The shell that `--print-completion SHELL` names.

    Raises:
        InputError: None, or one for which no script can be made.
    """
    words = argv[0].split("=", 1) + list(argv[1:])
    require(len(words) == 2 and words[0] == OPTION, f"{OPTION} takes one shell: {', '.join(SHELLS)}.")
    return choose("shell", words[1], SHELLS)


def complete_by(parser: argparse.ArgumentParser, completions: Mapping[str, Completion]) -> None:
    """Set what completes the values of a parser's options and positionals, by their name (`--out`, `folder`)."""
    for action in parser._actions:
        for name in action.option_strings or [action.dest]:
            if name in completions:
                action.complete = completions[name]  # type: ignore[attr-defined]


def names_or_yaml(function: str, names: Iterable[str]) -> tuple[Completion, Completion]:
    """What completes a name, or a YAML file: how an option refers to it, and the functions that the script defines.

    Args:
        function: A name for the functions.
        names: The names.
    """
    words = " ".join(shlex.quote(name) for name in names)
    bash = f"""\
{function}() {{
  compgen -W {shlex.quote(words)} -- "$1"
  compgen -f -X '!*.y*ml' -- "$1"
  compgen -d -- "$1"
}}"""
    zsh = f"""\
{function}() {{
  _alternative {shlex.quote(f"names:name:({words})")} 'files:YAML file:_files -g "*.y*ml"'
}}"""
    # tcsh takes either words or a pattern of files.
    return {"bash": function, "zsh": function, "tcsh": "f:*.yaml"}, {"bash": bash, "zsh": zsh, "tcsh": ""}


def completion_script(parser: argparse.ArgumentParser, shell: str, functions: Sequence[Completion] = ()) -> str:
    """The script.

    Args:
        parser: The command's parser.
        shell: One of `SHELLS`.
        functions: Definitions that go before it.
    """
    return str(shtab.complete(parser, shell, preamble="\n".join(f[shell] for f in functions)))

"""Shell completion scripts, generated from a parser by shtab."""

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import shtab

from datamodules.errors import choose, require

SHELLS = ("bash", "zsh", "tcsh")
OPTION = "--print-completion"

Completion = Mapping[str, Any]  # how to complete a value, for each shell


def wanted_shell(argv: Sequence[str]) -> str:
    """Return the shell given by `--print-completion SHELL`.

    Raises:
        InputError: If the shell is missing or not supported.
    """
    words = argv[0].split("=", 1) + list(argv[1:])
    require(len(words) == 2 and words[0] == OPTION, f"{OPTION} needs the name of a shell: {', '.join(SHELLS)}.")
    return choose("shell", words[1], SHELLS)


def complete_by(parser: argparse.ArgumentParser, completions: Mapping[str, Completion]) -> None:
    """Set the completions of a parser's options and positional arguments, by name (`--out`, `folder`)."""
    for action in parser._actions:
        for name in action.option_strings or [action.dest]:
            if name in completions:
                action.complete = completions[name]  # type: ignore[attr-defined]


def names_or_yaml(function: str, names: Iterable[str]) -> tuple[Completion, Completion]:
    """Return a completion for names and YAML files, and the shell functions that it needs.

    Args:
        function: Name of the functions.
        names: The names to complete.
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
    # tcsh supports either words or a file pattern, not both.
    return {"bash": function, "zsh": function, "tcsh": "f:*.yaml"}, {"bash": bash, "zsh": zsh, "tcsh": ""}


def completion_script(parser: argparse.ArgumentParser, shell: str, functions: Sequence[Completion] = ()) -> str:
    """Generate the completion script.

    Args:
        parser: The command's parser.
        shell: One of `SHELLS`.
        functions: Shell functions to define first.
    """
    return str(shtab.complete(parser, shell, preamble="\n".join(f[shell] for f in functions)))

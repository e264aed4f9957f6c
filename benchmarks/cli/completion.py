"""Shell completion of `bench`: options, shipped studies, YAML files, folders."""

import argparse
from collections.abc import Sequence

import shtab

from zoo.cli.completion import complete_by, completion_script, names_or_yaml, wanted_shell

from ..running.engines.options import ENGINES
from ..study.file import list_studies
from .parser import verb_parsers


def bench_script(parser: argparse.ArgumentParser, argv: Sequence[str]) -> str:
    """The script that completes `bench` in a shell.

    Args:
        parser: The parser of `bench`.
        argv: `--print-completion` and the shell.
    """
    shell = wanted_shell(argv)
    study, functions = names_or_yaml("_bench_study_file", list_studies())
    folders = dict.fromkeys(("--out", "folder", "target", "a", "b"), shtab.DIRECTORY)
    for verb in verb_parsers(parser).values():
        complete_by(verb, {"study": study, "file": shtab.FILE, **folders})
        for action in verb._actions:
            if action.dest == "engine":
                action.choices = list(ENGINES)
            elif action.dest == "source":
                action.choices = list_studies()
    return completion_script(parser, shell, [functions])

"""Shell completion of `zoo`: options of all models and data sets, names, shipped configs, files."""

import argparse

import shtab

from datamodules import DATAMODULES

from ..models.registry import MODELS
from ..shipped import shipped_configs
from .completion import OPTION, SHELLS, complete_by, completion_script, names_or_yaml
from .config_options import BOOL, every_option
from .options import SUMMARIES


def zoo_script(shell: str) -> str:
    """Generate the completion script of `zoo` for a shell."""
    config, functions = names_or_yaml("_zoo_config_file", shipped_configs())
    parser = argparse.ArgumentParser("zoo")
    parser.add_argument("--version", action="store_true", help="print versions, for bug reports")
    parser.add_argument(OPTION, choices=SHELLS, help="print a script that completes zoo in a shell")
    verbs = parser.add_subparsers()
    for verb, summary in SUMMARIES.items():
        own = verbs.add_parser(verb, parents=[every_option(verb)], add_help=False, help=summary)
        out = shtab.FILE if verb == "predict" else shtab.DIRECTORY
        complete_by(own, {"--config": config, "--out": out, "--ckpt_path": shtab.FILE, "--data.path": shtab.FILE})
        complete_by(own, {"--data.root": shtab.DIRECTORY})
        for action in own._actions:
            if action.dest in ("model", "data"):
                action.choices = (MODELS if action.dest == "model" else DATAMODULES).names()
            elif action.metavar == BOOL:
                action.choices = ("true", "false")
    return completion_script(parser, shell, [functions])

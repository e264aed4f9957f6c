"""Names and help must come without torch and lightning, which take seconds to import."""

import subprocess
import sys

import pytest

PROMISED = {
    "import zoo": "import zoo",
    "list_models": "import zoo; assert 'mlp' in zoo.list_models()",
    "zoo list": "from zoo.cli import main; assert main(['list']) == 0",
    "zoo --help": "from zoo.cli import main; assert main(['--help']) == 0",
    "bench list": "from benchmarks.cli import main; assert main(['list']) == 0",
    "zoo --version": "from zoo.cli import main; assert main(['--version']) == 0",
    "bench --version": "from benchmarks.cli import main; assert main(['--version']) == 0",
    "bench": "from benchmarks.cli import main; assert main([]) == 0",
    "bench --print-completion": "from benchmarks.cli import main; assert main(['--print-completion', 'bash']) == 0",
    "a wrong option of bench": "from benchmarks.cli import main; assert main(['run', 'activations', '--lr', '1']) == 2",
    "a refusal of a name": "from zoo.cli import main; assert main(['fti']) == 2",
}


@pytest.mark.parametrize("name", PROMISED)
def test_it_imports_neither_torch_nor_lightning(name):
    heavy = "import sys; assert not {'torch', 'lightning', 'torchvision', 'pandas', 'wandb'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{PROMISED[name]}; {heavy}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_driver_of_a_study_needs_no_torch():
    running = "benchmarks.running.runner, benchmarks.running.engines.local, benchmarks.running.job, benchmarks.trial"
    modules = f"{running}, benchmarks.report, benchmarks.publish"
    heavy = "import sys; assert not {'torch', 'lightning', 'wandb'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"import {modules}; {heavy}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

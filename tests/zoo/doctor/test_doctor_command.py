"""`zoo doctor` on the command line: what goes to stdout, exit statuses, refusals."""

import json
import os
import shlex
import subprocess
import sys
import time

import pytest

from zoo.cli import main
from zoo.doctor import CHECKS


def test_json_is_all_that_goes_to_stdout_and_what_is_broken_exits_1(capsys):
    assert main(shlex.split("doctor --config deep_sigmoid_mlp --json")) == 1
    out, err = capsys.readouterr()
    findings = json.loads(out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert err == ""
    assert [finding["check"] for finding in findings] == ["forward", *CHECKS]
    assert set(findings[0]) == {"check", "level", "measured", "numbers", "why", "change"}
    broken = {finding["check"] for finding in findings if finding["level"] == "broken"}
    assert broken == {"initializer", "gradient_flow", "overfit_batch", "zero_input"}
    flow = next(finding for finding in findings if finding["check"] == "gradient_flow")
    assert flow["numbers"]["ratio"] < 1e-5
    assert "--model.initializer kaiming_normal" in flow["change"]


def test_remarks_exit_0_and_say_what_to_change(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = "--model.hidden_dims '[16]' --data.batch_size 8 --callbacks.early_stopping false --trainer.max_epochs 3"
    assert main(shlex.split(f"doctor --model robust_mlp --data iris {options} --seed_everything 1")) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("robust_mlp on iris: 14 ok, 1 remark")
    assert "→ Use --data.batch_size 64" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "the model is missing; pass --model NAME"),
        ("--model mpl --data digits", "Did you mean 'mlp'"),
        ("--model mlp --data dgits", "Did you mean 'digits'"),
        ("--model mlp --data digits --model.hiden_dims [3]", "Did you mean '--model.hidden_dims'"),
        ("--model mlp --data digits --model.lr abc", "model.lr must be of type float, got 'abc'"),
        ("--model mlp --data digits --model.dropout 1.5", "model.dropout must be in [0, 1)"),
        ("--model cnn --data iris", "cnn needs images"),
        ("--config nowhere.yaml", "the config file 'nowhere.yaml' does not exist"),
        ("--model mlp --data digits --trainer.strategy nope", "invalid strategy"),
        ("--model mlp --data digits --callbacks.early_stopping.monitor val/acuracy", "Did you mean 'val/accuracy'"),
        ("--model mlp --data digits --model.schedule cosine --trainer.max_epochs -1", "set --trainer.max_epochs"),
        ("--model mlp --data digits --seed_everything -1", "seed_everything must not be negative"),
        ("--model mlp --data digits --out run", "unknown option"),
    ],
)
def test_bad_input_is_refused_as_by_fit(options, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", *shlex.split(options)]) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert err.startswith("zoo doctor: ")
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_explains_the_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(shlex.split("doctor --model mlp --data digits --help"))
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert "--model.hidden_dims" in out


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn", "lenet5"])
def test_it_takes_under_a_minute_on_one_thread(model):
    start = time.perf_counter()
    command = [sys.executable, "-m", "zoo.cli", "doctor", "--model", model, "--data", "digits"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 60

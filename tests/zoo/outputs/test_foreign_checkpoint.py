"""Checkpoints made by hand, as a stranger might: one sentence each, within 5 s; nothing is downloaded."""

import copy
import os
import time
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from tests.small_files import write_small_files
from zoo import train
from zoo.cli import main
from zoo.models.mlp import MLP
from zoo.models.registry import MODELS
from zoo.outputs.checkpoint import read_checkpoint
from zoo.parts.initializers import INITIALIZERS

MLP_ON = {"model": {"name": "mlp", "hidden_dims": [8]}, "trainer": {"max_epochs": 1}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_small_files(folder)
    for name, target in (("base", "label"), ("stamp", "when")):
        data = {"name": "csv", "path": str(folder / f"{name}.csv"), "target": target}
        train.fit({**MLP_ON, "data": data}, folder / name)
    return folder


@pytest.fixture
def content(runs):
    return read_checkpoint(runs / "base")


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def doubled(times):
    value = [1.0]
    for _ in range(times):
        value = [value, value]
    return value


def put(*place):
    """A function that sets one entry: the last of `place`, under the keys before it."""
    *keys, last, value = place

    def change(content):
        for key in keys:
            content = content[key]
        content[last] = value

    return change


ZOO, CARD, HPARAMS = "zoo", ("zoo", "data"), "hyper_parameters"
BAD = {
    "data null": put(ZOO, "data", None),
    "data empty": put(ZOO, "data", {}),
    "data list": put(ZOO, "data", [1]),
    "data text": put(ZOO, "data", "x"),
    "config text": put(ZOO, "config", "x"),
    "config empty": put(ZOO, "config", {}),
    "config without a name": put(ZOO, "config", "data", {}),
    "config data null": put(ZOO, "config", "data", None),
    "config data name a list": put(ZOO, "config", "data", "name", ["csv"]),
    "config model text": put(ZOO, "config", "model", "mlp"),
    "model a list": put(ZOO, "model", ["mlp"]),
    "model a number": put(ZOO, "model", 3),
    "format text": put(ZOO, "format", "1"),
    "format a tensor": put(ZOO, "format", torch.ones(2)),
    "format true": put(ZOO, "format", True),
    "hyperparameters null": put(HPARAMS, None),
    "hyperparameters list": put(HPARAMS, []),
    "hyperparameters without shape": lambda c: c[HPARAMS].pop("input_shape"),
    "shape text": put(HPARAMS, "input_shape", "2"),
    "shape empty": put(HPARAMS, "input_shape", []),
    "shape float": put(HPARAMS, "input_shape", [2.0]),
    "shape zero": put(HPARAMS, "input_shape", [0]),
    "shape huge": put(HPARAMS, "input_shape", [10**15]),
    "classes text": put(HPARAMS, "num_classes", "2"),
    "classes zero": put(HPARAMS, "num_classes", 0),
    "classes true": put(HPARAMS, "num_classes", True),
    "lr text": put(HPARAMS, "lr", "fast"),
    "lr a list": put(HPARAMS, "lr", [1]),
    "lr nan": put(HPARAMS, "lr", float("nan")),
    "dropout a mapping": put(HPARAMS, "dropout", {"p": 1}),
    "widths text": put(HPARAMS, "hidden_dims", "8"),
    "widths of text": put(HPARAMS, "hidden_dims", ["8"]),
    "widths null": put(HPARAMS, "hidden_dims", None),
    "widths huge": put(HPARAMS, "hidden_dims", [10**12]),
    "widths of 64 bits": put(HPARAMS, "hidden_dims", [2**62, 2**62]),
    "widths beyond 64 bits": put(HPARAMS, "hidden_dims", [10**400]),
    "200,000 layers": put(HPARAMS, "hidden_dims", [1] * 200_000),
    "1,000 layers": put(HPARAMS, "hidden_dims", [1] * 1000),
    "activation a number": put(HPARAMS, "activation", 3),
    "class weights text": put(HPARAMS, "class_weights", ["x", "y"]),
    "key a number": put(HPARAMS, 3, 4),
    "doubled 60 times": put(*CARD, "extra", doubled(60)),
    "hyperparameters doubled": put(HPARAMS, "hidden_dims", doubled(60)),
    "nested deep": put(*CARD, "extra", nested(200)),
    "set": put(*CARD, "extra", {1, 2}),
    "bytes": put(*CARD, "extra", b"x"),
    "tensor in the card": put(*CARD, "extra", torch.ones(2)),
    "weights null": put("state_dict", None),
    "weights list": put("state_dict", [1]),
    "weight a number": put("state_dict", "x", 1),
    "weight of a number key": put("state_dict", 3, torch.ones(1)),
    "weight sparse": put("state_dict", "x", torch.ones(2, 2).to_sparse()),
    "weight expanded": put("state_dict", "x", torch.ones(1).expand(10**12)),
    "weight too many": put("state_dict", "x", torch.ones(1)),
    "weight complex": lambda c: c["state_dict"].update({k: v.cfloat() for k, v in c["state_dict"].items()}),
    "classes as a number": put(*CARD, "class_names", 2),
    "classes too few": put(*CARD, "class_names", ["a"]),
    "classes alike": put(*CARD, "class_names", ["a", "a"]),
    "classes numbers": put(*CARD, "class_names", [1, 2]),
    "classes null": put(*CARD, "class_names", None),
    "shape of the data": put(*CARD, "input_shape", [3]),
    "no normalisation": lambda c: c["zoo"]["data"].pop("normalisation"),
    "normalisation null": put(*CARD, "normalisation", None),
    "normalisation without std": put(*CARD, "normalisation", {"mean": [0.0, 0.0]}),
    "normalisation text": put(*CARD, "normalisation", {"mean": "x", "std": "y"}),
    "normalisation ragged": put(*CARD, "normalisation", {"mean": [[1.0], [1.0, 2.0]], "std": [1.0, 1.0]}),
    "normalisation of another size": put(*CARD, "normalisation", {"mean": [0.0] * 3, "std": [1.0] * 3}),
    "std zero": put(*CARD, "normalisation", "std", [0.0, 1.0]),
    "std nan": put(*CARD, "normalisation", "std", [float("nan"), 1.0]),
    "target of a classification": put(*CARD, "target", {"mean": 0.0, "std": 1.0}),
    "features null entries": put(*CARD, "features", [None, None]),
    "features too few": put(*CARD, "features", ["a"]),
    "features a mapping": put(*CARD, "features", {"a": 1}),
    "digest a number": put(*CARD, "sha256", 3),
    "fill-in values text": put(*CARD, "missing", ["x", "y"]),
    "fill-in values too few": put(*CARD, "missing", [1.0]),
    "quantiles flat": put(*CARD, "quantiles", [1.0, 2.0]),
    "vectorizer text": put(*CARD, "vectorizer", "tfidf"),
    "vectorizer half": put(*CARD, "vectorizer", {"kind": "tfidf"}),
    "group a number": put(*CARD, "group", 3),
}


def save(content, tmp_path):
    torch.save(content, tmp_path / "x.ckpt")
    return str(tmp_path / "x.ckpt")


@pytest.mark.parametrize("case", BAD)
def test_a_checkpoint_made_by_hand_gets_a_sentence(content, tmp_path, case):
    BAD[case](content)
    file = save(content, tmp_path)
    start = time.perf_counter()
    with pytest.raises(zoo.InputError, match=r"x\.ckpt|model|activation"):
        zoo.load(file)
    assert time.perf_counter() - start < 5


def test_a_compressed_archive_is_refused(content, tmp_path):
    file = save(content, tmp_path)
    with zipfile.ZipFile(file) as stored, zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in stored.infolist():
            bomb.writestr(entry.filename, stored.read(entry))
        bomb.writestr("x/zeros", bytes(10**7))
    with pytest.raises(zoo.InputError, match="was not loaded"):
        zoo.load(tmp_path / "bomb.ckpt")


@pytest.mark.parametrize("name", ["a\0b", "/dev/zero"])
def test_a_name_that_no_checkpoint_can_have(name):
    with pytest.raises(zoo.InputError, match=r"the checkpoint .* does not exist"):
        zoo.load(name)


def test_a_name_that_is_too_long_for_a_checkpoint(capsys):
    assert main(["test", "--ckpt_path", "x" * 300]) == 2
    assert "File name too long; choose a shorter name or path." in capsys.readouterr().err


CONFIG = ("zoo", "config", "data")
PATHS = {
    "device": put(*CONFIG, "path", "/dev/zero"),
    "fifo": put(*CONFIG, "path", "fifo"),
    "long name": put(*CONFIG, "path", "x" * 300),
    "null character": put(*CONFIG, "path", "a\0b"),
    "number": put(*CONFIG, "path", 3),
    "list": put(*CONFIG, "path", ["a"]),
    "separator": put(*CONFIG, "sep", "(((("),
    "unknown option": put(*CONFIG, "colour", "red"),
    "seed text": put(*CONFIG, "seed", "x"),
    "unknown data": put(*CONFIG, "name", "nope"),
    "trainer": put("zoo", "config", "model", "lr", "x"),
}


@pytest.mark.parametrize("case", PATHS)
@pytest.mark.parametrize("verb", ["test", "predict"])
def test_data_named_in_a_checkpoint_are_read_only_where_they_are_files(
    content, tmp_path, monkeypatch, capsys, case, verb
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    os.mkfifo("fifo")
    PATHS[case](content)
    save(content, tmp_path)
    assert main([verb, "--ckpt_path", "x.ckpt"]) == 2
    assert capsys.readouterr().err.startswith(f"zoo {verb}: ")
    assert sorted(map(str, Path().iterdir())) == ["fifo", "x.ckpt"]


@pytest.mark.parametrize(
    ("data", "options", "allowed"),
    [
        ({"name": "mnist", "root": "theirs"}, [], False),
        ({"name": "mnist"}, [], False),
        ({"name": "cifar10", "root": "theirs"}, [], False),
        ({"name": "cifar10"}, ["--data.batch_size", "8"], False),
        ({"name": "mnist", "root": "theirs"}, ["--data", "mnist"], False),
        ({"name": "mnist"}, ["--data", "mnist"], True),
        ({"name": "mnist"}, ["--data.name", "mnist"], True),
        ({"name": "mnist", "root": "theirs"}, ["--data.root", "mine"], True),
        ({"name": "mnist", "root": "theirs"}, ["--data", "cifar10"], True),
    ],
)
@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_only_the_user_starts_a_download(content, tmp_path, monkeypatch, capsys, data, options, allowed, verb):
    tried = []

    def refuse(request, *rest, **more):
        tried.append(request if isinstance(request, str) else request.full_url)
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DATA_DIR", "downloads")
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    content = copy.deepcopy(content)
    content["zoo"]["config"]["data"] = data
    save(content, tmp_path)
    assert main([verb, "--ckpt_path", "x.ckpt", *options]) == 2
    err = capsys.readouterr().err
    assert bool(tried) == allowed
    assert ("nothing is downloaded because of a checkpoint; pass --data.root." in err) == (not allowed)
    assert [path.name for path in tmp_path.iterdir()] == ["x.ckpt"]


@pytest.mark.parametrize("model", MODELS.names())
def test_checkpoints_of_all_models_and_initializers_load(model, tmp_path):
    shape = (1, 28, 28) if model in ("cnn", "lenet5", "lenet") else (4,)
    for name in INITIALIZERS:
        made = zoo.create_model(model, input_shape=shape, num_classes=3, initializer=name)
        content = {"zoo": {"format": 1, "model": model, "data": {}, "config": None}}
        content |= {"hyper_parameters": dict(made.hparams), "state_dict": made.state_dict()}
        again = zoo.load(save(content, tmp_path))
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), made.parameters(), strict=True))


@pytest.mark.parametrize("options", [{"activation": "prelu", "initializer": "orthogonal"}, {"bias_init": 0.1}])
def test_checkpoints_of_other_initial_weights_load(options, tmp_path):
    made = zoo.create_model("mlp", input_shape=(4,), num_classes=3, **options)
    content = {"zoo": {"format": 1, "model": "mlp", "data": {}, "config": None}}
    content |= {"hyper_parameters": dict(made.hparams), "state_dict": made.state_dict()}
    assert zoo.load(save(content, tmp_path)).hparams == made.hparams


def test_lightning_restores_the_scale_of_the_target(runs):
    ours = zoo.load(runs / "stamp")
    theirs = MLP.load_from_checkpoint(runs / "stamp" / "best.ckpt", weights_only=True).eval()
    x = torch.zeros(3, 2)
    assert torch.equal(theirs.predictions(theirs(x)), ours.predictions(ours(x)))
    assert float(theirs.predictions(theirs(x))[0].detach()) == pytest.approx(1.7e9, abs=1000)
    assert theirs.config == ours.config


def test_weights_that_are_not_finite_do_not_predict(content, tmp_path, capsys):
    content = copy.deepcopy(content)
    next(iter(content["state_dict"].values())).fill_(torch.nan)
    file = save(content, tmp_path)
    for verb in ("test", "validate", "predict"):
        assert main([verb, "--ckpt_path", file]) == 2
        assert "the weights in" in capsys.readouterr().err
    assert not (tmp_path / "predictions.csv").exists()


def test_outputs_that_are_not_finite_are_no_predictions(content, tmp_path, capsys):
    content = copy.deepcopy(content)
    for name, weight in content["state_dict"].items():
        if name.endswith("weight"):
            nn.init.constant_(weight, 3e38)
    assert main(["predict", "--ckpt_path", save(content, tmp_path)]) == 2
    assert "the model's output is not finite for" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    ["val_fraction .9", "seed 5", "drop [a]", "task regression", "train_size 5", "missing median"],
)
@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_what_a_checkpoint_fixes_cannot_be_changed(runs, tmp_path, capsys, verb, option):
    name, value = option.split()
    words = [verb, "--ckpt_path", str(runs / "base"), f"--data.{name}", value]
    assert main(words) == 2
    assert f"zoo {verb}: data.{name} cannot be changed after training" in capsys.readouterr().err


def test_the_same_value_is_no_change(runs, capsys):
    assert main(["validate", "--ckpt_path", str(runs / "base"), "--data.val_fraction", "0.2"]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_a_checkpoint_finds_its_file_from_any_folder(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    words = "fit --model perceptron --data csv --data.path base.csv --data.target label --trainer.max_epochs 1 --out p"
    assert main(words.split()) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["test", "--ckpt_path", str(runs / "p")]) == 0
    assert main(["predict", "--ckpt_path", str(runs / "p"), "--data.path", str(runs / "empty_target.csv")]) == 0
    assert (runs / "p" / "predictions.csv").read_text().splitlines()[0] == "index,prediction,p_no,p_yes"


def test_predictions_show_the_targets_of_the_file(runs, tmp_path, capsys):
    out = tmp_path / "p.csv"
    file = str(runs / "stamp.csv")
    assert main(["predict", "--ckpt_path", str(runs / "stamp"), "--out", str(out)]) == 0
    rows = [line.split(",") for line in out.read_text().splitlines()[1:]]
    whole = [line.split(",")[2] for line in Path(file).read_text().splitlines()[1:]]
    assert len(rows) == 24
    assert all(float(row[2]) == float(whole[int(row[0])]) for row in rows)

"""Bad input: a sentence that names the culprit, exit status 2, nothing written."""

import shlex
from pathlib import Path

import pytest
import torch

from zoo.cli import main

FIT = "fit --model mlp --data digits "
SEE = "All options: zoo fit --model mlp --data digits --help\n"
CPUS = FIT + "--trainer.accelerator cpu --trainer.devices "
CSV = "fit --model mlp --data csv --data.path table.csv --data.target y "

CASES = {
    "no verb of ours": ("fti", "Did you mean 'fit'"),
    "misspelt option, no verb": ("--verison", "zoo: unknown option '--verison'. Did you mean '--version'?"),
    "no model": ("fit", "the model is missing; pass --model NAME"),
    "no data": ("fit --model mlp", "the data set is missing; pass --data NAME"),
    "unknown model": ("fit --model mpl --data digits", "Did you mean 'mlp'"),
    "unknown data": ("fit --model mlp --data dgits", "Did you mean 'digits'"),
    "unknown hyperparameter": (FIT + "--model.hiden_dims [3]", "Did you mean '--model.hidden_dims'"),
    "unknown data parameter": (FIT + "--data.batchsize 3", "Did you mean '--data.batch_size'"),
    "unknown trainer flag": (FIT + "--trainer.max_epoch 3", "Did you mean '--trainer.max_epochs'"),
    "unknown callback": (FIT + "--callbacks.early_stoping false", "Did you mean '--callbacks.early_stopping'"),
    "option by its last part": (FIT + "--lr 0.1", "unknown option '--lr'. Did you mean '--model.lr'? " + SEE),
    "hyphens": (FIT + "--batch-size 3", "unknown option '--batch-size'. Did you mean '--data.batch_size'? " + SEE),
    "epochs": (FIT + "--epochs=3", "unknown option '--epochs'. Did you mean '--trainer.max_epochs'? " + SEE),
    "epochs of a model": (FIT + "--model.epochs 3", "Did you mean '--trainer.max_epochs'? " + SEE),
    "seed option": (FIT + "--seed 3", "unknown option '--seed'. Did you mean '--seed_everything'? " + SEE),
    "gpus": (FIT + "--gpus 1", "Did you mean '--trainer.devices'? " + SEE),
    "device": (FIT + "--device cpu", "Did you mean '--trainer.accelerator'? " + SEE),
    "option of a callback": (FIT + "--patience 3", "Did you mean '--callbacks.early_stopping.patience'? " + SEE),
    "output": (FIT + "--output x", "Did you mean '--out'? " + SEE),
    "nothing near": (FIT + "--zzz", "unknown option '--zzz'. " + SEE),
    "option before the model is known": ("fit --dropout 0.1", "Did you mean '--model.dropout'? All options: zoo fit"),
    "option of other models": (
        "fit --model perceptron --data iris --hidden_dims [3]",
        "unknown option '--hidden_dims', and the similar '--model.hidden_dims' is an option of other models or data "
        "sets only. All options: zoo fit --model perceptron",
    ),
    "full name of an option of other models": (
        "fit --model perceptron --data iris --model.hidden_dims [3]",
        "unknown option '--model.hidden_dims', which is an option of other models or data sets only. All options: "
        "zoo fit --model perceptron",
    ),
    "option without its value": (FIT + "--out", "zoo fit: --out: expected one argument."),
    "hyperparameter without its value": (FIT + "--model.lr", "zoo fit: --model.lr: expected one argument"),
    "misspelt --ckpt_path": ("test --ckpt run", "Did you mean '--ckpt_path'? All options: zoo test --help"),
    "trainer flag in a config": (
        "fit --config flag.yaml",
        "unknown parameter of the trainer 'epochs'. Did you mean 'max_epochs'? " + SEE,
    ),
    "key of another section": (
        "fit --config elsewhere.yaml",
        "unknown parameter of model 'mlp' 'batch_size'. Did you mean 'data.batch_size'? " + SEE,
    ),
    "unknown activation": (FIT + "--model.activation rleu", "Did you mean 'relu'"),
    "unknown initializer": (FIT + "--model.initializer kaiming_norm", "Did you mean 'kaiming_normal'"),
    "unknown norm": (FIT + "--model.norm bach", "Did you mean 'batch'"),
    "unknown optimizer": (FIT + "--model.optimizer adm", "Did you mean 'adam'"),
    "unknown schedule": (FIT + "--model.schedule cosin", "Did you mean 'cosine'"),
    "unknown monitor": (
        FIT + "--callbacks.model_checkpoint.monitor val/acuracy",
        "unknown callbacks.model_checkpoint.monitor 'val/acuracy'. Did you mean 'val/accuracy'",
    ),
    "unknown metric": (FIT + "--callbacks.early_stopping.monitor val/acuracy", "Did you mean 'val/accuracy'"),
    "stray word": (FIT + "stray", "stray"),
    "wrong type": (FIT + "--model.lr abc", "model.lr must be of type float, got 'abc'"),
    "seed of a wrong type": (FIT + "--seed_everything abc", "seed_everything must be of type int, got 'abc'"),
    "name without its option": ("fit mlp", "unrecognized arguments: mlp. Options start with --, such as --data NAME."),
    "no list": (FIT + "--model.hidden_dims abc", "model.hidden_dims must be of type list[int], got 'abc'"),
    "wrong type in a list": (FIT + "--model.hidden_dims [a]", "model.hidden_dims"),
    "dropout": (FIT + "--model.dropout 1.5", "model.dropout must be in [0, 1), got 1.5"),
    "lr": (FIT + "--model.lr -0.1", "model.lr must be positive and finite, got -0.1"),
    "width": (FIT + "--model.hidden_dims [64,0]", "widths of at least 1, got 0"),
    "val_fraction": (FIT + "--data.val_fraction 1", "data.val_fraction"),
    "batch_size": (FIT + "--data.batch_size 0", "data.batch_size"),
    "train_size": (
        FIT + "--data.train_size 5000",
        "data.train_size must select between 1 and 1150 training rows, the number left after the validation and test "
        "splits, but selects 5000",
    ),
    "seed": (FIT + "--seed_everything -1", "seed_everything must not be negative"),
    "clip": (FIT + "--trainer.gradient_clip_val -1", "gradient_clip_val must not be negative"),
    "patience": (FIT + "--callbacks.early_stopping.patience -1", "patience"),
    "list of the wrong length": (
        FIT + "--model.dropout [0.1]",
        "model.dropout must be a single value or a list of 2 values, one per block; got a list of 1",
    ),
    "class weights": (
        FIT + "--model.class_weights [1,2]",
        "model.class_weights must have one weight for each of the 10 classes, got 2",
    ),
    "label smoothing": ("fit --model mlp --data diabetes --model.label_smoothing 0.1", "this is a regression"),
    "schedule without an end": (FIT + "--model.schedule cosine --trainer.max_epochs -1", "set --trainer.max_epochs"),
    "image model on a table": ("fit --model cnn --data iris", "cnn needs images"),
    "lightning refuses": (FIT + "--trainer.strategy nope", "invalid strategy"),
    "batch that two devices cannot share": (
        CPUS + "2 --data.batch_size 65",
        "must be divisible by the number of devices, 2, but it is 65",
    ),
    "the nearest that they can": (CPUS + "2 --data.batch_size 65", "use 64 or 66, or change trainer.devices"),
    "batch smaller than the devices": (
        CPUS + "4 --data.batch_size 3",
        "counts the samples of all devices together, so it must be divisible by the number of devices, 4",
    ),
    "rows too few for the devices": (
        CPUS + "4 --data.train_size 3 --model.norm null",
        "a batch of 3 is too small for 4",
    ),
    "batch norm among devices": (
        CPUS + "4 --data.batch_size 4 --model.norm batch",
        "each device needs at least one sample per batch, or two with batch norm",
    ),
    "batch norm over CPUs": (CPUS + "2 --trainer.sync_batchnorm true", "trainer.sync_batchnorm needs CUDA GPUs"),
    "fsdp on CPUs": (CPUS + "2 --trainer.strategy fsdp", "fsdp needs CUDA GPUs"),
    "nodes that nothing started": (CPUS + "1 --trainer.num_nodes 2", "start the run with torchrun or srun"),
    "config not there": (
        "fit --config nowhere.yaml",
        "the config file 'nowhere.yaml' does not exist; pass a YAML file, or the name of",
    ),
    "config with an unknown key": ("fit --config unknown.yaml", "Did you mean 'hidden_dims'"),
    "config with an unknown section": ("fit --config section.yaml", "Did you mean 'model'"),
    "config that is no mapping": ("fit --config list.yaml", "must contain a mapping with the sections"),
    "config that is no YAML": ("fit --config broken.yaml", "broken.yaml is not valid YAML: expected the node content"),
    "csv without path": ("fit --model mlp --data csv", "--data.path FILE"),
    "csv not there": (CSV.replace("table", "none"), "cannot read none.csv"),
    "csv without target column": (CSV.replace("target y", "target z"), "unknown column of table.csv 'z'"),
    "csv with text": (
        CSV + "--data.drop [gap,one]",
        "column 'city' must contain finite numbers, but row 1 contains 'Rome'",
    ),
    "csv with gaps": (CSV + "--data.drop [city,one]", "column 'gap' has 1 missing value, the first in row 2"),
    "csv with one class": (CSV.replace("target y", "target one") + "--data.drop [city,gap]", "only one class, '1'"),
    "empty csv": (CSV.replace("table", "empty"), "empty.csv is empty; pass a file"),
    "out is a file": (FIT + "--out table.csv", "--out table.csv is a file"),
    "no checkpoint given": ("test", "--ckpt_path FILE"),
    "checkpoint not there": (
        "test --ckpt_path none.ckpt",
        "the checkpoint none.ckpt does not exist; check --ckpt_path",
    ),
    "corrupt checkpoint": ("predict --ckpt_path corrupt.ckpt", "corrupt.ckpt was not loaded, because it is damaged"),
    "foreign checkpoint": ("validate --ckpt_path foreign.ckpt", "foreign.ckpt is not a checkpoint of ablation-zoo"),
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("unknown.yaml").write_text("model: {name: mlp, hiden_dims: [3]}\ndata: digits\n")
    Path("flag.yaml").write_text("model: mlp\ndata: digits\ntrainer: {epochs: 3}\n")
    Path("elsewhere.yaml").write_text("model: {name: mlp, batch_size: 3}\ndata: digits\n")
    Path("section.yaml").write_text("modle: mlp\ndata: digits\nmodel: mlp\n")
    Path("list.yaml").write_text("- 1\n- 2\n")
    Path("broken.yaml").write_text("model: {name: [\n")
    rows = [f"{'Rome' if i % 2 else 'Oslo'},{'' if i == 2 else i},{i},1,{i % 2}" for i in range(1, 20)]
    Path("table.csv").write_text("city,gap,x,one,y\n" + "\n".join(rows) + "\n")
    Path("empty.csv").write_text("")
    Path("corrupt.ckpt").write_bytes(b"PK\x03\x04 not really a zip")
    torch.save({"state_dict": {}}, "foreign.ckpt")


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_answered_with_a_sentence(case, capsys):
    command, sentence = CASES[case]
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert err.startswith(("zoo ", "zoo: "))
    assert "Traceback" not in err
    assert out == ""
    left = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert left == before
    assert not list(Path().rglob("*/*")), "a refused run leaves nothing"


def test_data_that_is_absent_while_the_network_is_too(monkeypatch, capsys):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert main(shlex.split("fit --model mlp --data fashion_mnist --data.root absent/folder")) == 2
    err = capsys.readouterr().err
    assert "FashionMNIST is not in absent/folder and could not be downloaded" in err
    assert "ZOO_DATA_DIR" in err
    assert not Path("absent").exists()


def test_a_checkpoint_refuses_data_of_another_shape(capsys):
    assert main(shlex.split("fit --model perceptron --data iris --trainer.max_epochs 1 --out run")) == 0
    assert main(shlex.split("test --ckpt_path run --data digits")) == 2
    assert (
        "trained on inputs of shape [4], but this data has shape [1, 8, 8]; pass data of the same shape"
        in capsys.readouterr().err
    )

import math

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from datamodules import create_datamodule
from zoo.trainer import quiet

FLAT, SMALL, COLOUR = (10,), (1, 8, 8), (3, 32, 32)
IMAGE_MODELS = ("cnn", "lenet5")

# Each registered model, as it comes and in its other forms.
FORMS = [(name, {}) for name in zoo.list_models()] + [
    ("mlp", {"hidden_dims": []}),
    ("mlp", {"hidden_dims": [32, 16, 8], "norm": ["batch", "layer", None], "dropout": [0.0, 0.1, 0.2]}),
    ("mlp", {"activation": "prelu", "initializer": "orthogonal"}),
    ("cnn", {"norm": "batch", "hidden_dims": [32], "dropout": 0.1, "conv_dropout": 0.1}),
    ("cnn", {"norm": "layer", "channels": [8, 8, 8], "kernel_size": [5, 3, 1], "pool": ["avg", None, "max"]}),
    ("cnn", {"channels": [4], "pool": None, "activation": "gelu"}),
    ("lenet5", {"activation": "relu", "pool": "max"}),
]
SHAPES = [
    (name, hparams, shape)
    for name, hparams in FORMS
    for shape in (FLAT, SMALL, COLOUR)
    if name not in IMAGE_MODELS or len(shape) == 3
]


def label(value):
    return str(value) if isinstance(value, dict | tuple) else None


def make(name, hparams, shape, num_classes):
    torch.manual_seed(0)
    return zoo.create_model(name, input_shape=shape, num_classes=num_classes, **hparams)


def batch(shape, num_classes, n=6):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, *shape, generator=generator)
    return x, torch.randn(n, generator=generator) if num_classes == 1 else torch.arange(n) % num_classes


@pytest.mark.parametrize("num_classes", [1, 2, 7])
@pytest.mark.parametrize(("name", "hparams", "shape"), SHAPES, ids=label)
def test_a_batch_gives_logits_a_finite_loss_and_gradients_to_every_parameter(name, hparams, shape, num_classes):
    model = make(name, hparams, shape, num_classes)
    x, y = batch(shape, num_classes)
    assert model(x).shape == (6, num_classes)
    loss = model.training_step((x, y), 0)
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        if parameter_name.endswith("weight"):
            assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize(("name", "hparams"), FORMS, ids=label)
def test_no_activation_stands_on_the_logits(name, hparams):
    model = make(name, hparams, SMALL, 4).eval()
    *_, last = (m for m in model.net.modules() if not list(m.children()))
    assert isinstance(last, nn.Linear)
    x, _ = batch(SMALL, 4)
    shift = torch.tensor([5.0, -5.0, 0.0, 1.0])
    before = model(x)
    last.bias.data += shift
    torch.testing.assert_close(model(x), before + shift)


@pytest.mark.parametrize(("name", "hparams"), FORMS, ids=label)
def test_a_checkpoint_of_a_lightning_trainer_gives_identical_logits(tmp_path, name, hparams):
    model = make(name, {**hparams, "lr": 0.01}, SMALL, 10)
    data = create_datamodule("digits", train_size=64, batch_size=16)
    flags = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_steps=3, limit_val_batches=0, enable_checkpointing=False, **flags)
    with quiet():
        trainer.fit(model, datamodule=data)
        trainer.save_checkpoint(tmp_path / "x.ckpt")
    loaded = zoo.load(str(tmp_path / "x.ckpt"))
    x, _ = data.arrays("test")
    assert type(loaded) is type(model)
    assert dict(loaded.hparams) == dict(model.hparams)
    assert loaded.data_card["class_names"] == list("0123456789")
    with torch.no_grad():
        assert torch.equal(loaded(x), model.eval()(x))


@pytest.mark.parametrize(("name", "hparams"), FORMS, ids=label)
def test_the_loss_falls_clearly_below_ln_c_in_a_few_steps_on_one_batch(name, hparams):
    data = create_datamodule("digits", train_size=64)
    x, y = data.arrays("train")
    model = make(name, hparams, SMALL, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        model.training_step((x, y), 0).backward()
        optimizer.step()
    with torch.no_grad():
        assert F.cross_entropy(model.eval()(x), y) < 0.5 * math.log(10)


@pytest.mark.parametrize("shape", [(10,), (8, 8), (1, 2, 8, 8)])
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_image_models_refuse_what_is_no_image(name, shape):
    with pytest.raises(ValueError, match=rf"{name} needs images of shape \(channels, height, width\)"):
        make(name, {}, shape, 2)


@pytest.mark.parametrize(
    ("name", "hparams", "shape", "num_classes", "count"),
    [
        ("robust_mlp", {}, FLAT, 3, 5315),
        ("lenet5", {}, (1, 28, 28), 10, 61_706),
        ("lenet5", {}, (1, 32, 32), 10, 61_706),
        ("mlp", {}, FLAT, 3, (10 + 1) * 64 + 65 * 64 + 65 * 3),
        ("mlp", {"hidden_dims": [64]}, FLAT, 1, 11 * 64 + 65),
        ("perceptron", {}, FLAT, 3, 33),
        ("cnn", {}, (1, 28, 28), 10, 10 * 32 + (9 * 32 + 1) * 64 + (64 * 7 * 7 + 1) * 10),
    ],
    ids=label,
)
def test_parameters_are_as_many_as_the_formula_says(name, hparams, shape, num_classes, count):
    assert sum(p.numel() for p in make(name, hparams, shape, num_classes).parameters()) == count


def test_lists_of_norm_and_dropout_give_the_chapters_fraud_net():
    hparams = {"hidden_dims": [64, 32, 16], "norm": ["batch", "batch", None], "dropout": [0.0, 0.3, 0.3]}
    layers = list(make("mlp", hparams, (20,), 2).net)[1:]
    first, second = (nn.Linear, nn.BatchNorm1d, nn.ReLU), (nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout)
    assert [type(m) for m in layers] == [*first, *second, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [m.out_features for m in layers if isinstance(m, nn.Linear)] == [64, 32, 16, 2]
    assert [m.p for m in layers if isinstance(m, nn.Dropout)] == [0.3, 0.3]


def test_robust_mlp_is_the_chapters():
    layers = list(make("robust_mlp", {}, FLAT, 3).net)[1:]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert [type(m) for m in layers] == [*block, *block, nn.Linear]
    assert {m.p for m in layers if isinstance(m, nn.Dropout)} == {0.3}
    assert make("robust_mlp", {}, FLAT, 3).hparams["initializer"] == "kaiming_normal"


@pytest.mark.parametrize(
    ("name", "hparams", "sentence"),
    [
        ("mlp", {"hidden_dims": [8, 0]}, r"model\.hidden_dims must contain widths of at least 1, got 0"),
        ("mlp", {"dropout": 1.5}, r"model\.dropout must be in \[0, 1\), got 1\.5"),
        ("cnn", {"conv_dropout": 1.5}, r"model\.conv_dropout must be in \[0, 1\), got 1\.5"),
        ("cnn", {"dropout": 1.5, "hidden_dims": [4]}, r"model\.dropout must be in \[0, 1\), got 1\.5"),
        ("cnn", {"channels": [4, 0]}, r"model\.channels must contain widths of at least 1, got 0"),
        ("cnn", {"hidden_dims": [0]}, r"model\.hidden_dims must contain widths of at least 1, got 0"),
        (
            "cnn",
            {"kernel_size": [3]},
            r"model\.kernel_size must be a single value or a list of 2 values, one per block; got a list of 1",
        ),
        (
            "cnn",
            {"pool": ["max"]},
            r"model\.pool must be a single value or a list of 2 values, one per block; got a list of 1",
        ),
        (
            "mlp",
            {"norm": ["batch"]},
            r"model\.norm must be a single value or a list of 2 values, one per block; got a list of 1",
        ),
        (
            "mlp",
            {"dropout": [0.1]},
            r"model\.dropout must be a single value or a list of 2 values, one per block; got a list of 1",
        ),
        ("mlp", {"norm": "bacth"}, r"unknown norm 'bacth'\. Did you mean 'batch'"),
        ("mlp", {"activation": "gleu"}, r"unknown activation 'gleu'\. Did you mean 'gelu'"),
        ("mlp", {"lr": -0.1}, r"model\.lr must be positive and finite, got -0\.1"),
        ("mlp", {"lr": math.nan}, r"model\.lr must be positive"),
        ("mlp", {"momentum": 1.0}, r"model\.momentum must be in \[0, 1\)"),
        ("mlp", {"weight_decay": -1.0}, r"model\.weight_decay must not be negative"),
        ("mlp", {"warmup_epochs": -1}, r"model\.warmup_epochs must not be negative"),
        ("mlp", {"step_size": 0}, r"model\.step_size must be at least 1"),
        ("mlp", {"gamma": 1.0}, r"model\.gamma must be between 0 and 1"),
        ("mlp", {"plateau_patience": -1}, r"model\.plateau_patience must not be negative"),
        ("mlp", {"label_smoothing": 1.0}, r"model\.label_smoothing must be in \[0, 1\)"),
        ("mlp", {"optimizer": "adamm"}, r"unknown optimizer 'adamm'\. Did you mean 'adam"),
        ("mlp", {"schedule": "cosin"}, r"unknown schedule 'cosin'\. Did you mean 'cosine'"),
        ("mlp", {"class_weights": "balance"}, r"unknown class_weights 'balance'\. Did you mean 'balanced'"),
        (
            "mlp",
            {"class_weights": [1.0, 2.0]},
            r"model\.class_weights must have one weight for each of the 3 classes, got 2",
        ),
        (
            "mlp",
            {"class_weights": [1.0, 2.0, -1.0]},
            r"model\.class_weights must be finite and non-negative, and not all zero",
        ),
        ("mlp", {"num_classes": 0}, r"num_classes must be at least 1"),
        (
            "mlp",
            {"num_classes": 1, "label_smoothing": 0.1},
            r"label_smoothing is only for classification, but this is a regression",
        ),
        ("mlp", {"input_shape": ()}, r"input_shape must contain positive sizes"),
        ("cnn", {"channels": []}, r"model\.channels must contain at least one value"),
        ("cnn", {"kernel_size": 4}, r"model\.kernel_size must be odd"),
        ("cnn", {"pool": "mean"}, r"unknown pool 'mean'"),
        (
            "cnn",
            {"channels": [4] * 4},
            r"model\.channels has too many pooled blocks for images of size \(8, 8\); use fewer",
        ),
        ("lenet5", {"pool": "maxx"}, r"unknown pool 'maxx'\. Did you mean 'max'"),
        ("perceptron", {"hidden_dims": [3]}, r"unknown parameter of model 'perceptron' 'hidden_dims'"),
    ],
    ids=label,
)
def test_bad_hyperparameters_get_a_sentence(name, hparams, sentence):
    with pytest.raises(ValueError, match=sentence):
        zoo.create_model(name, **{"input_shape": SMALL, "num_classes": 3, **hparams})

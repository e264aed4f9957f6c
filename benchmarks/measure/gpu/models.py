"""Each registered model, trained by Lightning on the GPU and on the CPU."""

from torch import nn

import zoo
from datamodules.loader import has_batch_norm
from datamodules.parameters import parameters
from zoo.models.registry import MODELS
from zoo.plain import Config

from .rows import Findings
from .setting import ACCURACY, LOSSES, LOSSES_BATCH_NORM, LOSSES_TF32, Setting, losses_apart, without_tf32

EPOCHS = 5
LONGER = 15  # of nets with dropout, whose accuracies are compared
# Other parts of a training step, each with a net without random draws.
OTHERS: dict[str, tuple[Config, str]] = {
    "mlp on diabetes, a regression": ({"name": "mlp"}, "diabetes"),
    "mlp with layer norm, label smoothing and balanced classes": (
        {"name": "mlp", "norm": "layer", "label_smoothing": 0.1, "class_weights": "balanced"},
        "digits",
    ),
    "mlp with SGD and warmup_cosine": (
        {"name": "mlp", "optimizer": "sgd", "lr": 0.05, "schedule": "warmup_cosine", "warmup_epochs": 1},
        "digits",
    ),
}


def check(found: Findings, at: Setting) -> None:
    """Compare losses of each model without dropout, and the accuracy of those that come with it."""
    for name in sorted(MODELS.names()):
        with found.attempt(name):
            _compare_model(found, at, name)
    for name, (model, data) in OTHERS.items():
        with found.attempt(name):
            if not at.small:
                _compare_losses(found, at, name, model, data)


def _compare_model(found: Findings, at: Setting, name: str) -> None:
    dropout = parameters(MODELS.load(name)).get("dropout")
    model: Config = {"name": name} | ({} if dropout is None else {"dropout": 0.0})
    net = zoo.create_model(**model, input_shape=(1, 8, 8), num_classes=10)
    if any(isinstance(layer, nn.Conv2d) for layer in net.modules()):
        with without_tf32():
            _compare_losses(found, at, f"{name}, without TF32", model)
        if not at.small:
            _compare_losses(found, at, f"{name}, with TF32", model, limit=LOSSES_TF32)
    else:
        _compare_losses(found, at, name, model, limit=LOSSES_BATCH_NORM if has_batch_norm(net) else LOSSES)
    if dropout is not None and dropout.default and not at.small:
        values = [at.fit(at.config({"name": name}, epochs=LONGER, accelerator=a))[0] for a in (at.accelerator, "cpu")]
        own, cpu = (result.metrics["test/accuracy"] or 0.0 for result in values)
        note = f"test accuracy {own:.4f} on the {at.name}, {cpu:.4f} on the CPU after {LONGER} epochs"
        found.compare(f"{name} with its dropout: accuracy", abs(own - cpu), ACCURACY, note)


def _compare_losses(
    found: Findings, at: Setting, name: str, model: Config, data: str = "digits", limit: float = LOSSES
) -> None:
    own, curves, _ = at.fit(at.config(model, data, EPOCHS))
    cpu, expected, _ = at.fit(at.config(model, data, EPOCHS, accelerator="cpu"))
    note = (
        f"{own.epochs_run} epochs in {own.train_seconds:.2f} s on the {at.name}, {cpu.train_seconds:.2f} s on the CPU"
    )
    found.compare(f"{name}: losses", losses_apart(curves, expected), limit, note)

"""The text of docs/errata.md."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from . import figures, training_loop

BATCH_SIZES = (32, 200)


class Erratum(NamedTuple):
    """One erratum.

    Attributes:
        where: Place in the chapter.
        printed: Rows of a table: quantity, printed value, correct value.
        how: How the correct value was computed.
        why: Origin of the wrong value, or its consequences.
    """

    where: str
    printed: Sequence[tuple[str, str, str]]
    how: str
    why: str


def page() -> str:
    """The whole page."""
    errata = [numpy_mlp(), robust_mlp(), training_loop_run(), vanishing_gradients(), xavier()]
    parts = [
        "# Errata of the chapter",
        "Figures in the textbook chapter that its own code does not reproduce, and two statements that need a "
        "condition. Nothing in this project is tuned to match a wrong figure. The values in the column *right* are "
        "computed by `python -m benchmarks.book.errata`, which writes this page. `tests/zoo/test_chapter_numbers.py` "
        "tests the same functions.",
    ]
    for erratum in errata:
        table = ["| | printed | right |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in erratum.printed)]
        parts += [f"## {erratum.where}", "\n".join(table), f"Computed: {erratum.how}", erratum.why]
    return "\n\n".join(parts) + "\n"


def numpy_mlp() -> Erratum:
    """The forward pass of the NumPy example."""
    hidden, output = figures.numpy_mlp()
    winner = int(output.argmax())
    return Erratum(
        "The NumPy MLP's forward pass",
        [
            ("hidden layer", "0, 1.085, 0, 0.257", _listed(hidden)),
            ("output", "0.397, 0.603", _listed(output)),
        ],
        "the example's weights (`np.random.seed(42)`, 3-4-2, times 0.5, biases 0) in the zoo's `mlp`, on (1, 2, 3), "
        "ReLU, then softmax (`figures.numpy_mlp`).",
        f"Class {winner} wins in both cases. The origin of the printed figures is unknown.",
    )


def robust_mlp() -> Erratum:
    """The parameters of RobustMLP."""
    total, norms = figures.robust_mlp_parameters()
    return Erratum(
        "RobustMLP's parameters",
        [("parameters, for 10 inputs, two layers of 64, 3 outputs", "5,059", f"{total:,}")],
        "all parameters of the zoo's `robust_mlp` counted (`figures.robust_mlp_parameters`).",
        f"{total - norms:,} omits the {norms} weights and biases of the two batch norms, which are trained as well.",
    )


def training_loop_run() -> Erratum:
    """The printed run of the training loop."""
    before, after = training_loop.learning_rates(2)
    square = float(training_loop.noise()[3].square().mean())
    runs = [training_loop.run(batch_size) for batch_size in BATCH_SIZES]
    best, epochs = torch.cat([run.best for run in runs]), torch.cat([run.epochs for run in runs])
    eighteen = int(((epochs == 18) | (epochs == 19)).sum())
    sizes = " or ".join(str(size) if size < 200 else "all" for size in BATCH_SIZES)
    rates = f"{before[0]:.6f} before the schedule's step, {after[0]:.6f} after it"
    return Erratum(
        "The training loop's printed run",
        [
            ("best validation loss", "1.0492", f"{best.min():.2f} to {best.max():.2f}"),
            ("epochs run before it stops", "18", f"{int(epochs.min())} to {int(epochs.max())}"),
            ("learning rate at epoch 0", "0.000998", rates),
        ],
        f"{len(best):,} runs on the 200 training and 50 validation points that seed 42 draws, {len(best) // len(runs)} "
        f"initial weights of Linear(10, 64) > ReLU > Linear(64, 1) each in batches of {sizes}; Adam at 1e-3, "
        "CosineAnnealingLR(T_max=50), clipping at norm 1, patience 5 (`training_loop.run`, `learning_rates`).",
        "The model is built before the seed is set, so the initial weights of the printed run are unknown; the data "
        "are known. Targets are noise. Predicting 0 everywhere gives the mean square of the validation targets, "
        f"{square:.3f}, so a loss of 1.0492 is out of reach. Stopping at epoch 18 is possible: {eighteen} of these "
        f"runs had 18 or 19 epochs. With T_max = 50 no epoch has the printed rate; the next one is {after[1]:.6f}.",
    )


def vanishing_gradients() -> Erratum:
    """Case study 2, whose figure depends on the initial weights."""
    sigmoid = "deep_sigmoid_mlp"
    rows = [
        ("sigmoid, torch's default initializer", "below 1e-10", figures.first_gradients(sigmoid)),
        ("sigmoid, Xavier", "below 1e-10", figures.first_gradients(sigmoid, initializer="xavier_normal")),
        (
            "sigmoid, weights N(0, 1)",
            "below 1e-10",
            figures.first_gradients(sigmoid, initializer="normal", init_scale=1.0),
        ),
        ("ReLU, Kaiming", "", figures.first_gradients("deep_relu_mlp", norm=None)),
        ("ReLU, Kaiming, batch norm", "above 1e-4", figures.first_gradients("deep_relu_mlp")),
    ]
    return Erratum(
        "Vanishing gradients in 12 sigmoid layers (case study 2)",
        [(what, printed, _range(gradient.mean for gradient in gradients)) for what, printed, gradients in rows],
        "the mean absolute gradient of the first layer's weights in fresh nets of 12 fully connected layers, 128 units "
        f"wide, with 15 classes, on 64 inputs N(0, 1) of 64 features, {figures.N_DRAWS} draws of weights and inputs "
        "each (`figures.first_gradients`); the chapter's texts are private.",
        "The statement depends on the initializer: it is true for torch's default, nearly true for Xavier, and false "
        "for weights N(0, 1), which are large enough to compensate for saturated sigmoids. It also depends on the "
        f"measure: with torch's default, the norm of the gradient is {_range(g.norm for g in rows[0][2])}. ReLU with "
        "Kaiming initialization is enough; batch norm increases the gradient further.",
    )


def xavier() -> Erratum:
    """Two conventions under one name."""
    n_in, n_out = 400, 100
    stds = figures.xavier_stds(n_in, n_out)
    return Erratum(
        "Xavier initialization",
        [
            (
                f"standard deviation of weights, {n_in} inputs and {n_out} outputs",
                f"1/√n_in = {n_in**-0.5:.4f}",
                f"√(2/(n_in + n_out)) = {(2 / (n_in + n_out)) ** 0.5:.4f}",
            )
        ],
        f"drawn by `xavier_normal` ({stds['xavier_normal']:.4f}) and by `xavier_fan_in_normal` "
        f"({stds['xavier_fan_in_normal']:.4f}) (`figures.xavier_stds`).",
        "A convention rather than an error: deeplearning.ai and Caffe call 1/√n_in Xavier, while Glorot & Bengio "
        "(2010, eq. 12 and 16) and torch use √(2/(n_in + n_out)). In square layers both are the same. The zoo has "
        "both: `xavier_...` as published, and `xavier_fan_in_...` as in the chapter.",
    )


def _range(values: Iterable[float]) -> str:
    low, *_, high = sorted(values)
    return f"{low:.0e} to {high:.0e}"


def _listed(values: Iterable[float]) -> str:
    return ", ".join("0" if value == 0 else f"{value:.3f}" for value in values)

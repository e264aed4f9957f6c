"""A scikit-learn user: MLPClassifier on all cores, without batch norm, dropout, clipping, schedule or best epoch.

python -m benchmarks.measure.peers.sklearn_mlp --activations relu tanh --seeds 10 --epochs 30
"""

import warnings

from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from . import Options, digits, read_options, report

NAMES = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic", "identity": "identity"}


def trial(activation: str, seed: int, options: Options) -> float:
    """Train all epochs and test the last."""
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    (x, y), _, test = digits(seed)
    model = MLPClassifier(
        tuple(options.hidden),
        activation=NAMES[activation],
        batch_size=64,
        max_iter=options.epochs,
        n_iter_no_change=options.epochs + 1,  # never stops early
        alpha=0.0,
        random_state=seed,
    )
    return model.fit(x, y).score(*test)


if __name__ == "__main__":
    options, activations, seeds = read_options()
    jobs = [(name, seed) for name in activations for seed in range(seeds)]
    scores = Parallel(n_jobs=-1)(delayed(trial)(name, seed, options) for name, seed in jobs)
    report(activations, seeds, [scores[k * seeds : (k + 1) * seeds] for k in range(len(activations))])

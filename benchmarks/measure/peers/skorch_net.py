"""A skorch user: `NeuralNetClassifier` with callbacks that make it comparable; requires `pip install skorch`.

python -m benchmarks.measure.peers.skorch_net --activations relu tanh --seeds 3 --epochs 30
"""

import tempfile

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, GradientNormClipping, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from . import Options, digits, loop
from .torch_net import make_net


def trial(activation: str, seed: int, options: Options) -> float:
    """Train, restore the best epoch, and test it."""
    torch.manual_seed(seed)
    (x, y), val, test = digits(seed)
    with tempfile.TemporaryDirectory() as folder:
        net = NeuralNetClassifier(
            make_net(activation, options),
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=1e-3,
            max_epochs=options.epochs,
            batch_size=64,
            iterator_train__shuffle=True,
            train_split=predefined_split(Dataset(*val)),
            callbacks=[
                GradientNormClipping(1.0),
                LRScheduler("CosineAnnealingLR", T_max=options.epochs),
                Checkpoint(monitor="valid_loss_best", dirname=folder, load_best=True),
            ],
            verbose=0,
        )
        return float(net.fit(x, y).score(*test))


if __name__ == "__main__":
    torch.set_num_threads(1)
    loop(trial)

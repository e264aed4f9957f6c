"""A careful Lightning user: one `Trainer.fit` per trial, with the usual callbacks, a CSV logger and DataLoaders.

python -m benchmarks.measure.peers.lightning_loop --activations relu tanh --seeds 3 --epochs 30
"""

import logging
import tempfile
import warnings
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from . import Options, digits, loop
from .torch_net import make_net


class Classifier(L.LightningModule):
    """A net with Adam and cosine decay, measured by torchmetrics."""

    def __init__(self, activation: str, options: Options) -> None:
        super().__init__()
        self.net = make_net(activation, options)
        self.epochs = options.epochs
        self.val_accuracy = MulticlassAccuracy(10, average="micro")
        self.test_accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Cross entropy of a batch."""
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and accuracy."""
        logits = self.net(batch[0])
        self.val_accuracy(logits, batch[1])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_accuracy", self.val_accuracy)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Accuracy."""
        self.test_accuracy(self.net(batch[0]), batch[1])
        self.log("test_accuracy", self.test_accuracy)

    def configure_optimizers(self) -> Any:
        """Adam, cosine decay by epoch."""
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)]


def trial(activation: str, seed: int, options: Options) -> float:
    """Train, restore the best epoch, and test it."""
    L.seed_everything(seed, verbose=False)
    train, val, test = (TensorDataset(torch.from_numpy(x), torch.from_numpy(y)) for x, y in digits(seed))
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            EarlyStopping("val_loss", patience=options.epochs),  # never stops early
            LearningRateMonitor(),
            ModelCheckpoint(folder, monitor="val_loss"),
        ]
        trainer = L.Trainer(
            max_epochs=options.epochs,
            accelerator="cpu",
            gradient_clip_val=1.0,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=CSVLogger(folder),
            callbacks=callbacks,
        )
        model = Classifier(activation, options)
        trainer.fit(model, DataLoader(train, 64, shuffle=True), DataLoader(val, 64))
        return trainer.test(model, DataLoader(test, 64), ckpt_path="best", verbose=False)[0]["test_accuracy"]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    loop(trial)

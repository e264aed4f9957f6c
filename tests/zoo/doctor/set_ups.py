"""Models and data, sound and faulty, for the tests of `zoo doctor`."""

from collections.abc import Callable

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from datamodules.tabular import Digits
from zoo.doctor import Finding, examine
from zoo.models.base import ZooModule

DEEP = [32] * 11


class Raw(Digits):
    """Grey values from 0 to 16, as they come."""

    def setup(self, stage: str | None = None) -> None:
        fresh = not self._arrays
        super().setup(stage)
        if fresh:
            self._arrays = {split: (x * 6.0 + 4.9, y) for split, (x, y) in self._arrays.items()}


class Shuffled(Digits):
    """Labels that have nothing to do with the images."""

    def load(self):
        source = super().load()
        order = torch.randperm(len(source.y), generator=torch.Generator().manual_seed(3)).numpy()
        return type(source)(source.x, source.y[order], source.class_names)


def mlp(**hparams) -> ZooModule:
    torch.manual_seed(0)
    return zoo.create_model("mlp", input_shape=(1, 8, 8), num_classes=10, **{"hidden_dims": [32, 32], **hparams})


def changed(change: Callable[[nn.Sequential], object], **hparams) -> ZooModule:
    model = mlp(**hparams)
    with torch.no_grad():
        change(model.net)
    return model


def look(check: str, model: L.LightningModule, data: L.LightningDataModule, **options) -> Finding:
    findings = examine(model, data, checks=(check,), **options)
    assert [finding.check for finding in findings] == ["forward", check]
    return findings[1]


class Functional(L.LightningModule):
    """A net whose forward calls functions, and whose training step is its own."""

    def __init__(self, act=F.relu, before=nn.Identity(), last=nn.Identity(), first=0.0, scale=1.0):  # noqa: B008
        super().__init__()
        torch.manual_seed(0)
        self.one, self.norm, self.two = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 10)
        nn.init.constant_(self.norm.bias, first)
        nn.init.constant_(self.norm.weight, scale)
        self.act, self.before, self.last = act, before, last

    def forward(self, x):
        return self.two(self.act(self.norm(self.before(self.one(x.flatten(1))))))

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.last(self(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)

"""What cannot be packed says why, and how large a pack may become."""

import pytest
from torch import nn

import zoo
from datamodules import create_datamodule
from tests.zoo.pack.pack_runs import BASE, config
from zoo import train
from zoo.config import merge, resolve
from zoo.pack import largest_pack, reason_to_run_alone
from zoo.pack.shape import blocks_of

# --- what cannot be packed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"model": {"name": "cnn"}, "data": {"name": "digits"}}, "Conv2d cannot be stacked"),
        ({"model": {"name": "lenet5"}, "data": {"name": "digits"}}, "ZeroPad2d cannot be stacked"),
        ({"trainer": {"precision": "bf16-mixed"}}, "trainer.precision is given"),
        ({"trainer": {"devices": 2}}, "other devices"),
        ({"trainer": {"max_epochs": -1}}, "trainer.max_epochs is not a positive number"),
        ({"trainer": {"accumulate_grad_batches": 2}}, "trainer.accumulate_grad_batches is given"),
    ],
)
def test_what_cannot_be_packed_says_why(over, reason):
    given = resolve(merge(BASE, over))
    assert reason in reason_to_run_alone(given, *train.prepare(given))


def test_a_model_with_steps_of_its_own_runs_alone():
    class Mine(zoo.ZooModule):
        def __init__(self, input_shape, num_classes):
            super().__init__(input_shape, num_classes)
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(13, num_classes))

        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx)

    data = create_datamodule("wine", seed=0)
    data.setup()
    assert "its class defines training_step" in reason_to_run_alone(config(), Mine((13,), 3), data)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.Linear(4, 3), nn.LeakyReLU(0.3)], "LeakyReLU cannot be stacked"),
        ([nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3)], "BatchNorm1d cannot be stacked"),
        ([nn.Linear(4, 3), nn.Dropout(1.0)], "Dropout cannot be stacked"),
        ([layer := nn.Linear(4, 4), nn.ReLU(), layer], "share weights"),
        ([nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=0.5)], "BatchNorm1d cannot be stacked"),
        ([nn.Linear(4, 3), nn.Dropout(0.1), nn.ReLU()], "ReLU cannot be stacked"),
        ([nn.ReLU(), nn.Linear(4, 3)], "ReLU cannot be stacked"),
        ([nn.Linear(4, 3).double()], "frozen or not float32"),
        ([nn.Linear(4, 3).requires_grad_(False)], "frozen"),
        ([nn.Linear(4, 3), nn.Flatten()], "has a Flatten between its layers"),
        ([nn.Flatten()], "no linear layer"),
    ],
)
def test_other_nets_are_not_stacked(layers, reason):
    assert reason in blocks_of(nn.Sequential(*layers))


def test_hooks_keep_a_net_out():
    net = nn.Sequential(nn.Linear(4, 3))
    net[0].register_forward_hook(lambda *args: None)
    assert "cannot be stacked" in blocks_of(net)


def test_what_pays_and_what_fits_bound_a_pack():
    small, wide = (blocks_of(nn.Sequential(nn.Linear(w, w), nn.ReLU(), nn.Linear(w, 10))) for w in (32, 2048))
    assert largest_pack(small, batch_size=64, n_rows=1000) == 100
    assert largest_pack(wide, batch_size=64, n_rows=1000) == 1
    assert largest_pack(small, batch_size=64, n_rows=1_000_000) == 8  # of 128 MB each, twice
    assert largest_pack(small, batch_size=50_000, n_rows=1000) < 2
    assert largest_pack(small, batch_size=64, n_rows=10**9) == 1

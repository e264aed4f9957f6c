"""A bare PyTorch loop over sliced tensors: no checkpoints, no logs, accuracy only at the end.

python -m benchmarks.measure.peers.bare_loop --activations relu tanh --seeds 3 --epochs 30
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import Options, digits, loop
from .torch_net import make_net


def train(net: nn.Module, x: Tensor, y: Tensor, epochs: int, batch_size: int = 64) -> None:
    """Adam with cosine decay and clipping on shuffled batches. x: (N, F), y: (N,)."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        schedule.step()


def trial(activation: str, seed: int, options: Options) -> float:
    """Train all epochs and test the last."""
    torch.manual_seed(seed)
    (x, y), _, (x_test, y_test) = ((torch.from_numpy(x), torch.from_numpy(y)) for x, y in digits(seed))
    net = make_net(activation, options)
    train(net, x, y, options.epochs)
    with torch.no_grad():
        return float((net.eval()(x_test).argmax(1) == y_test).float().mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    loop(trial)

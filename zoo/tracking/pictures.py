"""Pictures of a classifier's mistakes: a confusion matrix and, for image data, the worst mistakes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.base import ArrayDataModule

from ..models.base import ZooModule

SPLIT = "val"  # mistakes are used to improve models, so they must not come from the test split
WORST = 25
SMALLEST = 96  # minimum side in pixels; digits are 8 x 8
MOST_CLASSES = 100  # of a confusion matrix, which has the square of this number of cells


def pictures(model: ZooModule, data: ArrayDataModule) -> dict[str, Any]:
    """Create W&B pictures of a classifier's mistakes on validation; empty for a regression.

    Args:
        model: The model, with trained weights.
        data: Its data.
    """
    names = data.class_names
    if names is None:
        return {}
    import wandb

    x, y = data.arrays(SPLIT)
    log_p = _log_probabilities(model, x)
    predicted, targets = log_p.argmax(1), y.cpu()
    shown: dict[str, Any] = {}
    if len(names) <= MOST_CLASSES:
        shown[f"{SPLIT}/confusion_matrix"] = wandb.plot.confusion_matrix(
            y_true=targets.tolist(),
            preds=predicted.tolist(),
            class_names=[str(name) for name in names],
            title=f"{len(targets):,} rows of the validation split",
        )
    if x.ndim == 4:
        worst = worst_mistakes(log_p, targets)
        images = grey_values(x[worst].cpu().numpy(), data.card()["normalisation"])
        captions = [
            f"{names[targets[i]]}, predicted {names[predicted[i]]} (p = {log_p[i, predicted[i]].exp():.2f})"
            for i in worst
        ]
        if len(worst):
            shown[f"{SPLIT}/worst_mistakes"] = [
                wandb.Image(image, caption=caption) for image, caption in zip(images, captions, strict=True)
            ]
    return shown


def worst_mistakes(log_p: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Indices of misclassified rows, those with the lowest probability of the true class first; at most `WORST`.

    Args:
        log_p: Log-probabilities, (N, C).
        targets: Classes, (N,).
    """
    own = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    wrong = (log_p.argmax(1) != targets).nonzero().squeeze(1)
    return wrong[own[wrong].argsort(stable=True)][:WORST]


def grey_values(x: NDArray, normalisation: dict[str, Any]) -> list[NDArray[np.uint8]]:
    """Convert normalised images (N, C, H, W) to uint8 pictures (H, W, C) or (H, W), rescaled and enlarged."""
    mean, std = (np.asarray(normalisation[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
    found = []
    for image in x * std + mean:
        low, high = image.min(), image.max()
        grey = np.round((image - low) / (high - low or 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        times = -(-SMALLEST // min(grey.shape[:2]))
        large = grey.repeat(times, 0).repeat(times, 1)
        found.append(large[..., 0] if large.shape[2] == 1 else large)
    return found


def _log_probabilities(model: ZooModule, x: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of a model, (N, C), on the CPU; the model is not changed."""
    weights, mode = next(model.parameters()), model.training
    kind = weights.dtype if x.is_floating_point() else x.dtype  # such as float64 after --trainer.precision 64-true
    model.eval()
    with torch.no_grad():
        parts = [model(part.to(weights.device, kind)).float().log_softmax(1).cpu() for part in x.split(1024)]
    model.train(mode)
    return torch.cat(parts)

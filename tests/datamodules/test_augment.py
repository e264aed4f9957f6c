import pytest
import torch

from datamodules.augment import Augment

H, W = 6, 8


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=200, channels=2):
    """Images whose every pixel is another number."""
    return torch.arange(n * channels * H * W).view(n, channels, H, W).float()


@pytest.mark.parametrize("options", [(2, 0, False), (0, 2, False), (0, 0, True), (2, 1, True), (0, 0, False)])
def test_shape_stays_the_input_is_left_alone_and_the_generator_decides(options):
    augment, x = Augment(*options, black=[0.0, 0.0]), images()
    one, again, other = (augment(x, generator(seed)) for seed in (1, 1, 2))
    assert one.shape == x.shape
    assert torch.equal(x, images())
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (options == (0, 0, False))


def test_flip_mirrors_about_half_of_the_images_left_to_right_and_leaves_the_rest():
    x = images(1000)
    out = Augment(0, 0, True, black=[0.0, 0.0])(x, generator())
    same = (out == x).flatten(1).all(1)
    mirrored = (out == x.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 400 < mirrored.sum() < 600  # 500 ± 6 standard deviations


def test_shift_moves_each_image_by_its_own_step_and_fills_with_black():
    black = [-1.0, -2.0]
    x = images(500) + 1
    out = Augment(2, 0, False, black=black)(x, generator())
    canvas = torch.tensor(black).view(1, 2, 1, 1).expand(500, 2, H + 4, W + 4).clone()
    canvas[:, :, 2:-2, 2:-2] = x
    windows = {(i, j): canvas[:, :, i : i + H, j : j + W] for i in range(5) for j in range(5)}
    hits = torch.stack([((out - w).abs() < 0.01).flatten(1).all(1) for w in windows.values()])
    assert (hits.sum(0) == 1).all()  # each image is one window of its own canvas ...
    assert hits.any(1).all()  # ... and all 25 places come up


def test_crop_cuts_from_the_image_mirrored_over_its_borders():
    x = images(500)
    out = Augment(0, 2, False, black=[0.0, 0.0])(x, generator())
    rows = [2, 1, *range(H), H - 2, H - 3]
    columns = [2, 1, *range(W), W - 2, W - 3]
    canvas = x[:, :, rows][:, :, :, columns]
    hits = torch.stack(
        [(out == canvas[:, :, i : i + H, j : j + W]).flatten(1).all(1) for i in range(5) for j in range(5)]
    )
    assert (hits.sum(0) == 1).all()
    assert hits.any(1).all()

"""What is done to images once and for all: borders, shifts, one order of pixels."""

import json

import numpy as np
import pytest

from datamodules import InputError, create_datamodule
from datamodules.images import permuted, shifted
from zoo.cli import main
from zoo.config import resolve


def images(**params):
    return create_datamodule("digits", **params).load().x


PLAIN = images()


def numbered(n: int, channels: int, height: int, width: int) -> np.ndarray:
    """Images without a black pixel, no two pixels alike."""
    return 1 + np.arange(n * channels * height * width).reshape(n, channels, height, width)


def offset(before: np.ndarray, after: np.ndarray, most: int) -> tuple[int, int]:
    """The only offset (rows, columns) of up to `most` by which one image (C, H, W) becomes the other."""
    _, height, width = before.shape
    found = []
    for dy in range(-most, most + 1):
        for dx in range(-most, most + 1):
            moved = np.zeros_like(before)
            for y in range(height):
                for x in range(width):
                    if 0 <= y - dy < height and 0 <= x - dx < width:
                        moved[:, y, x] = before[:, y - dy, x - dx]
            if (moved == after).all():
                found.append((dy, dx))
    (only,) = found
    return only


def test_none_of_it_is_done_unless_it_is_said():
    np.testing.assert_array_equal(images(pad=0, shift=0, permute_pixels=False), PLAIN)


def test_unsaid_options_are_in_no_config():
    section = resolve({"model": "mlp", "data": "digits"})["data"]
    assert not {"pad", "shift", "permute_pixels"} & section.keys()
    padded = resolve({"model": "mlp", "data": {"name": "digits", "pad": 1, "shift": None}})["data"]
    assert padded == {**section, "pad": 1}


def test_a_border_is_black():
    padded = images(pad=3)
    assert padded.shape == (1797, 1, 14, 14)
    np.testing.assert_array_equal(padded[:, :, 3:-3, 3:-3], PLAIN)
    assert padded.sum() == PLAIN.sum()


def test_each_image_is_moved_by_an_offset_of_its_own_up_to_the_limit():
    before = numbered(200, 2, 4, 5)
    after = shifted(before, 1)
    offsets = [offset(b, a, 1) for b, a in zip(before, after, strict=True)]
    assert set(offsets) == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}
    assert after.dtype == before.dtype


def test_an_images_offset_depends_on_nothing_but_its_place():
    whole = images(pad=2, shift=2)
    np.testing.assert_array_equal(whole, images(pad=2, shift=2, seed=5, batch_size=7, train_size=0.3))
    np.testing.assert_array_equal(shifted(np.pad(PLAIN[:50], ((0, 0), (0, 0), (2, 2), (2, 2))), 2), whole[:50])
    assert not np.array_equal(whole, images(pad=2))
    assert whole.sum() == PLAIN.sum(), "a border as wide as the shift keeps all of an image"


def test_the_pixels_of_all_images_have_one_order():
    order = permuted(np.arange(64).reshape(1, 1, 8, 8)).flatten()
    assert sorted(order) == list(range(64))
    assert (order != np.arange(64)).sum() > 50
    mixed = images(permute_pixels=True, seed=3)
    np.testing.assert_array_equal(mixed.reshape(1797, 64), PLAIN.reshape(1797, 64)[:, order])
    colour = numbered(3, 3, 8, 8)
    np.testing.assert_array_equal(permuted(colour).reshape(3, 3, 64), colour.reshape(3, 3, 64)[:, :, order])


def test_padding_comes_first_and_the_order_last():
    padded = np.pad(PLAIN, ((0, 0), (0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(
        images(pad=1, shift=2, permute_pixels=True), permuted(shifted(padded, 2)), strict=True
    )


def test_all_splits_hold_the_images_so_arranged():
    data = create_datamodule("digits", pad=2, shift=2, permute_pixels=True, seed=4)
    data.setup()
    raw = images(pad=2, shift=2, permute_pixels=True)
    assert data.input_shape == (1, 12, 12)
    mean, std = (data.card()["normalisation"][k][0] for k in ("mean", "std"))
    assert mean == pytest.approx(raw[data.indices["train"]].mean())
    for split, rows in data.indices.items():
        np.testing.assert_allclose(data.arrays(split)[0] * std + mean, raw[rows], atol=1e-4)


def test_images_from_files_can_be_arranged_too(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    for name, array in {
        "train-images-idx3-ubyte": pixels[:20],
        "train-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": pixels[20:],
        "t10k-labels-idx1-ubyte": np.arange(10, dtype=np.uint8),
    }.items():
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (raw / name).write_bytes(header + array.tobytes())
    found = create_datamodule("fashion_mnist", root=str(tmp_path), pad=2, shift=1, permute_pixels=True).load().x
    expected = permuted(shifted(np.pad(pixels[:, None], ((0, 0), (0, 0), (2, 2), (2, 2))), 1))
    np.testing.assert_array_equal(found, expected, strict=True)
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("digits", {"pad": -1}, r"data\.pad must not be negative, got -1"),
        ("digits", {"shift": -1}, r"data\.shift must not be negative, got -1"),
        ("digits", {"pad": 9}, r"data\.pad must be at most the image's side of 8 pixels, got 9"),
        ("digits", {"shift": 8}, r"data\.shift must be less than the image's side of 8 pixels, got 8"),
        ("digits", {"pad": 1, "shift": 10}, r"less than the image's side of 10 pixels \(with its border\), got 10"),
        ("iris", {"pad": 1}, r"unknown parameter of data set 'iris' 'pad'"),
        (
            "mnist",
            {"permute_pixels": True, "random_shift": 1},
            r"data\.permute_pixels cannot be combined with data\.random_shift",
        ),
    ],
)
def test_bad_values_get_a_sentence(name, params, sentence):
    with pytest.raises(InputError, match=sentence):
        create_datamodule(name, **params).load()


def test_a_checkpoint_is_tested_on_images_arranged_as_those_it_learned_from(tmp_path, capsys):
    arranged = "--data.pad 1 --data.shift 1 --data.permute_pixels true".split()
    fit = ["fit", "--model", "mlp", "--data", "digits", *arranged, "--trainer.max_epochs", "2", "--out", str(tmp_path)]
    assert main(fit) == 0
    accuracy = json.loads((tmp_path / "result.json").read_text())["metrics"]["test/accuracy"]
    config = (tmp_path / "config.yaml").read_text()
    assert all(line in config for line in ("pad: 1", "shift: 1", "permute_pixels: true"))
    for more in ([], ["--data", "digits"]):
        capsys.readouterr()
        assert main(["test", "--ckpt_path", str(tmp_path), *more]) == 0
        assert f"{accuracy:.4f}" in capsys.readouterr().out
    assert main(["predict", "--ckpt_path", str(tmp_path)]) == 0
    rows = (tmp_path / "predictions.csv").read_text().splitlines()[1:]
    right = [row.split(",")[1] == row.split(",")[-1] for row in rows]
    assert sum(right) / len(right) == pytest.approx(accuracy)
    assert main(["test", "--ckpt_path", str(tmp_path), "--data.pad", "2"]) == 2
    assert "trained on inputs of shape [1, 10, 10]" in capsys.readouterr().err

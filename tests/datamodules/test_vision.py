import gzip
import shutil
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import InputError, create_datamodule

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real images of ../shared/data are not here")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# Folder, the first labels of train and test, mean and deviation of all training pixels by channel, as published.
REAL = {
    "mnist": ("MNIST", [5, 0, 4, 1, 9], [7, 2, 1, 0, 4], [0.1307], [0.3081]),
    "fashion_mnist": ("FashionMNIST", [9, 0, 0, 3, 0], [9, 2, 1, 1, 6], [0.2860], [0.3530]),
    "cifar10": (
        "cifar-10-batches-py",
        [6, 9, 9, 4, 1],
        [3, 8, 8, 0, 6],
        [0.4914, 0.4822, 0.4465],
        [0.247, 0.2435, 0.2616],
    ),
}


@pytest.fixture(scope="module")
def cifar_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("cifar")
    with tarfile.open(SHARED / "cifar-10-batches-py.tar.xz") as archive:
        archive.extractall(root, filter="data")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def no_network(monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "ZOO_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    # urllib reads the proxies once, at its first request in the process.
    monkeypatch.setattr(urllib.request, "_opener", None)


def listing(folder):
    return sorted((str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*"))


def idx(array):
    """An array in MNIST's idx format."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def write_idx(root, gz=False, **over):
    """40 + 20 small images with labels; `over` replaces a file's content, None leaves it out."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (40, 28, 28)),
        np.arange(40) % 10,
        rng.integers(0, 256, (20, 28, 28)),
        np.arange(20) % 10,
    ]
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in zip(IDX, arrays, strict=True):
        content = over.get(name.replace("-", "_"), idx(array))
        if content is not None:
            (raw / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(content) if gz else content)
    return arrays


def make(name, root, **params):
    data = create_datamodule(name, root=str(root), **params)
    data.setup()
    return data


@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_real_images_with_their_official_test_split(name, request):
    folder, first_train, first_test, mean, std = REAL[name]
    root = request.getfixturevalue("cifar_root") if name == "cifar10" else SHARED
    before = listing(root / folder)
    data = make(name, root, val_fraction=0.1)
    assert listing(root / folder) == before  # nothing unpacked, nothing written
    n = 50_000 if name == "cifar10" else 60_000
    assert data.input_shape == ((3, 32, 32) if name == "cifar10" else (1, 28, 28))
    assert {split: len(rows) for split, rows in data.indices.items()} == {
        "train": n * 0.9,
        "val": n * 0.1,
        "test": 10_000,
    }
    np.testing.assert_array_equal(data.indices["test"], np.arange(n, n + 10_000))
    np.testing.assert_array_equal(np.sort(np.concatenate([data.indices["train"], data.indices["val"]])), np.arange(n))
    assert data.arrays("test")[1][:5].tolist() == first_test
    first = {row: place for place, row in enumerate(data.indices["train"])}
    labels = {row: data.arrays("train")[1][first[row]].item() for row in range(5) if row in first}
    assert labels == {row: first_train[row] for row in labels}
    assert len(labels) >= 2
    found = data.card()["normalisation"]
    np.testing.assert_allclose(np.array(found["mean"]) / 255, mean, atol=0.002)
    np.testing.assert_allclose(np.array(found["std"]) / 255, std, atol=0.002)
    x, _ = data.arrays("train")
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(len(mean)), rtol=0, atol=1e-3)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(len(mean)), rtol=0, atol=1e-3)
    assert data.class_counts().sum() == n * 0.9
    assert len(data.class_names) == 10


@needs_shared
def test_zoo_data_dir_says_where_the_images_are(monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(SHARED))
    data = create_datamodule("mnist", train_size=100)
    data.setup()
    assert data.arrays("train")[0].shape == (100, 1, 28, 28)


@pytest.mark.parametrize("gz", [False, True], ids=["unpacked", "gz"])
def test_idx_files_are_used_as_they_lie(tmp_path, gz):
    x, y, x_test, y_test = write_idx(tmp_path, gz)
    before = listing(tmp_path)
    source = create_datamodule("mnist", root=str(tmp_path)).load()
    np.testing.assert_array_equal(source.x[:, 0], np.concatenate([x, x_test]))
    np.testing.assert_array_equal(source.y, np.concatenate([y, y_test]))
    assert source.n_official_test == 20
    assert listing(tmp_path) == before


def test_statistics_of_images_are_those_of_the_training_rows(tmp_path):
    x, *_ = write_idx(tmp_path)
    data = make("mnist", tmp_path)
    train = x[data.indices["train"]]
    np.testing.assert_allclose(data.card()["normalisation"]["mean"], [train.mean()], rtol=1e-12)
    np.testing.assert_allclose(data.card()["normalisation"]["std"], [train.std()], rtol=1e-12)


GOOD = idx(np.arange(40) % 10)
DAMAGED = "damaged or not an idx file .*; delete it to download it again"
APART = "files do not match"


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"train_labels_idx1_ubyte": GOOD[:-1]}, DAMAGED),
        ({"train_labels_idx1_ubyte": GOOD[:6]}, DAMAGED),
        ({"train_labels_idx1_ubyte": b""}, DAMAGED),
        ({"train_labels_idx1_ubyte": b"<html>no such page</html>"}, DAMAGED),
        ({"train_labels_idx1_ubyte": idx(np.arange(30) % 10)}, f"training {APART}"),
        ({"train_labels_idx1_ubyte": idx(np.arange(40))}, f"training {APART}.*up to 39"),
        ({"train_images_idx3_ubyte": GOOD}, f"training {APART}"),
        ({"t10k_images_idx3_ubyte": idx(np.zeros((20, 14, 14)))}, f"test {APART}"),
    ],
)
def test_damaged_idx_files_get_a_sentence_and_stay(tmp_path, over, sentence):
    write_idx(tmp_path, **over)
    before = listing(tmp_path)
    with pytest.raises(InputError, match=sentence):
        make("mnist", tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("content", [gzip.compress(GOOD)[:-12], b"no gzip", b""], ids=["cut short", "foreign", "empty"])
def test_a_damaged_gz_file_gets_a_sentence(tmp_path, content):
    write_idx(tmp_path, gz=True)
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(InputError, match=rf"train-labels-idx1-ubyte\.gz is {DAMAGED}"):
        make("mnist", tmp_path)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("exists", [True, False])
def test_absent_data_without_a_network_gets_a_sentence_and_leaves_no_folder(tmp_path, name, exists):
    root = tmp_path if exists else tmp_path / "not" / "there"
    with pytest.raises(
        InputError, match=r"is not in .* and could not be downloaded .*Point ZOO_DATA_DIR or --data\.root"
    ):
        make(name, root)
    assert list(tmp_path.rglob("*")) == []
    assert tmp_path.is_dir()


@pytest.mark.usefixtures("no_network")
def test_what_lies_there_survives_a_failed_download(tmp_path):
    write_idx(tmp_path, gz=True, t10k_labels_idx1_ubyte=None)
    before = listing(tmp_path)
    with pytest.raises(InputError, match="could not be downloaded"):
        make("mnist", tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.usefixtures("no_network")
def test_a_damaged_cifar_folder_gets_a_sentence_and_stays(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"no batch")
    with pytest.raises(InputError, match=r"CIFAR10 is not in .*corrupted"):
        make("cifar10", tmp_path)
    assert (folder / "data_batch_1").read_bytes() == b"no batch"


def test_augmentation_changes_training_batches_alone_and_black_is_the_normalised_zero(tmp_path):
    write_idx(tmp_path, train_images_idx3_ubyte=idx(np.full((40, 28, 28), 200)))
    data = make("mnist", tmp_path, random_shift=2, batch_size=40)
    mean, std = (data.card()["normalisation"][k][0] for k in ("mean", "std"))
    x = torch.cat([x for x, _ in data.train_dataloader()])
    raw = x * std + mean
    assert ((raw.round() == 0) | (raw.round() == 200)).all()
    assert (raw.round() == 0).any()
    for split in ("val", "test"):
        (x, _), *_ = getattr(data, f"{split}_dataloader")()
        assert torch.equal(x, data.arrays(split)[0])


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"random_shift": -1}, r"data\.random_shift must not be negative"),
        ({"random_crop": -1}, r"data\.random_crop must not be negative"),
        ({"random_crop": 28}, r"data\.random_crop must be less than the image's side of 28"),
    ],
)
def test_bad_augmentation_gets_a_sentence(tmp_path, params, sentence):
    write_idx(tmp_path)
    with pytest.raises(InputError, match=sentence):
        make("mnist", tmp_path, **params).train_dataloader()

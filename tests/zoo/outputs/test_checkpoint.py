import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from zoo import train
from zoo.models.base import FORMAT
from zoo.outputs.checkpoint import read_checkpoint

CONFIG = {
    "model": {"name": "mlp", "hidden_dims": [8]},
    "data": {"name": "iris"},
    "trainer": {"max_epochs": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train.fit(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def good(run):
    return (run / "best.ckpt").read_bytes()


def load(tmp_path, content):
    file = tmp_path / "x.ckpt"
    file.write_bytes(content)
    return zoo.load(str(file))


def test_a_checkpoint_loads_from_its_file_or_its_folder_with_nothing_else_said(run):
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    from_file, from_folder = zoo.load(str(run / "best.ckpt")), zoo.load(run)
    assert not from_file.training
    assert torch.equal(from_file(x), from_folder(x))
    assert from_file.hparams["hidden_dims"] == [8]


def test_it_carries_the_config_the_class_names_and_the_normalisation_under_weights_only(run):
    own = torch.load(run / "best.ckpt", weights_only=True)["zoo"]
    assert own["format"] == FORMAT
    assert own["model"] == "mlp"
    assert own["data"]["class_names"] == ["setosa", "versicolor", "virginica"]
    assert len(own["data"]["normalisation"]["mean"]) == 4
    assert own["config"]["model"]["hidden_dims"] == [8]
    assert own["config"]["trainer"]["max_epochs"] == 2


def test_hyperparameters_are_plain_values(run):
    def plain(value):
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return value is None or type(value) in (str, int, float, bool)

    hparams = torch.load(run / "best.ckpt", weights_only=True)["hyper_parameters"]
    assert hparams["lr"] == 1e-3
    assert all(map(plain, hparams.values()))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_gets_a_sentence(tmp_path, good, share):
    with pytest.raises(
        zoo.InputError, match=r"x\.ckpt was not loaded, because it is damaged or contains more than weights"
    ):
        load(tmp_path, good[: int(share * len(good))])


@pytest.mark.parametrize("record", ["data.pkl", "data/0", "data/1"])
def test_one_spoilt_bit_in_any_record_gets_a_sentence(tmp_path, run, good, record):
    with zipfile.ZipFile(run / "best.ckpt") as archive:
        name = next(n for n in archive.namelist() if n.endswith(record))
        content = archive.read(name)
    assert good.count(content) == 1
    place = good.index(content) + len(content) // 2
    spoilt = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
    with pytest.raises(zoo.InputError, match="is damaged"):
        load(tmp_path, spoilt)


@pytest.mark.parametrize("seed", range(20))
def test_noise_gets_a_sentence(tmp_path, seed):
    rng = np.random.default_rng(seed)
    with pytest.raises(zoo.InputError, match="is damaged"):
        load(tmp_path, rng.bytes(int(rng.integers(1, 3000))))


FOREIGN = r"x\.ckpt is not a checkpoint of ablation-zoo; create one with `zoo fit`"


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"state_dict": {"w": torch.zeros(2)}},
        {"zoo": "animals"},
        {"zoo": {"format": FORMAT}},
        {"zoo": {"format": FORMAT, "model": "mlp", "data": {}, "config": {}}},
    ],
    ids=["list", "weights alone", "other zoo", "half", "no weights"],
)
def test_a_foreign_checkpoint_gets_a_sentence(tmp_path, content):
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(zoo.InputError, match=FOREIGN):
        zoo.load(tmp_path / "x.ckpt")


def test_another_format_gets_a_sentence(tmp_path, run):
    content = read_checkpoint(run)
    content["zoo"]["format"] = FORMAT + 1
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(
        zoo.InputError, match=rf"has format {FORMAT + 1}, but this version reads format {FORMAT}; create a new"
    ):
        zoo.load(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["zoo"].update(model="nlp"), r"unknown model 'nlp'\. Did you mean 'mlp'"),
        (lambda c: c["zoo"].update(model=None), "the model is not registered"),
        (lambda c: c["hyper_parameters"].update(colour="red"), "unknown parameter of model 'mlp' 'colour'"),
        (lambda c: c["hyper_parameters"].update(hidden_dims=[9]), "the weights do not match the model"),
        (lambda c: c["state_dict"].popitem(), "the weights do not match the model"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_gets_a_sentence(tmp_path, run, change, sentence):
    content = read_checkpoint(run)
    change(content)
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(zoo.InputError, match=sentence):
        zoo.load(tmp_path / "x.ckpt")


class Payload:
    """Unpickling this makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path, zipped):
    marker = tmp_path / "it ran"
    content = {"zoo": {"format": FORMAT}, "state_dict": Payload(marker)}
    if zipped:
        torch.save(content, tmp_path / "x.ckpt")
    else:
        (tmp_path / "x.ckpt").write_bytes(pickle.dumps(content))
    with pytest.raises(
        zoo.InputError, match=r"was not loaded, because it .* contains more than weights and plain values"
    ):
        zoo.load(tmp_path / "x.ckpt")
    assert not marker.exists()
    read = torch.load if zipped else pickle.load
    with (tmp_path / "x.ckpt").open("rb") as file:
        read(file, **({"weights_only": False} if zipped else {}))
    # The payload does work where it may.
    assert marker.exists()


def test_a_file_that_is_not_there_gets_a_sentence(tmp_path):
    with pytest.raises(zoo.InputError, match=r"the checkpoint .*none\.ckpt does not exist"):
        zoo.load(tmp_path / "none.ckpt")
    with pytest.raises(zoo.InputError, match=r"the checkpoint .*best\.ckpt does not exist"):
        zoo.load(tmp_path)

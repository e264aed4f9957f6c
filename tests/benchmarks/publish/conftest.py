"""All tests of publishing run in a folder of their own, as if W&B had never been used."""

import pytest


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch, no_wandb):
    monkeypatch.chdir(tmp_path)

"""Fixtures that the tests of `zoo doctor` share."""

import pytest

from datamodules import create_datamodule
from datamodules.base import ArrayDataModule


@pytest.fixture(scope="module")
def digits() -> ArrayDataModule:
    return create_datamodule("digits")

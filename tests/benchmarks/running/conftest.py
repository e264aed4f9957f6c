"""Fixtures that the tests of running studies share."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.benchmarks.running.drivers import Drivers, until


@pytest.fixture
def drivers(tmp_path) -> Iterator[Drivers]:
    drivers = Drivers(tmp_path)
    try:
        yield drivers
        until(drivers.none_left)
    finally:
        for driver in drivers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()

"""Modules that the fork server imports once for all workers, which saves each worker several seconds.

The fork server also deletes the driver's folder of sockets if the driver was killed, which then cannot do it itself.
"""

import atexit
import os
import shutil

from .local import SOCKETS


def _delete_if_killed(folder: str, driver: int) -> None:
    if os.getppid() != driver:
        shutil.rmtree(folder, ignore_errors=True)


if folder := os.environ.pop(SOCKETS, ""):  # the fork server exits when its driver is gone, its workers skip atexit
    atexit.register(_delete_if_killed, folder, os.getppid())

import lightning.pytorch  # noqa: E402, F401
import sklearn.datasets  # noqa: E402
import sklearn.model_selection  # noqa: E402, F401

import benchmarks.running.job  # noqa: E402, F401
import zoo.train  # noqa: E402, F401

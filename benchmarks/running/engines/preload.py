"""Modules that the fork server imports once for all workers, which saves each worker several seconds."""

import lightning.pytorch  # noqa: F401
import sklearn.datasets
import sklearn.model_selection  # noqa: F401

import benchmarks.running.job  # noqa: F401
import zoo.train  # noqa: F401

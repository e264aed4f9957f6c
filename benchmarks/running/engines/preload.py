"""What the fork server imports once, so that each worker starts with it: seconds saved a worker."""

import lightning.pytorch  # noqa: F401
import sklearn.datasets
import sklearn.model_selection  # noqa: F401

import benchmarks.running.job  # noqa: F401
import zoo.train  # noqa: F401

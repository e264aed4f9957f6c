"""The data set `csv` for the tests of tables."""

from datamodules import create_datamodule


def make(path, target="label", stage=None, card=None, **params):
    data = create_datamodule("csv", path=str(path), target=target, **params)
    if card is not None:
        data.restore(card)
    data.setup(stage)
    return data

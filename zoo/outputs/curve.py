"""A logger that writes one row per epoch."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class EpochCSVLogger(Logger):
    """Writes `metrics.csv`: one row per epoch, with the learning rate and all training and validation metrics.

    Args:
        path: The file; None only keeps the rows in memory.

    Attributes:
        rows: The rows by epoch.
        on_row: Called with each row that is written, including its epoch.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, float]] = {}
        self.on_row: Callable[[dict[str, float]], None] | None = None
        self._pending: dict[str, float] = {}
        self._columns: list[str] = []
        self._n_written = 0

    @property
    def name(self) -> str:
        """Name of the logger's folder, required by Lightning; unused."""
        return ""

    @property
    def version(self) -> str:
        """Version of the logger's folder, required by Lightning; unused."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: hyperparameters are in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the row of their epoch; earlier rows are complete and written."""
        # Weights and the other parameters are two parameter groups with the same learning rate.
        values = {k.removesuffix("/pg1"): v for k, v in metrics.items() if not k.endswith("/pg2")}
        if "epoch" not in values:
            self._pending |= values  # the learning rate is logged before its epoch
            return
        epoch = int(values.pop("epoch"))
        if any(name.startswith("test/") for name in values):
            return
        if epoch not in self.rows:
            self._write()
        self.rows.setdefault(epoch, {}).update({**self._pending, **values, "step": float(step or 0)})
        self._pending = {}

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the last row."""
        self._write()

    def _write(self) -> None:
        """Append the rows that are not in the file yet; rewrite the file if there is a new column."""
        if self.path is None or len(self.rows) == self._n_written:
            return
        columns = sorted({name for row in self.rows.values() for name in row})
        rewrite = columns != self._columns
        rows = [{"epoch": epoch, **row, "step": int(row["step"])} for epoch, row in self.rows.items()]
        with self.path.open("w" if rewrite else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", "step", *(c for c in columns if c != "step")], lineterminator="\n")
            if rewrite:
                writer.writeheader()
            writer.writerows(rows if rewrite else rows[self._n_written :])
        if self.on_row is not None:
            for row in rows[self._n_written :]:
                self.on_row(row)
        self._columns, self._n_written = columns, len(rows)

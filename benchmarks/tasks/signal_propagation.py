"""The task `signal_propagation`: how a signal propagates through an untrained net."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.plain import Config

from .base import Task


class SignalPropagation(Task):
    """Measures a net at initialization; see `zoo.signal_propagation`. All methods need torch."""

    name = "signal_propagation"

    def resolve(self, config: Config) -> Config:
        """The complete config; see `zoo.signal_propagation.resolve_signal_propagation`."""
        from zoo.signal_propagation import resolve_signal_propagation

        return resolve_signal_propagation(config)

    def metrics(self, config: Config) -> Iterable[str]:
        """See `zoo.signal_propagation.names`."""
        from zoo.signal_propagation import names

        return names(config)

    def run(self, config: Config, folder: Path, **options: Any) -> dict[str, Any]:
        """Create the net and measure it."""
        from zoo.signal_propagation import measure

        return {"metrics": measure(config)}

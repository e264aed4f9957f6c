"""The console for tables on stdout."""

import rich.console


class Console(rich.console.Console):
    """A console that leaves a pipe whose reader has exited to `process.call`; rich would exit with status 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled."""
        raise

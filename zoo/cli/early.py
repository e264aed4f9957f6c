"""Ctrl-C during the first imports of a command. Imports almost nothing itself."""

import signal
from types import TracebackType


class CtrlCEndsIt:
    """In this context, Ctrl-C ends the process without a traceback, as long as nothing else handles it.

    Outside of the main thread, which alone can handle signals, it changes nothing.
    """

    _ours = False

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            except ValueError:  # not the main thread
                return
            self._ours = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

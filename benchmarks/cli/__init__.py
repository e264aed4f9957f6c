"""The command `bench`."""

import signal
import threading

_ours = threading.current_thread() is threading.main_thread()
_ours = _ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _ours:  # Ctrl-C during these imports ends the process, without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .verbs import main  # noqa: E402

if _ours:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]

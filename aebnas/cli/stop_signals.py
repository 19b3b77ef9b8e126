"""Ctrl-C and SIGTERM end the command with a KeyboardInterrupt, wherever the program is when they arrive."""

import os
import signal
import sys
import threading
from typing import Any

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as shells report it."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""
AGAIN_AFTER_S = 0.05

_received: list[int] = []
_report = sys.unraisablehook


def handle_stop_signals() -> None:
    """Raise KeyboardInterrupt in the main thread on SIGINT and SIGTERM; call it from the main thread.

    Python ignores an exception that is raised while it runs a finaliser or a weak reference's callback, as it may when
    any signal is handled. Then the signal is sent again a moment later, until one is not ignored. A SIGINT that is
    ignored by the parent (a shell's background job) stays ignored.
    """
    _received.clear()
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _on_unraisable


def stop_code() -> int:
    """Exit code of a command that was stopped: by the signal received first, or by Ctrl-C where none was recorded."""
    return TERMINATED if _received[:1] == [signal.SIGTERM] else INTERRUPTED


def _stop(number: int, frame: object) -> None:
    _received.append(number)
    raise KeyboardInterrupt  # the only exception that Ray doesn't wrap or suppress


def _on_unraisable(unraisable: Any) -> None:
    if not (_received and isinstance(unraisable.exc_value, KeyboardInterrupt)):
        _report(unraisable)
        return
    # from another thread, since an exception raised here would be ignored, too
    again = threading.Timer(AGAIN_AFTER_S, os.kill, (os.getpid(), _received[-1]))
    again.daemon = True
    again.start()

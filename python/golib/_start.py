"""What the first goroutine sets going. Importing golib does none of this."""

from __future__ import annotations

import atexit
import signal
import sys
import warnings
from types import FrameType

from golib import _golib
from golib._main_thread import handle_sigurg

__all__ = ["started"]


def started() -> None:
    """Called by the compiled part before the first goroutine."""
    atexit.register(at_exit)
    _golib._hook_child(_golib._after_fork)
    # CPython warns of any second OS thread; ours are made for a fork. It says no more of whose they are.
    warnings.filterwarnings(
        "ignore",
        r"This process \(pid=\d+\) is multi-threaded, use of fork",
        DeprecationWarning,
    )
    try:
        handle_signals()
    except ValueError:  # not on the main thread: it does it as soon as it runs Python code
        _golib._call_soon(handle_signals)


def handle_signals() -> None:
    """On the main thread."""
    handle_sigquit()
    handle_sigurg()


def handle_sigquit() -> None:
    """SIGQUIT prints all goroutines, unless the program has its own plans with it."""
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL:
        signal.signal(signal.SIGQUIT, on_sigquit)


def on_sigquit(signum: int, frame: FrameType | None) -> None:
    """The handler of SIGQUIT."""
    from golib._report import print_all

    try:
        print_all(sys.__stderr__)
    except (OSError, ValueError):
        pass  # stderr is gone


def at_exit() -> None:
    """Stops the runtime, and keeps logging from waiting for a lock that nobody will give back."""
    _golib._at_exit()
    logging = sys.modules.get("logging")
    if logging is None:
        return
    for reference in list(getattr(logging, "_handlerList", ())):
        handler = reference()
        lock = getattr(handler, "lock", None)
        if lock is None:
            continue
        if lock.acquire(blocking=False):
            lock.release()
        else:
            logging._handlerList.remove(reference)

"""Errands that only the main thread may run, run there for others. Under run() that is the main goroutine.

Errands run one after another and never one inside another, so they need no lock: a signal handler may ask for one
while the main thread is in the middle of another.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType

from golib import _golib

__all__ = ["forget", "handle_sigurg", "on_main_thread"]

#: How many seconds a waiting caller lets pass before it disturbs the main thread again.
_LOOK = 0.01
#: After how many seconds the main thread counts as stuck in a call that nothing can interrupt.
_PATIENCE = 10.0


class _Errand:
    __slots__ = ("call", "done", "error", "taken")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.done = _golib.Event()
        self.error: Exception | None = None
        self.taken = False


_errands: deque[_Errand] = deque()
_busy = False  # an errand is under way
_asked = False  # the main thread has been told and has not come yet


def on_main_thread(call: Callable[[], None]) -> None:
    """Makes the main thread call call(), which may be called again if it was interrupted.

    In a signal handler that has interrupted an errand it returns at once; the call is made when the handler has ended.

    Blocks: the goroutine, or the OS thread, until the main thread runs Python code or waits in golib.
    Raises: what call raised; RuntimeError if the main thread does not come within ten seconds: it may be waiting
        for the caller in a way that golib does not see.
    Cancel: not cancellable.
    """
    global _asked
    errand = _Errand(call)
    _errands.append(errand)
    if _golib._is_main_thread():
        _serve()
    else:
        deadline = _golib._monotonic() + _PATIENCE
        while True:
            _asked = _asked or _golib._call_soon(_serve)
            with _golib.shield():  # a cancelled goroutine may call stop() too; the wait is short
                if errand.done.wait(_LOOK):
                    break
            _disturb()
            if _golib._monotonic() > deadline and not errand.taken:
                _errands.remove(errand)
                raise RuntimeError("the main thread is in a call that nothing interrupts")
    if errand.error is not None:
        raise errand.error


def _serve() -> None:
    """Runs the errands; on the main thread."""
    global _asked, _busy
    _asked = False
    # An errand added while this runs is left to it: look again afterwards.
    while _errands and not _busy:
        try:
            _busy = True
            while _errands:
                errand = _errands[0]
                errand.taken = True
                try:
                    errand.call()
                except Exception as error:
                    errand.error = error
                except BaseException:  # from a signal handler: the errand runs the next time
                    errand.taken = False
                    raise
                errand.done.set()
                _errands.popleft()
        finally:
            _busy = False


def _disturb() -> None:
    """Interrupts the main thread's call, if a signal can."""
    if hasattr(signal, "SIGURG") and signal.getsignal(signal.SIGURG) is _on_sigurg:
        ident = threading.main_thread().ident
        if ident is not None:
            signal.pthread_kill(ident, signal.SIGURG)


def handle_sigurg() -> None:
    """Lets SIGURG make the main thread serve, unless the program uses that signal itself."""
    if hasattr(signal, "SIGURG") and signal.getsignal(signal.SIGURG) is signal.SIG_DFL:
        signal.signal(signal.SIGURG, _on_sigurg)


def _on_sigurg(signum: int, frame: FrameType | None) -> None:
    _serve()


def forget() -> None:
    """Forgets the errands in a forked child, where those who asked do not exist."""
    global _asked, _busy
    _errands.clear()
    _asked = _busy = False

"""What the first goroutine sets up. Importing golib does none of this."""

from __future__ import annotations

import atexit
import signal
import sys
import warnings
from types import FrameType

from golib import _golib, _threads
from golib._main_thread import handle_sigurg

__all__ = ["started"]

#: How many seconds the exit waits for goroutines that hold locks of logging's handlers.
_PATIENCE = 0.2
#: How many seconds the exit gives goroutines that are running, any of which may be on its way to fail.
_LAST_STEPS = 0.05
#: How many seconds it gives the reports that goroutines are making.
_LAST_REPORTS = 1.0


def started() -> None:
    """Called by the compiled part before the first goroutine."""
    _threads.install()
    atexit.register(at_exit)
    _golib._hook_child(_golib._after_fork)
    _golib._hook_child(watch_end_of_process)
    # CPython warns of every second OS thread, whoever made it; golib's are prepared for a fork.
    warnings.filterwarnings(
        "ignore",
        r"This process \(pid=\d+\) is multi-threaded, use of fork",
        DeprecationWarning,
    )
    try:
        handle_signals()
    except ValueError:  # not on the main thread, which does it as soon as it runs Python code
        _golib._call_soon(handle_signals)


def handle_signals() -> None:
    """On the main thread."""
    handle_sigquit()
    handle_sigurg()


def handle_sigquit() -> None:
    """Lets SIGQUIT print all goroutines, unless the program uses that signal itself."""
    if hasattr(signal, "SIGQUIT") and signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL:
        signal.signal(signal.SIGQUIT, on_sigquit)


def on_sigquit(signum: int, frame: FrameType | None) -> None:
    """The handler of SIGQUIT."""
    from golib._report import print_all

    try:
        print_all(sys.__stderr__)
    except (OSError, ValueError):
        pass  # stderr is gone


def at_exit() -> None:
    """Reports unread exceptions at exit, while goroutines still run and logging's handlers still work.

    Exit handlers that were registered before the first goroutine run after it.
    """
    report_unread()
    spare_logging()


def report_unread() -> None:
    """Reports what ended goroutines, also those that are still on their way to the end.

    `WaitGroup.done` in a `finally` lets the program end before the exception has left its goroutine.
    """
    try:
        with _golib.shield():
            if _golib._in_goroutine():
                _golib.sleep(0)
            else:
                let_run()
    finally:
        give_up = _golib._monotonic() + _LAST_REPORTS
        while _golib._report_unread() and _golib._monotonic() < give_up:
            with _golib.shield():
                _golib.sleep(0.0002)


def let_run() -> None:
    """Lets goroutines that are running come to their next wait, or their end; not for long."""
    give_up = _golib._monotonic() + _LAST_STEPS
    idle = 0
    while idle < 2 and _golib._monotonic() < give_up:  # once may be a P on its way between threads
        now = _golib.stats()
        if now["goroutines"] == 0:
            return
        idle = idle + 1 if now["idle_procs"] >= now["procs"] else 0
        _golib.sleep(0.0002)


class _Child:
    """What multiprocessing knows a forked child's preparations by."""


_child: _Child | None = None


def watch_end_of_process() -> None:
    """Prepares a forked child for its end: multiprocessing's children run its finalizers, but no exit handlers."""
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return

    def register(_: object) -> None:
        global _child
        util.Finalize(None, report_unread, exitpriority=-100)
        _child = None  # it has served: a child's children have one of their own

    # multiprocessing has forgotten the parent's finalizers by then. It keeps this one while the object is alive.
    global _child
    _child = _Child()
    util.register_after_fork(_child, register)


def spare_logging() -> None:
    """Keeps logging from waiting for a lock that nobody will release."""
    logging = sys.modules.get("logging")
    if logging is None:
        return
    patience = _PATIENCE
    for reference in list(getattr(logging, "_handlerList", ())):
        handler = reference()
        lock = getattr(handler, "lock", None)
        if lock is None:
            continue
        began = _golib._monotonic()
        if lock.acquire(timeout=patience):
            lock.release()
        else:
            logging._handlerList.remove(reference)
        patience = max(0.0, patience - (_golib._monotonic() - began))

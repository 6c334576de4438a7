"""golib.patch(thread=True): threads of Python's that are goroutines.

`_thread.start_new_thread` and `_thread.start_joinable_thread` are replaced in place, and call what is here. The rest of
threading works unchanged: what it keeps by thread (ident, locals, the lock that tells of a thread's end) follows the
goroutine. From 3.13 on a handle written in C tells of a thread's end; one of ours takes its place.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from golib import _golib
from golib._errors import Cancelled, Goexit

__all__ = ["apply", "start_joinable_thread", "start_new_thread", "take_back"]

_threading: Any = threading  # its private parts

#: Handles of goroutines that are no daemons and have not ended: the process waits for them.
_to_be_joined: set[Handle] = set()
#: How many have begun and not ended, for _thread._count().
_running = 0


class Handle:
    """The interface of _thread._ThreadHandle, for a goroutine."""

    __slots__ = ("__weakref__", "_goroutine", "_is_done", "_process", "ident")

    def __init__(self) -> None:
        self._goroutine: _golib.Goroutine[None] | None = None
        self._is_done = False
        self._process = 0
        self.ident: int | None = None

    def is_done(self) -> bool:
        if self._is_done or self._goroutine is None:
            return self._is_done
        if (
            self._process != os.getpid()
        ):  # of the threads before a fork only the one that forked is there
            return self.ident != threading.get_ident()
        if self._goroutine.done():
            self._set_done()
        return self._is_done

    def _set_done(self) -> None:
        self._is_done = True
        self._goroutine = None

    def join(self, timeout: float | None = -1) -> None:
        g = self._goroutine
        if self._is_done:
            return
        if g is None:
            raise RuntimeError("thread not started")
        if self.ident == threading.get_ident() and not g.done():
            raise RuntimeError("Cannot join current thread")
        if self.is_done():
            return
        try:
            g._wait(None if timeout is None or timeout < 0 else timeout)
        except TimeoutError:
            return  # the caller asks is_done()
        self._set_done()

    def __repr__(self) -> str:
        return f"<golib thread handle: ident={self.ident}>"


def start_new_thread(function: Callable[..., Any], args: Any, kwargs: Any = None, /) -> int:
    """In place of _thread.start_new_thread; arguments are checked as there."""
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    sys.audit("_thread.start_new_thread", function, args, kwargs)
    return _spawn(function, args, kwargs or {}, None)._ident()


def start_joinable_thread(
    function: Callable[[], Any], handle: Any = None, daemon: bool = True
) -> Any:
    """In place of _thread.start_joinable_thread. NotImplemented: the original is to be called."""
    if not callable(function):
        raise TypeError("thread function must be callable")
    if handle is None:
        handle = Handle()
    elif not isinstance(handle, Handle):
        handle = _exchanged(function, handle)
        if handle is None:
            return NotImplemented
    elif handle.ident is not None:
        raise RuntimeError("thread already started")
    sys.audit("_thread.start_joinable_thread", function, daemon, handle)
    if not daemon:
        _to_be_joined.add(handle)
    try:
        handle._process = os.getpid()
        handle._goroutine = _spawn(function, (), {}, handle)
    except BaseException:
        _to_be_joined.discard(handle)
        raise
    handle.ident = handle._goroutine._ident()
    return handle


def _exchanged(function: Any, native: Any) -> Handle | None:
    """A handle in place of the one that a Thread got when it was made, before the patch; None for somebody else's."""
    thread = getattr(function, "__self__", None)
    for attribute in ("_handle", "_os_thread_handle"):
        if isinstance(thread, threading.Thread) and getattr(thread, attribute, None) is native:
            handle = Handle()
            setattr(thread, attribute, handle)
            return handle
    return None


def _spawn(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    handle: Handle | None,
) -> _golib.Goroutine[None]:
    thread = getattr(function, "__self__", None)
    name = thread.name if isinstance(thread, threading.Thread) else None
    size = threading.stack_size() or None
    try:
        g = _golib.spawn(_body, (function, args, kwargs, handle), name=name, stack_size=size)
    except RuntimeError as error:
        raise RuntimeError("can't start new thread") from error
    return g


def _body(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    handle: Handle | None,
) -> None:
    global _running
    _running += 1
    # A thread begins without the context variables of whoever started it; what 3.14 adds to that, threading does.
    _golib._use_context(None)
    try:
        function(*args, **kwargs)
    except (SystemExit, Cancelled, Goexit):
        pass
    except BaseException as error:
        traceback = error.__traceback__
        error.__traceback__ = traceback and traceback.tb_next
        _golib._thread_failed(error, function)
    finally:
        _running -= 1
        if handle is not None:
            _to_be_joined.discard(handle)


def count(of_threads: int) -> int:
    """What _thread._count() returns: goroutines that were started as threads count, too."""
    return of_threads + _running


def _join_all() -> None:
    """At the end of the process, on the main thread, after what was registered with threading."""
    while _to_be_joined:
        for handle in list(_to_be_joined):
            handle.join()


_native: Any = None


def apply() -> None:
    """Has threading make our handles, and the process wait for threads that are no daemons."""
    global _native
    if not hasattr(threading, "_ThreadHandle") or _native is not None:
        return
    _native = _threading._ThreadHandle
    _threading._ThreadHandle = Handle
    if _join_all not in _threading._threading_atexits:
        # They are called from the last to the first.
        _threading._threading_atexits.insert(0, _join_all)


def take_back() -> None:
    """Threads are threads again; those that are goroutines stay it."""
    global _native
    if _native is not None:
        _threading._ThreadHandle = _native
        _native = None


def _after_fork() -> None:
    global _running
    _to_be_joined.clear()
    _running = 0


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_after_fork)

"""Once, once, once_value and SingleFlight: the first caller runs the function, the others wait for it.

# Calls from within
The function may call the object that runs it, and so may a finalizer or a signal handler that interrupts the function.
Such a call would wait for itself, so it raises RuntimeError. One call of C (`Ref.replace`, `dict.setdefault`) both
chooses the caller that runs the function and records it, so no interruption goes unnoticed.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from golib import _golib
from golib._golib import Event, Mutex, Ref

__all__ = ["Once", "SingleFlight", "once", "once_value"]

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def _me() -> int:
    """A number that identifies the calling goroutine or thread."""
    g = _golib._current()
    return -threading.get_ident() if g is None else g.id


def _check(by: int, me: int) -> None:
    """Raises RuntimeError if `me` would wait for its own run."""
    if by == me:
        raise RuntimeError("sync: called again by what it runs, which would wait for itself")


class _Run:
    """A caller's run of the function."""

    __slots__ = ("_by", "_running")

    def __init__(self) -> None:
        self._by = _me()
        self._running = Mutex()
        self._running.lock()

    def end(self) -> None:
        """Lets its waiters continue."""
        self._running.unlock()

    def wait_for(self, other: _Run) -> None:
        """Waits for the end of another caller's run."""
        _check(other._by, self._by)
        with other._running:
            pass


class Once:
    """Runs a function once: Go's sync.Once.

    >>> start = golib.sync.Once()
    >>> start.do(print, 'first')
    first
    >>> start.do(print, 'second')
    """

    __slots__ = ("__weakref__", "_done", "_run")

    def __init__(self) -> None:
        self._done = False
        self._run: Ref[Any] = Ref(None)

    def do(self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls fn(*args, **kwargs) unless an earlier call was made; returns when that has ended.

        A call that raises counts, as in Go; its caller gets the exception.

        Blocks: the goroutine, or the OS thread, while another runs fn.
        Raises: RuntimeError if fn, or a finalizer or signal handler that interrupts it, calls do(); Go hangs there.
        """
        if self._done:
            return
        mine = _Run()
        try:
            if self._run.replace(None, mine):
                fn(*args, **kwargs)
        finally:
            if self._run.value is mine:
                self._done = True
                mine.end()
        if self._run.value is not mine:
            mine.wait_for(self._run.value)


class _Result(Generic[T]):
    """The outcome of a call that has ended with a value or an Exception.

    KeyboardInterrupt, Cancelled and the like concern the caller, and are no outcome.
    """

    __slots__ = ("error", "known", "traceback", "value")

    value: T
    error: Exception | None
    traceback: TracebackType | None

    def __init__(self) -> None:
        self.known = False

    def keep(self, fn: Callable[..., T], args: Any, kwargs: Any) -> None:
        """Calls fn and keeps the outcome."""
        try:
            self.value = fn(*args, **kwargs)
            self.error = self.traceback = None
        except Exception as error:
            self.error, self.traceback = error, error.__traceback__
        self.known = True
        del self  # the exception holds this frame: it must not hold the exception

    def get(self) -> T:
        """Returns the value, or raises the same exception each time, with its own traceback."""
        if self.error is not None:
            try:
                raise self.error.with_traceback(self.traceback)
            finally:
                del self  # as above
        return self.value


def once_value(fn: Callable[P, T]) -> Callable[P, T]:
    """A decorator: fn is called once, and all calls return its value, or raise the same exception.

    Go's sync.OnceValue. The first call's arguments count. A decorated method is called once for all
    instances. A call that was ended from outside (KeyboardInterrupt, Cancelled) does not count.

    Blocks: the goroutine, or the OS thread, while another runs fn.
    Raises: what fn raises; RuntimeError as Once.do().

    >>> @golib.sync.once_value
    ... def config() -> dict[str, int]:
    ...     print('reading')
    ...     return {'n': 1}
    >>> config() is config()
    reading
    True
    """
    run: Ref[Any] = Ref(None)
    result = _Result[T]()

    @functools.wraps(fn)
    def value(*args: P.args, **kwargs: P.kwargs) -> T:
        while not result.known:
            mine = _Run()
            try:
                if run.replace(None, mine) and not result.known:
                    result.keep(fn, args, kwargs)
            finally:
                # If the call was interrupted, one of the waiters makes it.
                if run.replace(mine, None):
                    mine.end()
            other = run.value
            if other is not None:
                mine.wait_for(other)
        return result.get()

    return value


def once(fn: Callable[P, object]) -> Callable[P, None]:
    """A decorator: fn is called once; all calls return None, or raise the same exception.

    Go's sync.OnceFunc. The first call's arguments count. A decorated method is called once for all
    instances.

    Blocks: the goroutine, or the OS thread, while another runs fn.

    >>> @golib.sync.once
    ... def start() -> None:
    ...     print('started')
    >>> start(); start()
    started
    """
    valued = once_value(fn)

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        valued(*args, **kwargs)

    return call


class SingleFlight(Generic[K, T]):
    """Work by key: a caller that comes while it is under way waits for its result instead of repeating it.

    Go's golang.org/x/sync/singleflight.

    >>> flight = golib.sync.SingleFlight[str, int]()
    >>> flight.do('four', lambda: 2 + 2)
    4
    """

    __slots__ = ("__weakref__", "_calls")

    def __init__(self) -> None:
        self._calls: dict[K, tuple[Event, _Result[T], int]] = {}

    def do(self, key: K, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns fn(*args, **kwargs), or the outcome of the call for the same key that is under way.

        Blocks: the goroutine, or the OS thread, while another does the work.
        Raises: what fn raises, the same object in every caller that waits for it; RuntimeError if fn, or a finalizer or
            signal handler that interrupts it, calls do() for the same key.
        """
        me = _me()
        mine = call = (Event(), _Result[T](), me)
        ended, result, by = mine
        try:
            while (call := self._calls.setdefault(key, mine)) is not mine:
                ended, result, by = call
                _check(by, me)
                ended.wait()
                if result.known:
                    return result.get()
                # Its caller was interrupted: this one does the work.
            ended, result, by = mine
            try:
                result.keep(fn, args, kwargs)
            finally:
                try:
                    other = self._calls.pop(key, mine)
                    if other is not mine:
                        self._calls.setdefault(key, other)  # entered after a forget()
                    del other
                finally:
                    ended.set()
            return result.get()
        finally:
            # Else the exception holds this frame, and this frame the exception.
            del mine, call, result

    def forget(self, key: K) -> None:
        """Makes the next call for key do the work itself, even while one is under way.

        Blocks: nothing.
        """
        self._calls.pop(key, None)

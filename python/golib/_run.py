"""run, main and blocking: the functions that call user code."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from golib import _golib
from golib._errors import Cancelled

__all__ = ["blocking", "main", "run"]

P = ParamSpec("P")
T = TypeVar("T")

#: How often a thread that waits in run() looks whether what it raised in main has arrived.
_LOOK = 0.01
#: After so many seconds in a call that nothing can interrupt, run() raises it itself.
_PATIENCE = 1.0


def run(main: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs main(*args, **kwargs) as a goroutine, waits for it and returns its value.

    Other goroutines go on when it returns, as daemons. Called on the main thread, main is the
    main thread for Python: signal handlers may be set in it, and KeyboardInterrupt is raised in
    it. In a goroutine run() just calls main. If the caller is cancelled (golib.timeout), main is.

    Blocks: the goroutine that calls main, or the OS thread.
    Raises: what main raised (the same object); TypeError as go(); KeyboardInterrupt when main sat
        for a second in a call that cannot be interrupted, and that goroutine is abandoned.

    >>> golib.run(pow, 2, 10)
    1024
    """
    if _golib._in_goroutine():
        check(main)
        return main(*args, **kwargs)
    g = _golib._start_main(main, args, kwargs)
    try:
        try:
            return _await(g)
        except Cancelled:
            # Unless it is main's own, the caller is cancelled: so is main, for whose end it waits nevertheless.
            g.cancel()
        with _golib.shield():
            return _await(g)
    finally:
        _golib._end_main(g)
        del g


def _await(g: _golib.Goroutine[T]) -> T:
    """Waits for the end of a main goroutine; raises there what a signal handler raises here."""
    raised: _Raised | None = None
    try:
        while True:
            try:
                if _golib._wait_main(g, _LOOK if raised else None):
                    return g.join()
            except BaseException as error:  # of a signal handler
                if g.done() or isinstance(error, Cancelled):
                    # Of main itself, or too late for it; or this thread is cancelled.
                    raise
                raised = _Raised(g, error)
            if raised is not None and raised.has_arrived():
                raised = None
    finally:
        del g, raised


class _Raised:
    """What a signal handler raised, on its way into the main goroutine."""

    def __init__(self, g: _golib.Goroutine[Any], error: BaseException) -> None:
        self.g = g
        self.error = error
        self.since = time.monotonic()
        self.parked = False
        self.thrown = [False]
        self._throw()

    def _throw(self) -> None:
        if _golib._interrupt(self.g, self.error):
            self.parked = True
            return
        error, thrown = self.error, self.thrown

        class Thrower(BaseException):
            # CPython raises a class asynchronously; its instance is the object that we have.
            def __new__(cls, *args: object) -> Any:
                thrown[0] = True
                return error

        _golib._set_async_exc(self.g, Thrower)

    def has_arrived(self) -> bool:
        """True once it was raised; after a second in a call that cannot be interrupted it is raised here."""
        if self.g.done():
            return True
        if self.parked:
            return not _golib._is_interrupted(self.g)
        if self.thrown[0]:
            return True
        if _golib._interrupt(self.g, self.error):
            # It has parked meanwhile.
            _golib._set_async_exc(self.g, None)
            self.parked = True
        elif time.monotonic() - self.since > _PATIENCE:
            _golib._set_async_exc(self.g, None)
            raise self.error
        return False


def check(fn: Callable[..., Any]) -> None:
    """Raises TypeError for what cannot be a goroutine."""
    if not callable(fn):
        raise TypeError(f"a goroutine needs a callable, not {type(fn).__name__}")
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"a goroutine needs an ordinary function, not the async function {fn!r}")


def main(fn: Callable[P, T]) -> Callable[P, T]:
    """A decorator: calling fn runs it under run().

    It runs nothing by itself. Parameters and the return value pass through.

    Raises: TypeError if fn is not callable or an async function.

    >>> @golib.main
    ... def program(n: int) -> int:
    ...     return golib.go(pow, n, 2).join()
    >>> program(7)
    49
    """
    check(fn)

    @functools.wraps(fn)
    def program(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(fn, *args, **kwargs)

    return program


def blocking(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls fn(*args, **kwargs), announced as a call that blocks: Go's entersyscall.

    Only a hint: other goroutines may go on at once instead of after the scheduler has noticed, a
    fraction of a millisecond later. Calls that release the interpreter never need it.

    Cost: below a microsecond beside the call itself.

    >>> import time
    >>> golib.blocking(time.sleep, 0.001)
    """
    _golib._entersyscall()
    try:
        return fn(*args, **kwargs)
    finally:
        _golib._exitsyscall()

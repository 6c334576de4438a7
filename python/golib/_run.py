"""run, main and blocking: the functions that call user code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from golib import _golib

__all__ = ["blocking", "main", "run"]

P = ParamSpec("P")
T = TypeVar("T")


def run(main: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs main(*args, **kwargs) as a goroutine, waits for it and returns its value.

    When it returns, other goroutines continue as daemons. If run() is called on the main thread,
    Python takes main for that thread: signal handlers are set and run in it, and KeyboardInterrupt
    is raised in it, even inside a C call. In a goroutine run() just calls main. Cancelling the
    caller (golib.timeout) cancels main.

    Blocks: the goroutine that calls main, or the OS thread.
    Raises: what main raised (the same object); TypeError as go(); KeyboardInterrupt if main spends
        a second in a call that cannot be interrupted; that goroutine is then abandoned.

    >>> golib.run(pow, 2, 10)
    1024
    """
    if _golib._in_goroutine():
        check(main)
        return main(*args, **kwargs)
    return _golib._run_main(main, args, kwargs)


def check(fn: Any) -> None:
    """Raises TypeError if `fn` cannot be a goroutine's function."""
    if callable(fn) and not _golib._is_async(fn):
        return
    from golib._words import refuse

    refuse(fn)


def main(fn: Callable[P, T]) -> Callable[P, T]:
    """A decorator: calling fn runs it under run().

    Decorating runs nothing. Parameters and the return value pass through.

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

    Only a hint: other goroutines may continue at once, not only when the scheduler has noticed, a
    fraction of a millisecond later. Calls that release the interpreter never need it.

    Cost: less than a microsecond on top of the call.

    >>> import time
    >>> golib.blocking(time.sleep, 0.001)
    """
    _golib._entersyscall()
    try:
        return fn(*args, **kwargs)
    finally:
        _golib._exitsyscall()

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

    Other goroutines go on when it returns, as daemons. Called on the main thread, main is the
    main thread for Python: signal handlers are set and run in it, and KeyboardInterrupt is raised
    in it, also inside a C call. In a goroutine run() just calls main. If the caller is cancelled
    (golib.timeout), main is.

    Blocks: the goroutine that calls main, or the OS thread.
    Raises: what main raised (the same object); TypeError as go(); KeyboardInterrupt when main sat
        for a second in a call that cannot be interrupted, and that goroutine is abandoned.

    >>> golib.run(pow, 2, 10)
    1024
    """
    if _golib._in_goroutine():
        check(main)
        return main(*args, **kwargs)
    return _golib._run_main(main, args, kwargs)


def check(fn: Any) -> None:
    """Raises TypeError for what cannot be a goroutine."""
    if callable(fn) and not _golib._is_async(fn):
        return
    from golib._words import refuse

    refuse(fn)


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

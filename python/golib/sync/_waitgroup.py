"""WaitGroup: its core is compiled; the method that calls user code is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from golib import _golib
from golib._run import check

__all__ = ["WaitGroup"]

P = ParamSpec("P")


class WaitGroup(_golib.WaitGroup):
    """Waits for a number of tasks to end: Go's sync.WaitGroup.

    It may be used again after each wait, and from goroutines and threads alike.

    >>> wg = golib.sync.WaitGroup()
    >>> wg.add(2)
    >>> for i in range(2):
    ...     _ = golib.go(wg.done)
    >>> wg.wait()
    """

    __slots__ = ()

    def go(self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Runs fn(*args, **kwargs) as a goroutine, and counts it until it ends.

        An exception of fn is reported like that of any goroutine whose handle nobody holds.

        Blocks: nothing.
        Raises: as golib.go(); then nothing was added.

        >>> wg = golib.sync.WaitGroup()
        >>> wg.go(print, 'hello')
        >>> wg.wait()
        hello
        """
        check(fn)
        self.add(1)
        name = getattr(fn, "__name__", None) or type(fn).__name__
        try:
            _golib.spawn(_call, (self, fn, args, kwargs), name=name, _skip=1)
        except BaseException:
            self.done()
            raise


def _call(
    wg: WaitGroup, fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    try:
        fn(*args, **kwargs)
    finally:
        wg.done()

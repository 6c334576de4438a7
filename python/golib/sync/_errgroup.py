"""ErrGroup: goroutines whose first failure cancels the others."""

from __future__ import annotations

from typing import Self

from golib import _golib

__all__ = ["ErrGroup"]


class ErrGroup(_golib.Group):
    """A group of goroutines that work on one task: Go's golang.org/x/sync/errgroup.

    The first failure cancels `ctx`, the context under which all of them run, and wait() raises it.
    Unlike scope() this is no block: nothing waits for the goroutines unless wait() is called.

    Raises: ValueError for a limit below 1.

    >>> group = golib.sync.ErrGroup()
    >>> _ = group.go(int, 'x')
    >>> _ = group.go(golib.Chan().recv)
    >>> group.wait()
    Traceback (most recent call last):
    ValueError: invalid literal for int() with base 10: 'x'
    """

    __slots__ = ()

    def __new__(cls, limit: int | None = None) -> Self:
        self = super().__new__(cls, limit=limit)
        ctx, _ = _golib.with_cancel(_golib.current())
        self._open(ctx)
        return self

    def wait(self) -> None:
        """Waits for all, cancels ctx, and raises the first failure if there was one.

        A goroutine that ended with Cancelled has not failed. Calling it again raises the same exception.

        Blocks: the goroutine, or the OS thread.
        """
        self._wait()
        self._cancel(None)
        errors = self._errors()
        if errors:
            try:
                raise errors[0]
            finally:
                del errors, self  # the exception holds this frame

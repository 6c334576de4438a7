"""scope: goroutines that end before the block in which they were started."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from golib import _golib
from golib._errors import Cancelled, Goexit

__all__ = ["Scope", "scope"]

#: Exceptions that leave a block without being its failure.
_NO_FAILURES = (Cancelled, Goexit, GeneratorExit)


class Scope(_golib.Group):
    """What scope() returns; it has go(), try_go(), cancel() and ctx."""

    __slots__ = ("_cancelled",)

    def __new__(cls, limit: int | None = None, cancel_on_error: bool = True) -> Self:
        self = super().__new__(cls, limit=limit, cancel_on_error=cancel_on_error)
        self._cancelled = False
        return self

    def cancel(self) -> None:
        """Cancels all goroutines of the scope, and the block itself where it waits.

        A block that ends because of this raises nothing. Calling it again does nothing.

        Blocks: nothing.

        >>> with golib.scope() as s:
        ...     g = s.go(golib.Chan().recv)
        ...     s.cancel()
        >>> g.exception()
        Cancelled('context canceled')
        """
        self._cancelled = True
        self._cancel(None)

    if TYPE_CHECKING:

        def __enter__(self) -> Self: ...
        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            tb: TracebackType | None,
            /,
        ) -> bool: ...

    else:
        # Compiled: a signal can interrupt Python code before its first instruction.
        __enter__ = _golib.Group._enter
        __exit__ = _golib.Group._exit

    def _outcome(self, error: BaseException | None, late: BaseException | None) -> bool:
        """Raises the scope's outcome; returns True if the block's own exception has been dealt with.

        All of its goroutines have ended. `error` left the block; `late` interrupted the wait for them.
        """
        own = [e for e in (error, late) if e is not None and not isinstance(e, _NO_FAILURES)]
        failures = own + self._errors()
        bare = next((e for e in failures if isinstance(e, (KeyboardInterrupt, SystemExit))), None)
        try:
            if bare is not None:
                if bare is error:
                    return False
                raise bare
            if failures:
                if late is not None:
                    _seen_here(late)
                raise BaseExceptionGroup("unhandled exceptions in a scope", failures) from None
            if late is not None:
                raise late
            # Cancelled by cancel() alone, it ended as asked.
            return isinstance(error, Cancelled) and self._cancelled and not _golib._is_cancelled()
        finally:
            del self, own, failures, bare, error, late  # they hold this frame


def _seen_here(error: BaseException) -> None:
    """Starts the traceback of an exception that interrupted a block's end at that block: no Python frame has it yet."""
    block = sys._getframe(1).f_back
    if block is not None:
        tb = TracebackType(error.__traceback__, block, block.f_lasti, block.f_lineno)
        error.__traceback__ = tb


def scope(*, limit: int | None = None, cancel_on_error: bool = True) -> Scope:
    """A `with` block that ends only when every goroutine started by its go() has ended.

    The first failure cancels the others and the block; with cancel_on_error=False they continue. With a
    limit, go() waits while that many are running. When all have ended, the failures (the block's first,
    then in the order in which goroutines ended) are raised together; cancellations do not count. If the
    block is cancelled from outside, so are its goroutines. Go has golang.org/x/sync/errgroup for this.

    Blocks: at the end of the block, the goroutine or OS thread, until all goroutines have ended. A
        second Ctrl-C leaves them behind.
    Raises: ExceptionGroup, even for a single failure; KeyboardInterrupt and SystemExit as themselves;
        Cancelled if it was cancelled from outside; ValueError for a limit below 1.

    >>> with golib.scope() as s:
    ...     squares = [s.go(pow, n, 2) for n in range(4)]
    >>> [g.join() for g in squares]
    [0, 1, 4, 9]
    """
    return Scope(limit, cancel_on_error)

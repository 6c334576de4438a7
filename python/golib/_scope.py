"""scope: goroutines that end before the block that started them does."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from golib import _golib
from golib._errors import Cancelled, Goexit

__all__ = ["Scope", "scope"]

#: By which a block is left without having failed.
_NO_FAILURES = (Cancelled, Goexit, GeneratorExit)


class Scope(_golib.Group):
    """What scope() returns: go(), try_go(), cancel() and ctx. See there."""

    __slots__ = ("_cancelled",)

    def __new__(cls, limit: int | None = None, cancel_on_error: bool = True) -> Self:
        self = super().__new__(cls, limit=limit, cancel_on_error=cancel_on_error)
        self._cancelled = False
        return self

    def cancel(self) -> None:
        """Cancels all goroutines of the scope, and the block itself where it waits.

        A block that is left because of that raises nothing. Calling it again does nothing.

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
        # Not Python code, which a signal can interrupt before its first instruction.
        __enter__ = _golib.Group._enter
        __exit__ = _golib.Group._exit

    def _outcome(self, error: BaseException | None, late: BaseException | None) -> bool:
        """Raises what the scope came to; true if the block's own exception is dealt with.

        No goroutine of it runs any more. `error` left the block, `late` interrupted the wait for them.
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
            # Cancelled by cancel() alone it has done what was wished.
            return isinstance(error, Cancelled) and self._cancelled and not _golib._is_cancelled()
        finally:
            del self, own, failures, bare, error, late  # they hold this frame


def _seen_here(error: BaseException) -> None:
    """Begins the traceback of what interrupted the end of a block at that block: it has passed no Python code yet."""
    block = sys._getframe(1).f_back
    if block is not None:
        tb = TracebackType(error.__traceback__, block, block.f_lasti, block.f_lineno)
        error.__traceback__ = tb


def scope(*, limit: int | None = None, cancel_on_error: bool = True) -> Scope:
    """A `with` block whose goroutines, started by its go(), have all ended when it is left.

    The first that fails cancels the others and the block; with cancel_on_error=False they go on. With a
    limit, go() waits while so many run. When all have ended, the failures (those of the block first,
    then in the order of their ends) are raised together; cancelled ones do not count. If the block is
    cancelled from outside, so are its goroutines. Go has golang.org/x/sync/errgroup for this.

    Blocks: the end of the block, the goroutine or OS thread, until all goroutines have ended. A second
        Ctrl-C leaves them behind.
    Raises: ExceptionGroup, also of a single failure; KeyboardInterrupt and SystemExit bare;
        Cancelled if it was cancelled from outside; ValueError for a limit below 1.

    >>> with golib.scope() as s:
    ...     squares = [s.go(pow, n, 2) for n in range(4)]
    >>> [g.join() for g in squares]
    [0, 1, 4, 9]
    """
    return Scope(limit, cancel_on_error)

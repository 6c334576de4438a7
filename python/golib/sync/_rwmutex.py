"""RWMutex: its core is compiled; the `with` block for readers is here."""

from __future__ import annotations

from types import TracebackType

from golib import _golib

__all__ = ["RWMutex", "ReadLock"]


class RWMutex(_golib.RWMutex):
    """Many readers or one writer: Go's sync.RWMutex.

    `with rw:` locks for writing, `with rw.read():` for reading. A waiting writer keeps new readers out,
    and a writer that unlocks lets the waiting readers in, so nobody starves. The lock has no owner: any
    goroutine may unlock it.

    >>> rw = golib.sync.RWMutex()
    >>> with rw.read():
    ...     rw.try_rlock(), rw.try_lock()
    (True, False)
    >>> rw.runlock()
    """

    __slots__ = ()

    def read(self) -> ReadLock:
        """The lock of readers, for a `with` block: Go's RLocker.

        Blocks: nothing; entering the block does, as rlock().

        >>> rw = golib.sync.RWMutex()
        >>> with rw.read():
        ...     rw.try_lock()
        False
        """
        return ReadLock(self)


class ReadLock:
    """What RWMutex.read() returns: entering locks for reading, leaving unlocks. It may be used again."""

    __slots__ = ("_rw",)

    def __init__(self, rw: _golib.RWMutex) -> None:
        self._rw = rw

    def __enter__(self) -> None:
        self._rw.rlock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._rw.runlock()

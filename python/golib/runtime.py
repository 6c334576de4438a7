"""golib.runtime: inspecting and tuning the scheduler."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from golib import _golib, _report

__all__ = ["goroutines", "lock_os_thread", "print_stacks", "set_max_threads", "stack", "stats"]


def goroutines() -> list[_golib.Goroutine[Any]]:
    """The handles of all live goroutines, by number.

    >>> ch = golib.Chan()
    >>> g = golib.go(ch.recv)
    >>> g in golib.runtime.goroutines()
    True
    >>> ch.send(None)
    """
    return sorted(_golib.goroutines(), key=lambda g: g.id)


def print_stacks(file: TextIO | None = None) -> None:
    """Writes the stacks of all goroutines to file, by default to stderr, in Go's format.

    SIGQUIT does the same.

    Raises: what file.write() raises.

    >>> import io
    >>> ch = golib.Chan()
    >>> g = golib.spawn(ch.recv, name='waiter')
    >>> golib.sleep(0.1)
    >>> out = io.StringIO()
    >>> golib.runtime.print_stacks(out)
    >>> f'goroutine {g.id} [chan receive]: waiter' in out.getvalue()
    True
    >>> ch.send(None)
    """
    _report.print_all(file)


def stack(all: bool = False) -> str:
    """The stack of the calling goroutine (or thread) in Go's format, or of all goroutines.

    >>> 'goroutine' in golib.go(golib.runtime.stack).join()
    True
    """
    if all:
        return _report.all_stacks()
    frame = sys._getframe()
    return _report.own_stack(frame.f_back or frame)  # this function may be a goroutine's own


def stats() -> dict[str, int]:
    """Counters of the scheduler: Ps, threads, goroutines, hand-offs, and parks of goroutines that could move.

    >>> golib.runtime.stats()['goroutines'] == golib.num_goroutine()
    True
    """
    return _golib.stats()


def set_max_threads(n: int, /) -> int:
    """Sets the maximum number of OS threads (default 10,000) and returns the previous limit.

    When it is reached, goroutines wait for a free thread, and one line on stderr says so. Threads beyond a lowered
    limit stay until they are idle. Go ends the process instead.

    Raises: ValueError if n is not positive.

    >>> before = golib.runtime.set_max_threads(500)
    >>> golib.runtime.set_max_threads(before)
    500
    """
    return _golib.set_max_threads(n)


class lock_os_thread:  # noqa: N801 - it is used as a function
    """A context manager that keeps the goroutine on its OS thread; nests. Go's LockOSThread.

    For C libraries that keep something per thread. While the goroutine waits, its thread does nothing else.

    >>> import threading
    >>> def work() -> bool:
    ...     with golib.runtime.lock_os_thread():
    ...         before = threading.get_native_id()
    ...         golib.sleep(0.001)
    ...         return threading.get_native_id() == before
    >>> golib.run(work)
    True
    """

    __slots__ = ()

    def __enter__(self) -> None:
        _golib._lock_os_thread()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None:
        _golib._unlock_os_thread()


if not TYPE_CHECKING:  # a type checker would believe that every name exists

    def __getattr__(name: str) -> NoReturn:
        from golib._words import missing

        raise missing(__name__, name)

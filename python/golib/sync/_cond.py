"""Cond and Barrier: waiting for a change of what a lock guards."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, TypeVar

from golib import _golib
from golib._errors import Deadlock
from golib._golib import Event, Mutex, shield

__all__ = ["Barrier", "Cond"]

T = TypeVar("T")


class Lock(Protocol):
    """What Cond needs of its lock; Mutex, threading.Lock and threading.RLock have it."""

    def acquire(self) -> bool: ...
    def release(self) -> None: ...


class Cond:
    """A condition variable: Go's sync.Cond, with the methods of threading.Condition.

    Waiters are woken in the order in which they came. The lock is a Mutex unless another is given.
    There are no spurious wake-ups, but the condition may have changed again by the time the lock is
    taken: wait in a loop, or with wait_for(). Notifying does not need the lock (threading's does).

    >>> cond, items = golib.sync.Cond(), []
    >>> def take():
    ...     with cond:
    ...         cond.wait_for(lambda: items)
    ...         return items.pop()
    >>> g = golib.go(take)
    >>> with cond:
    ...     items.append('x')
    ...     cond.notify()
    >>> g.join()
    'x'
    """

    __slots__ = {
        "__weakref__": None,
        "_waiters": None,
        "lock": "The lock that was given, or a Mutex.",
    }

    def __init__(self, lock: Lock | None = None) -> None:
        self.lock: Any = Mutex() if lock is None else lock
        #: In the order of arrival. Whoever takes a waiter out must wake it.
        self._waiters: OrderedDict[Event, None] = OrderedDict()

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """lock.acquire()."""
        return bool(self.lock.acquire(*args, **kwargs))

    def release(self) -> None:
        """lock.release()."""
        self.lock.release()

    def __enter__(self) -> bool:
        self.lock.__enter__()
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.lock.__exit__(kind, error, tb)

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits for a notification and takes the lock again; returns False after timeout.

        Blocks: the goroutine, or the OS thread.
        Units: timeout in seconds; 0 or less does not wait, None waits forever.
        Raises: RuntimeError if the lock is not held.
        Cancel: a cancelled wait has taken no notification; the lock is held again.
        """
        waiter = Event()
        self._waiters[waiter] = None
        try:
            held = self._give_up()
        except BaseException:
            self._leave(waiter)
            raise
        notified = False
        try:
            notified = waiter._wait_notified(timeout) or not self._leave(waiter)
        except BaseException:
            if not self._leave(waiter):
                self.notify()  # the notification came after the wait was given up: it is for the next waiter
            raise
        finally:
            try:
                self._take_again(held)
            except BaseException:
                if notified:
                    self.notify()  # nor is it used now
                raise
        return notified

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Waits until predicate() is true; returns its last value, which is false only after timeout.

        Blocks: the goroutine, or the OS thread.
        Units: timeout in seconds, for all waits together; None waits forever.
        Raises: what predicate raises, with the lock held.
        """
        deadline = None
        if timeout is not None:
            try:
                deadline = _golib._monotonic() + timeout
            except OverflowError:  # an int too large for a float
                deadline = _golib._monotonic() if timeout < 0 else None
        value = predicate()
        while not value:
            left = None if deadline is None else deadline - _golib._monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            value = predicate()
        return value

    def notify(self, n: int = 1) -> None:
        """Wakes up to n waiters, those that have waited longest.

        Blocks: nothing.
        """
        while n > 0:
            try:
                waiter, _ = self._waiters.popitem(last=False)
            except KeyError:
                return
            waiter.set()
            n -= 1

    def notify_one(self) -> None:
        """notify(1): Go's Signal.

        Blocks: nothing.
        """
        self.notify(1)

    def notify_all(self) -> None:
        """Wakes all current waiters: Go's Broadcast.

        Blocks: nothing.
        """
        self.notify(len(self._waiters))

    def _leave(self, waiter: Event) -> bool:
        """Takes a waiter out; returns False if it has been notified."""
        try:
            del self._waiters[waiter]
        except KeyError:
            return False
        return True

    def _give_up(self) -> Any:
        save = getattr(self.lock, "_release_save", None)
        if save is not None:
            return save()  # an RLock, which may be held several times
        self.lock.release()
        return None

    def _take_again(self, held: Any) -> None:
        """Locks again; an exception that is raised meanwhile is raised afterwards."""
        try:
            self._lock(held)
        except Deadlock:
            raise
        except BaseException:
            while True:
                try:
                    with shield():
                        self._lock(held)
                    break
                except Deadlock:
                    raise
                except BaseException:
                    pass  # a second KeyboardInterrupt; the first one is raised
            raise

    def _lock(self, held: Any) -> None:
        if held is None:
            self.lock.acquire()
        else:
            self.lock._acquire_restore(held)


class Barrier(threading.Barrier):
    """Holds its waiters until `parties` of them have come: threading.Barrier for goroutines.

    Signature, results and errors (threading.BrokenBarrierError) are threading's. As there, a lock is held while
    `action` runs: an action that calls wait(), reset() or abort() waits for itself. Go has no barrier.

    >>> barrier = golib.sync.Barrier(2)
    >>> g = golib.go(barrier.wait)
    >>> sorted([barrier.wait(), g.join()])
    [0, 1]
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], None] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(parties, action, timeout)
        # All waits of threading.Barrier use its condition.
        self._cond: Any = Cond()

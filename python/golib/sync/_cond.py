"""Cond and Barrier: waiting for what a lock guards."""

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
    """What Cond needs of its lock: Mutex, threading.Lock and threading.RLock have it."""

    def acquire(self) -> bool: ...
    def release(self) -> None: ...


class Cond:
    """A condition variable: Go's sync.Cond, with the methods of threading.Condition.

    Waiters go on in the order in which they came. The lock is a Mutex unless another is given. Nobody
    is woken for nothing, but the condition may have changed again by the time the lock is taken: wait
    in a loop, or with wait_for(). Notifying does not need the lock (threading's does).

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

    __slots__ = ("__weakref__", "_waiters", "lock")

    def __init__(self, lock: Lock | None = None) -> None:
        self.lock: Any = Mutex() if lock is None else lock
        #: In the order of coming. Who takes a waiter out wakes it.
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
        """Gives the lock up, waits to be notified and takes it again; False after timeout.

        Blocks: the goroutine, or the OS thread.
        Units: timeout in seconds; 0 or less does not wait, None waits for ever.
        Raises: RuntimeError if the lock is not held.
        Cancel: a wait that ended otherwise has taken no notification; the lock is held again.
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
                self.notify()  # it came when we had given up: it is the next one's
            raise
        finally:
            try:
                self._take_again(held)
            except BaseException:
                if notified:
                    self.notify()  # nor do we use it now
                raise
        return notified

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Waits until predicate() is true; its last value, which is false only after timeout.

        Blocks: the goroutine, or the OS thread.
        Units: timeout in seconds, for all waits together; None waits for ever.
        Raises: what predicate raises; the lock is held then.
        """
        deadline = None
        if timeout is not None:
            try:
                deadline = _golib._monotonic() + timeout
            except OverflowError:  # of an int that no float can hold
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
        """Lets up to n waiters go on, those that have waited longest.

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
        """Lets all go on who wait now: Go's Broadcast.

        Blocks: nothing.
        """
        self.notify(len(self._waiters))

    def _leave(self, waiter: Event) -> bool:
        """Takes a waiter out; False: it was notified."""
        try:
            del self._waiters[waiter]
        except KeyError:
            return False
        return True

    def _give_up(self) -> Any:
        save = getattr(self.lock, "_release_save", None)
        if save is not None:
            return save()  # an RLock, however often it is held
        self.lock.release()
        return None

    def _take_again(self, held: Any) -> None:
        """Locks again, whatever is raised meanwhile: that is raised afterwards."""
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
                    pass  # KeyboardInterrupt again: the first is raised
            raise

    def _lock(self, held: Any) -> None:
        if held is None:
            self.lock.acquire()
        else:
            self.lock._acquire_restore(held)


class Barrier(threading.Barrier):
    """Lets its waiters go on when there are so many of them: threading.Barrier for goroutines.

    Signature, results and errors (threading.BrokenBarrierError) are threading's. So is the lock that is held while
    `action` runs: an action that calls wait(), reset() or abort() waits for itself. Go has none.

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
        # All of threading's waits go by its condition.
        self._cond: Any = Cond()

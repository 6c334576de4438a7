"""golib.aio.Executor; concurrent.futures, which it needs, brings logging along."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from golib import _golib
from golib._errors import Deadlock, Goexit
from golib._registry import Registry, add, members
from golib.sync import Cond, Semaphore, WaitGroup

__all__ = ["Executor"]

P = ParamSpec("P")
T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """Runs each call as a goroutine of its own, at most max_workers of them at once (None: all).

    It is used as ThreadPoolExecutor is: submit, map, shutdown, `with`, wait() and as_completed(),
    loop.run_in_executor(). What differs: a call begins with fresh thread-locals and with the context variables of
    whoever submitted it; waiting in Future.result(), Future.exception() or shutdown() parks a goroutine, and holds no
    OS thread; a call that ends by goexit() has the result None. wait() and as_completed() are the standard library's,
    and hold the OS thread of a goroutine that waits in them. Go has none; see WaitGroup.go and Semaphore.

    Calls that are under way or queued are made before the interpreter exits, as the standard library's are; goroutines
    of go() are not. A forked child begins with none.

    Raises: ValueError if max_workers is not positive.
    Cost: a submitted call is a goroutine; a queued one is not yet.

    >>> with golib.aio.Executor(2) as executor:
    ...     future = executor.submit(pow, 2, 10)
    ...     list(executor.map(len, ['a', 'bc'])), future.result()
    ([1, 2], 1024)
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._max_workers = max_workers
        self._shutdown = False
        self._begin()
        add(_executors, self)

    def _begin(self, forker: int = 0) -> None:
        # No lock guards this: a finalizer or a signal handler that comes into submit() may call it. Whoever puts a call
        # into the queue then looks for a free slot, whoever frees a slot then looks into the queue.
        #: One for each call that may run; None: for all.
        self._slots = None if self._max_workers is None else Semaphore(self._max_workers)
        if self._slots is not None and forker:
            self._slots.try_acquire()
        #: Only as long as max_workers are running.
        self._queue: deque[_Call[Any]] = deque()
        #: The goroutines that are in a call now.
        self._inside: set[int] = {forker} if forker else set()
        #: In a child that one of the calls forked: its goroutine, with which the child ends.
        self._forker = forker
        #: Those running and those queued, but for the forker's.
        self._calls = WaitGroup()

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Has fn(*args, **kwargs) called by a goroutine; the future of its result.

        Blocks: nothing.
        Raises: RuntimeError after shutdown() or while the interpreter exits; as go() if no goroutine can be had.
        """
        call = _Call(fn, args, kwargs)
        self._calls.add(1)  # before the look: shutdown() waits for it, or it sees the shutdown
        if self._shutdown or _exiting:
            self._calls.done()
            what = "shutdown" if self._shutdown else "interpreter shutdown"
            raise RuntimeError(f"cannot schedule new futures after {what}")
        if self._slots is not None and not self._slots.try_acquire():
            call.context = contextvars.copy_context()
            self._queue.append(call)
            if self._slots.try_acquire():
                self._start_next()
            return call.future
        try:
            self._start(call)
        except Exception:
            self._calls.done()
            self._start_next()
            raise
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls, and waits for those that were submitted; a `with` block ends so.

        cancel_futures cancels those that have not begun.

        Blocks: the goroutine, or the OS thread, unless wait is false.
        Raises: RuntimeError if one of the executor's own calls would wait for itself.
        """
        self._shutdown = True
        while cancel_futures and (call := self._next()) is not None:
            call.future.cancel()
            call.future.set_running_or_notify_cancel()  # tells wait() and as_completed()
            self._calls.done()
        if wait:
            if _goid() in self._inside:
                raise RuntimeError("cannot wait for the call that waits")
            self._calls.wait()

    def _start(self, call: _Call[Any]) -> None:
        fn: Any = call.fn
        name = getattr(fn, "__name__", None) or type(fn).__name__
        _golib.spawn(self._run, (call,), name=name, _skip=2)

    def _next(self) -> _Call[Any] | None:
        """Takes the first call out of the queue."""
        try:
            return self._queue.popleft()
        except IndexError:
            return None

    def _start_next(self) -> None:
        """The caller has a slot: it is for the first in the queue."""
        if self._slots is None:
            return
        while True:
            call = self._next()
            if call is None:
                self._slots.release()
                if not self._queue or not self._slots.try_acquire():
                    return
                continue
            try:
                call.context.run(self._start, call)
                return
            except (MemoryError, RuntimeError) as error:
                call.fail(error)
                self._calls.done()

    def _run(self, call: _Call[Any]) -> None:
        """A goroutine."""
        me = _goid()
        self._inside.add(me)
        try:
            call.run()
        finally:
            del call  # an exception may hold this frame
            self._inside.discard(me)
            self._start_next()
            if me != self._forker:
                self._calls.done()
            del self

    def _after_fork_in_child(self) -> None:
        me = _goid()
        self._begin(forker=me if me in self._inside else 0)


class _Future(concurrent.futures.Future[T]):
    """A future for which goroutines wait without an OS thread."""

    def __init__(self) -> None:
        super().__init__()
        # All of its waits go by its condition. It locks twice when it shows itself in an error.
        self._condition: Any = Cond(threading.RLock())


class _Call(Generic[T]):
    """What was submitted."""

    __slots__ = ("args", "context", "fn", "future", "kwargs")

    #: The submitter's, for one that has to wait.
    context: contextvars.Context

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.future: concurrent.futures.Future[T] = _Future()
        self.fn = fn
        self.args = args
        self.kwargs = kwargs

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result: Any = self.fn(*self.args, **self.kwargs)
        except Goexit:
            result = None
        except BaseException as error:
            self.future.set_exception(error)
            del self  # the exception holds this frame: it must not hold the exception
            return
        self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """No goroutine can be had."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def _goid() -> int:
    """The caller's number, 0 on a thread."""
    g = _golib._current()
    return 0 if g is None else g.id


_executors: Registry[Executor] = {}
_exiting = False


def _at_exit() -> None:
    """Called when the main thread has ended, while goroutines still run."""
    global _exiting
    _exiting = True
    for executor in members(_executors):
        try:
            executor._calls.wait()
        except Deadlock:
            pass  # they would never end


def _after_fork_in_child() -> None:
    for executor in members(_executors):
        executor._after_fork_in_child()


# Where ThreadPoolExecutor waits for its threads.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
_golib._hook_child(_after_fork_in_child)

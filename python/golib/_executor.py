"""golib.aio.Executor. In a module of its own, because concurrent.futures imports logging."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread
import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Generic, ParamSpec, TypeVar

from golib import _golib
from golib._errors import Deadlock, Goexit
from golib._registry import Registry, add, members
from golib.sync import Cond, WaitGroup

__all__ = ["Executor"]

P = ParamSpec("P")
T = TypeVar("T")

BrokenThreadPool = concurrent.futures.thread.BrokenThreadPool


class Executor(concurrent.futures.ThreadPoolExecutor):
    """ThreadPoolExecutor with goroutines for threads: at most max_workers of them (None: as many as there are calls).

    Use it like ThreadPoolExecutor: submit, map, shutdown, `with`, wait() and as_completed(), loop.run_in_executor(),
    loop.set_default_executor(). A worker first calls initializer(*initargs), then makes one call after another, so
    thread-locals work as they do in a pool of threads. Its name is thread_name_prefix and a number.

    The differences: a call runs with its submitter's context variables. Future.result(), Future.exception() and
    shutdown() park a goroutine without holding an OS thread. A call that ends by goexit() has the result None. submit()
    may be called anywhere, even by finalizers and signal handlers. wait() and as_completed() are the standard
    library's: a goroutine that waits in them holds its OS thread. Go has no executor; see WaitGroup.go and Semaphore.

    Like the standard library's, the executor finishes running and queued calls before the interpreter exits; nobody
    waits for the goroutines of go(). A forked child begins without calls.

    Raises: ValueError if max_workers is not positive; TypeError if initializer is not callable.
    Cost: a goroutine for each worker; without max_workers, workers beyond 32 end when they are idle.

    >>> with golib.aio.Executor(2) as executor:
    ...     future = executor.submit(pow, 2, 10)
    ...     list(executor.map(len, ['a', 'bc'])), future.result()
    ([1, 2], 1024)
    """

    _numbers = itertools.count().__next__

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        # ThreadPoolExecutor's own __init__ is left out: no method here uses its threads or its queue.
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        # Private, but read by code that inspects pools; so are the two properties below.
        self._max_workers: Any = max_workers
        name = thread_name_prefix or f"Executor-{self._numbers()}"
        self._pool = _Pool(max_workers, name, initializer, initargs)
        add(_pools, self._pool)

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Schedules fn(*args, **kwargs) on a goroutine and returns a Future for its result.

        Blocks: nothing.
        Raises: RuntimeError after shutdown() or while the interpreter exits; BrokenThreadPool if an initializer has
            failed; as go() if no goroutine can be had.
        """
        call = _Call(fn, args, kwargs)
        self._pool.take(call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuses further calls and waits for those submitted, as the end of a `with` block does.

        With cancel_futures, calls that have not begun are cancelled.

        Blocks: the goroutine, or the OS thread, unless wait is false.
        Raises: RuntimeError if one of the executor's own calls would wait for itself.
        """
        pool = self._pool
        pool.close()
        if cancel_futures:
            pool.drop_all(lambda call: call.cancel())
        if wait:
            if _goid() in pool.inside:
                raise RuntimeError("cannot wait for the call that waits")
            pool.calls.wait()
            pool.staff.wait()

    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._pool.closed

    @property
    def _broken(self) -> bool | str:  # type: ignore[override]
        return self._pool.broken or False

    def __del__(self) -> None:
        pool = getattr(self, "_pool", None)
        if pool is not None:
            pool.close()  # the workers still make the calls in the queue


class _Pool:
    """An executor's workers and the calls that wait for them. Workers refer to the pool, never to the executor.

    A submitter queues its call first, then wakes an idle worker or starts a new one if the limit allows. A worker that
    finds the queue empty first lists itself as idle, then looks at the queue once more. So one of them sees the other.

    Nothing is locked. Each step is one operation of a container in C, which no other thread, finalizer or signal
    handler interrupts, so finalizers and signal handlers may submit at any point.
    """

    #: How many idle workers are kept if there is no limit: ThreadPoolExecutor's default limit.
    KEPT = min(32, (os.cpu_count() or 1) + 4)

    def __init__(
        self,
        limit: int | None,
        name: str,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self.limit = limit
        self.name = name
        self.initializer = initializer
        self.initargs = initargs
        self.number = itertools.count().__next__
        self.closed = False
        self.broken = ""
        self.begin()

    def begin(self, forker: int = 0) -> None:
        """Empties the pool. In a child that a call forked, only that call's goroutine lives; the child ends with it."""
        self.forker = forker
        self.queue: deque[_Call[Any]] = deque()
        self.idle: list[_golib.Event] = []
        #: The number of the next worker; and one entry for each worker that has ended.
        self.begun = itertools.count(1 + bool(forker)).__next__
        self.vacancies: list[None] = []
        #: The goroutines that are making a call.
        self.inside: set[int] = {forker} if forker else set()
        #: Calls queued or under way, and workers, without the forker's.
        self.calls = WaitGroup()
        self.staff = WaitGroup()
        self.workers: set[object] = set()

    # -- submitters

    def take(self, call: _Call[Any]) -> None:
        """Queues the call and sees that a worker makes it."""
        self.calls.add(1)  # first: shutdown() either refuses it or waits for it
        refusal = self.refusal()
        if refusal is not None:
            self.calls.done()
            raise refusal
        self.queue.append(call)
        try:
            self.see_to_it()
        except (MemoryError, RuntimeError):
            if self.workers:
                return  # one of them will make it
            try:
                self.queue.remove(call)
            except ValueError:
                return  # a worker has taken it
            self.calls.done()
            raise

    def refusal(self) -> Exception | None:
        if self.broken:
            return BrokenThreadPool(self.broken)
        if self.closed:
            return RuntimeError("cannot schedule new futures after shutdown")
        if _exiting:
            return RuntimeError("cannot schedule new futures after interpreter shutdown")
        return None

    def see_to_it(self) -> None:
        """Wakes or starts a worker for a queued call. If all are busy, they look at the queue again by themselves."""
        try:
            self.idle.pop().set()
            return
        except IndexError:
            pass
        if self.limit is not None:
            try:
                self.vacancies.pop()
            except IndexError:
                if self.begun() > self.limit:
                    return
        worker = object()
        self.workers.add(worker)
        self.staff.add(1)
        try:
            name = f"{self.name}_{self.number()}"
            _golib.spawn(self.work, (worker,), name=name, _skip=3)
        except BaseException:
            self.dismiss(worker)
            raise

    def close(self) -> None:
        """Lets the workers end once the queue is empty."""
        self.closed = True
        try:
            while True:
                self.idle.pop().set()
        except IndexError:
            pass

    def drop_all(self, drop: Callable[[_Call[Any]], None]) -> None:
        """Takes all calls out of the queue."""
        try:
            while True:
                call = self.queue.popleft()
                drop(call)
                self.calls.done()
        except IndexError:
            pass

    # -- workers

    def work(self, worker: object) -> None:
        """The life of a worker; runs as a goroutine."""
        me, bell = _goid(), _golib.Event()
        try:
            if self.initializer is None or self.initialize():
                # In a cancelled goroutine every wait raises, so it must not make another call.
                while self.work_on(me) or self.rest(bell):
                    if _golib._is_cancelled() or me == self.forker:
                        break
        finally:
            try:
                self.idle.remove(bell)
            except ValueError:
                pass
            if me != self.forker:
                self.dismiss(worker)
                self.pass_on()

    def initialize(self) -> bool:
        assert self.initializer is not None
        try:
            self.initializer(*self.initargs)
        except BaseException:
            log = logging.getLogger("concurrent.futures")
            log.critical("Exception in initializer:", exc_info=True)
            self.broken = "A thread initializer failed, the thread pool is not usable anymore"
            self.drop_all(lambda call: call.fail(BrokenThreadPool(self.broken)))
            return False
        return True

    def work_on(self, me: int) -> bool:
        """Makes the first call in the queue; returns False if there is none."""
        try:
            call = self.queue.popleft()
        except IndexError:
            return False
        self.inside.add(me)
        _golib._use_context(call.context)
        try:
            call.run()
        finally:
            del call  # an exception may hold this frame
            _golib._use_context(None)
            self.inside.discard(me)
            if me != self.forker:
                self.calls.done()
        return True

    def rest(self, bell: _golib.Event) -> bool:
        """Waits for a call after the queue was found empty; returns False if the worker may end."""
        if self.closed or (self.limit is None and len(self.idle) >= self.KEPT):
            return False
        self.idle.append(bell)
        if self.queue or self.closed:
            try:
                self.idle.remove(bell)
                return True
            except ValueError:
                pass  # somebody is about to set the bell
        bell.wait()
        bell.clear()
        return True

    def dismiss(self, worker: object) -> None:
        """Strikes a worker off."""
        self.workers.discard(worker)
        if self.limit is not None:
            self.vacancies.append(None)
        self.staff.done()

    def pass_on(self) -> None:
        """Finds another worker for the call that a worker was perhaps woken for before it ended."""
        if not self.queue:
            return
        try:
            self.see_to_it()
        except (MemoryError, RuntimeError) as error:
            if not self.workers:
                reason = error  # `error` is gone after this block, and the lambda is not
                self.drop_all(lambda call: call.fail(reason))

    def after_fork_in_child(self) -> None:
        me = _goid()
        self.begin(forker=me if me in self.inside else 0)


class _Future(concurrent.futures.Future[T]):
    """A future on which goroutines wait without holding an OS thread."""

    def __init__(self) -> None:
        super().__init__()
        # All of its waits use its condition. Recursive: an error takes it again for the future's repr.
        self._condition: Any = Cond(threading.RLock())


class _Call(Generic[T]):
    """A submitted call."""

    __slots__ = ("args", "context", "fn", "future", "kwargs")

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.future: concurrent.futures.Future[T] = _Future()
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        #: A copy of the submitter's context variables; None if there are none.
        self.context: Context | None = _golib._copy_context()

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
        """Ends the future of a call that will not be made."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def cancel(self) -> None:
        """Cancels the future of a call that has not begun."""
        self.future.cancel()
        self.future.set_running_or_notify_cancel()  # tells wait() and as_completed()


def _goid() -> int:
    """The id of the calling goroutine; 0 on a thread."""
    g = _golib._current()
    return 0 if g is None else g.id


_pools: Registry[_Pool] = {}
_exiting = False


def _at_exit() -> None:
    """Called when the main thread has ended, while goroutines still run."""
    global _exiting
    _exiting = True
    for pool in members(_pools):
        try:
            pool.calls.wait()
        except Deadlock:
            pass  # those calls would never end


def _after_fork_in_child() -> None:
    for pool in members(_pools):
        pool.after_fork_in_child()


# Where ThreadPoolExecutor waits for its threads.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
_golib._hook_child(_after_fork_in_child)

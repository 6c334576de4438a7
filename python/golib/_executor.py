"""golib.aio.Executor; concurrent.futures, which it needs, brings logging along."""

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

    It is used as ThreadPoolExecutor is: submit, map, shutdown, `with`, wait() and as_completed(),
    loop.run_in_executor(), loop.set_default_executor(). A worker makes one call after the other, so thread-locals serve
    as they do in a pool of threads; it calls initializer(*initargs) first. Its name is thread_name_prefix and a number.

    What differs: a call has the context variables of whoever submitted it; waiting in Future.result(),
    Future.exception() or shutdown() parks a goroutine, and holds no OS thread; a call that ends by goexit() has the
    result None; submit() may be called anywhere, also by finalizers and signal handlers. wait() and as_completed() are
    the standard library's, and hold the OS thread of a goroutine that waits in them. Go has none; see WaitGroup.go and
    Semaphore.

    Calls that are under way or queued are made before the interpreter exits, as the standard library's are; goroutines
    of go() are not. A forked child begins with none.

    Raises: ValueError if max_workers is not positive; TypeError if initializer is not callable.
    Cost: a worker is a goroutine; without max_workers, those beyond 32 end when they have nothing to do.

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
        # Not ThreadPoolExecutor's own, whose threads and queue none of these methods uses.
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        # Private, but asked for by those who look at pools: so are the two below.
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
        """Takes no more calls, and waits for those that were submitted; a `with` block ends so.

        cancel_futures cancels those that have not begun.

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
            pool.close()  # makes the calls that it has


class _Pool:
    """The workers of an executor, which know it and not the executor, and the calls that wait for them.

    A call is queued first; then an idle worker is woken, or a new one started if there may be more. A worker that finds
    the queue empty first enters itself among the idle ones, then looks at the queue once more. So one sees the other.

    Nothing is locked. Each step is one operation of a container in C, which neither another thread nor a finalizer or a
    signal handler interrupts, so those may submit wherever they come.
    """

    #: Without a limit, so many idle workers are kept: what ThreadPoolExecutor has at most, unless told otherwise.
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
        """Without calls; in a child that one of them forked, only its goroutine is there, with which the child ends."""
        self.forker = forker
        self.queue: deque[_Call[Any]] = deque()
        self.idle: list[_golib.Event] = []
        #: How many workers were begun, one more at each call; and one entry for each that has ended since.
        self.begun = itertools.count(1 + bool(forker)).__next__
        self.vacancies: list[None] = []
        #: The goroutines that are in a call now.
        self.inside: set[int] = {forker} if forker else set()
        #: Calls queued or under way, and workers; but for the forker's.
        self.calls = WaitGroup()
        self.staff = WaitGroup()
        self.workers: set[object] = set()

    # -- whoever submits

    def take(self, call: _Call[Any]) -> None:
        """Has the call made."""
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
                return  # one of them will
            try:
                self.queue.remove(call)
            except ValueError:
                return  # one of them has
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
        """There is a call in the queue: wakes a worker or starts one, unless all are busy; those will look again."""
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
        """Lets the workers end when there is nothing to do any more."""
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
        """A worker's life; a goroutine."""
        me, bell = _goid(), _golib.Event()
        try:
            if self.initializer is None or self.initialize():
                # A cancelled goroutine cannot wait any more, so its next call would not be what was asked for.
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
        """Makes the first call of the queue; false if that is empty."""
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
        """The queue was empty: waits for a call; false if the worker may end."""
        if self.closed or (self.limit is None and len(self.idle) >= self.KEPT):
            return False
        self.idle.append(bell)
        if self.queue or self.closed:
            try:
                self.idle.remove(bell)
                return True
            except ValueError:
                pass  # it is being woken
        bell.wait()
        bell.clear()
        return True

    def dismiss(self, worker: object) -> None:
        """One less."""
        self.workers.discard(worker)
        if self.limit is not None:
            self.vacancies.append(None)
        self.staff.done()

    def pass_on(self) -> None:
        """A worker has ended, perhaps when it was to take a call."""
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
    """A future for which goroutines wait without an OS thread."""

    def __init__(self) -> None:
        super().__init__()
        # All of its waits go by its condition. It locks twice when it shows itself in an error.
        self._condition: Any = Cond(threading.RLock())


class _Call(Generic[T]):
    """What was submitted."""

    __slots__ = ("args", "context", "fn", "future", "kwargs")

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.future: concurrent.futures.Future[T] = _Future()
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        #: A copy of the submitter's; None if that is empty.
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
        """It will not be made."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def cancel(self) -> None:
        """It is not wanted any more."""
        self.future.cancel()
        self.future.set_running_or_notify_cancel()  # tells wait() and as_completed()


def _goid() -> int:
    """The caller's number, 0 on a thread."""
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
            pass  # they would never end


def _after_fork_in_child() -> None:
    for pool in members(_pools):
        pool.after_fork_in_child()


# Where ThreadPoolExecutor waits for its threads.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
_golib._hook_child(_after_fork_in_child)

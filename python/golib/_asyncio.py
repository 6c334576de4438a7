"""Goroutines and channels from asyncio: what the async methods of the compiled types do.

# How a task waits
A goroutine performs an operation that would wait, and tells the task's loop how it ended. A task that is cancelled
meanwhile cancels the goroutine and waits for its answer. If the operation had already completed, its result counts:
the task continues with it, so no value is lost, and the task's next await raises the cancellation instead, just as
golib's own would be raised by the next wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from golib import _golib
from golib._errors import Cancelled, ChanClosed
from golib._run import check

__all__ = ["anext_", "arecv", "asend", "await_", "in_goroutine", "let_go", "run_in_loop"]

T = TypeVar("T")


class _Answer:
    """How an operation ended."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


async def asend(ch: Any, value: Any) -> None:
    if not ch.try_send(value):
        await in_goroutine(ch.send, value)


async def arecv(ch: Any) -> Any:
    got = ch.try_recv()
    if got is None:
        return await in_goroutine(ch.recv)
    if got.ok:
        return got.value
    raise ChanClosed("receive on closed channel")


async def anext_(ch: Any) -> Any:
    got = ch.try_recv()
    if got is None:
        value, ok = await in_goroutine(ch.recv_ok)
    else:
        value, ok = got
    if ok:
        return value
    raise StopAsyncIteration


def await_(g: _golib.Goroutine[T]) -> Generator[Any, None, T]:
    """`await g`: as g.join(); cancelling the task that waits leaves g alone."""
    return _join(g).__await__()


async def _join(g: _golib.Goroutine[T]) -> T:
    try:
        if not g.done():
            await in_goroutine(g._wait)
        return g.join()
    finally:
        del g  # it holds the exception, and that holds this frame


async def in_goroutine(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Runs fn in a goroutine and waits for it as the header says."""
    loop = asyncio.get_running_loop()
    g, answered = _start(loop, fn, args, kwargs)
    cancelled: asyncio.CancelledError | None = None
    try:
        while not answered.done():
            try:
                await asyncio.shield(answered)
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
                g.cancel()
        answer = answered.result()
        if cancelled is not None:
            if isinstance(answer.error, Cancelled):
                raise cancelled
            _cancel_later(loop)
        if answer.error is not None:
            raise answer.error
        value: T = answer.value
        return value
    finally:
        # An exception holds this frame: it must not hold the exception.
        del cancelled, answered
        answer = None  # type: ignore[assignment]


async def let_go(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Runs fn in a goroutine and waits for it. A cancelled task cancels the goroutine too, and waits only until that
    has cleaned up; not at all if the goroutine is in a call that golib cannot end."""
    g, answered = _start(asyncio.get_running_loop(), fn, args, kwargs)
    try:
        answer = await asyncio.shield(answered)
        if answer.error is not None:
            raise answer.error
        value: T = answer.value
        return value
    except asyncio.CancelledError:
        waits = g.status() not in ("running", "syscall")
        g.cancel()
        if waits:
            await asyncio.wait([answered], timeout=_CLEAN_UP)
        raise
    finally:
        del answered  # as above
        answer = None  # type: ignore[assignment]


#: How many seconds a cancelled goroutine has to clean up.
_CLEAN_UP = 0.1


def _start(
    loop: asyncio.AbstractEventLoop,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[_golib.Goroutine[None], asyncio.Future[_Answer]]:
    """Starts a goroutine for fn; returns it and the future of its answer."""
    check(fn)
    answered: asyncio.Future[_Answer] = loop.create_future()
    name = getattr(fn, "__name__", None)
    g = _golib.spawn(_relay, (loop, answered, fn, args, kwargs), name=name, _skip=2)
    return g, answered


def _relay(
    loop: asyncio.AbstractEventLoop,
    answered: asyncio.Future[_Answer],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    try:
        answer = _Answer(fn(*args, **kwargs))
    except BaseException as error:
        answer = _Answer(error=error)
    try:
        loop.call_soon_threadsafe(_set, answered, answer)
    except RuntimeError:
        pass  # the loop is closed: nobody is waiting
    finally:
        del answer, answered  # they lead to the exception, and that to this frame


def _set(answered: asyncio.Future[_Answer], answer: _Answer) -> None:
    if not answered.done():
        answered.set_result(answer)


def _cancel_later(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels the running task at its next await: it was cancelled, but continues with a result. Does nothing if
    the canceller (a timeout that ended in time after all) has taken the cancellation back by then."""
    task = asyncio.current_task(loop)
    if task is None:
        return
    requests = task.cancelling()

    def cancel() -> None:
        if not task.done() and task.cancelling() >= requests:
            task.uncancel()  # the one that was swallowed
            task.cancel()

    loop.call_soon(cancel)


# -- coroutines for goroutines -----------------------------------------------------------------


def run_in_loop(coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None) -> T:
    """See golib.aio.run_async."""
    if not asyncio.iscoroutine(coro):
        raise TypeError(f"a coroutine is needed, not {type(coro).__name__}")
    try:
        if loop is None:
            loop = _own.running()
        if asyncio._get_running_loop() is loop:
            raise RuntimeError("run_async() in the event loop's own thread would wait for itself")
        task = _Task(coro, loop)
        loop.call_soon_threadsafe(task.start)
    except BaseException:
        coro.close()
        raise
    try:
        value: T = task.wait()
        return value
    finally:
        del task  # it holds the exception, and that holds this frame


class _Task:
    """A coroutine in a loop, and the event on which its caller waits."""

    __slots__ = ("coro", "ended", "error", "loop", "task", "value")

    def __init__(self, coro: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self.coro = coro
        self.loop = loop
        self.ended = _golib.Event()
        self.task: asyncio.Task[Any] | None = None
        self.error: BaseException | None = None
        self.value: Any = None

    def start(self) -> None:
        self.task = self.loop.create_task(self.coro)
        self.task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.error = asyncio.CancelledError()
        else:
            self.error = task.exception()
            if self.error is None:
                self.value = task.result()
        self.ended.set()

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def wait(self) -> Any:
        try:
            self.ended.wait()
        except BaseException as error:
            self.loop.call_soon_threadsafe(self._cancel)
            with _golib.shield():
                self.ended.wait()
            # The next wait raises a Cancelled that came too late; a KeyboardInterrupt would be lost.
            if isinstance(self.error, asyncio.CancelledError) or not isinstance(error, Cancelled):
                raise
        try:
            if self.error is not None:
                raise self.error
            return self.value
        finally:
            del self  # the exception holds this frame


class _OwnLoop:
    """golib's own event loop, in a thread of its own, which the first caller starts."""

    def __init__(self) -> None:
        #: Not guarded by a lock: a finalizer that interrupts running() may call it.
        self._loop: Any = _golib.Ref(None)
        #: Whether its thread waits for events. Nothing else tells while it runs the last ready callback.
        self._waits = False

    def running(self) -> asyncio.AbstractEventLoop:
        while True:
            loop: asyncio.AbstractEventLoop | None = self._loop.value
            if loop is not None:
                return loop
            self._begin()

    def _begin(self) -> None:
        """Starts a loop, unless another caller is faster."""
        loop = asyncio.new_event_loop()
        self._watch(loop)
        thread = threading.Thread(target=self._run, args=(loop,), name="golib-asyncio", daemon=True)
        try:
            thread.start()
        except BaseException:
            loop.close()
            raise
        if self._loop.replace(None, loop):
            _golib._set_idle_threads(self._idle_threads)
        else:
            loop.call_soon_threadsafe(loop.stop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keeps `_waits` up to date. Loops other than asyncio's own never say that they wait."""
        if not isinstance(loop, asyncio.SelectorEventLoop):
            return
        own: Any = loop
        selector = own._selector
        select = selector.select

        def wait(timeout: float | None = None) -> Any:
            if self._loop.value is not loop:
                return select(timeout)
            self._waits = True
            try:
                return select(timeout)
            finally:
                self._waits = False

        selector.select = wait

    def _idle_threads(self) -> int:
        """How many of golib's threads can wake nobody by themselves; asked before Deadlock is raised."""
        loop = self._loop.value
        if not self._waits or loop._ready or loop._scheduled or asyncio.all_tasks(loop):
            return 0
        return int(len(loop._selector.get_map()) <= 1)  # its own pipe, by which others wake it

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def forget(self) -> None:
        """Begins anew in a forked child, where the thread does not exist."""
        self.__init__()  # type: ignore[misc]


_own = _OwnLoop()
_golib._hook_child(_own.forget)

"""The workers of an executor: names, initializers, and how asyncio uses them."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures.thread import BrokenThreadPool

import golib
import golib.aio
import pytest

from support import Boom, eventually

# -- workers -----------------------------------------------------------------------------------


def test_thread_locals_serve_as_in_a_pool(make):
    local, made = threading.local(), []

    def call(_):
        if not hasattr(local, "session"):
            local.session = object()
            made.append(local.session)
        time.sleep(0.0005)

    list(make(4).map(call, range(200)))
    assert 1 <= len(made) <= 4


def test_workers_are_named(make):
    barrier = threading.Barrier(3, timeout=20)
    executor = make(max_workers=3, thread_name_prefix="crawler")
    names = executor.map(lambda _: (barrier.wait(), threading.current_thread().name)[1], range(3))
    assert sorted(names) == ["crawler_0", "crawler_1", "crawler_2"]


def test_each_worker_calls_the_initializer_first(make):
    local, calls = threading.local(), []

    def initialize(*args):
        local.args = args
        calls.append(args)

    executor = make(2, "w", initialize, (1, "a"))
    assert set(executor.map(lambda _: local.args, range(20))) == {(1, "a")}
    assert 1 <= len(calls) <= 2


def test_an_initializer_that_fails_breaks_the_pool(make, caplog):
    def initialize():
        assert gate.wait(20)
        raise Boom

    gate = threading.Event()
    executor = make(1, initializer=initialize)
    futures = [executor.submit(int) for _ in range(3)]
    gate.set()
    text = "A thread initializer failed, the thread pool is not usable anymore"
    for future in futures:
        with pytest.raises(BrokenThreadPool, match=text):
            future.result(20)
    with pytest.raises(BrokenThreadPool, match=text):
        executor.submit(int)
    assert "Exception in initializer:" in caplog.text
    assert "Boom" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_workers": 0}, ValueError("max_workers must be greater than 0")),
        ({"initializer": 7}, TypeError("initializer must be a callable")),
    ],
)
def test_wrong_arguments_are_refused(executor_class, arguments, error):
    with pytest.raises(type(error), match=str(error)):
        executor_class(**arguments)


def test_what_others_look_at_is_there(make):
    executor = make(3)
    assert (executor._max_workers, executor._shutdown, executor._broken) == (3, False, False)
    executor.shutdown()
    assert executor._shutdown


def test_a_dropped_executor_ends_its_workers(executor_class):
    executor = executor_class(3, "dropped")
    list(executor.map(lambda _: time.sleep(0.001), range(10)))
    del executor
    eventually(lambda: gc.collect() is not None and golib.num_goroutine() == 0)


# -- asyncio -----------------------------------------------------------------------------------


def test_a_loop_runs_calls_in_the_executor(make):
    executor = make(4)

    async def main():
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, pow, 2, i) for i in range(10)]
        with pytest.raises(ValueError, match="invalid literal"):
            await loop.run_in_executor(executor, int, "x")
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [2**i for i in range(10)]


def test_a_task_that_is_cancelled_cancels_its_queued_call(busy, gate):
    executor, _ = busy
    made = []

    async def main():
        call = asyncio.get_running_loop().run_in_executor(executor, made.append, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    gate.opened.set()
    executor.shutdown()
    assert made == []

"""golib.aio.Executor: promises that the standard library's executors do not make."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import contextvars
import gc
import re
import threading
import weakref

import golib
import golib.aio
import pytest
from golib import Chan, go

from support import eventually, parked, run_ok


def test_calls_are_made_by_goroutines():
    def call():
        return golib._golib._current().name

    with golib.aio.Executor(1, "crawler") as executor:
        assert executor.submit(call).result(20) == "crawler_0"
    with golib.aio.Executor(1) as executor:
        assert re.fullmatch(r"Executor-\d+_0", executor.submit(call).result(20))


def test_without_a_limit_an_idle_worker_makes_the_next_call():
    local = threading.local()

    def call():
        local.n = getattr(local, "n", 0) + 1
        return local.n

    with golib.aio.Executor() as executor:
        assert [executor.submit(call).result(20) for _ in range(50)][-1] > 5


def test_without_a_limit_few_idle_workers_stay():
    barrier = golib.sync.Barrier(200)
    with golib.aio.Executor() as executor:
        list(executor.map(lambda _: barrier.wait(), range(200)))
        eventually(lambda: golib.num_goroutine() <= 32)
    eventually(lambda: golib.num_goroutine() == 0)


def test_a_finalizer_may_submit_wherever_it_comes():
    class Late:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            futures.append(executor.submit(int, "7"))

    def storm():
        for _ in range(300):
            Late()
            executor.submit(int)  # the collector runs somewhere in here

    futures = []
    thresholds = gc.get_threshold()
    with golib.aio.Executor(2) as executor:
        gc.set_threshold(1)
        try:
            go(storm).join()
            storm()
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
    assert len(futures) == 600
    assert {f.result(20) for f in futures} == {7}


def test_a_signal_handler_may_submit():
    out = run_ok(
        """
        import golib.aio, signal, time
        executor, futures = golib.aio.Executor(2), []
        signal.signal(signal.SIGALRM, lambda *_: futures.append(executor.submit(int, "7")))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            executor.submit(int).result(20)
        signal.setitimer(signal.ITIMER_REAL, 0)
        executor.shutdown()
        print(len(futures) > 10, {f.result(20) for f in futures})
        """
    )
    assert out == "True {7}\n"


def test_a_cancelled_worker_is_replaced():
    with golib.aio.Executor(1, "w") as executor:
        executor.submit(int).result(20)
        (idle,) = [g for g in golib.runtime.goroutines() if g.name == "w_0"]
        idle.cancel()
        assert [executor.submit(int, str(i)).result(20) for i in range(5)] == list(range(5))


def test_a_loop_takes_it_as_its_default_executor():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(golib.aio.Executor(2, "mine"))
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        return name, await asyncio.to_thread(pow, 2, 10)

    assert asyncio.run(main()) == ("mine_0", 1024)


def test_calls_have_the_context_of_whoever_submitted_them():
    var = contextvars.ContextVar("var", default=None)
    blocker = Chan()
    with golib.aio.Executor(1) as executor:
        futures = [executor.submit(lambda: (blocker.recv(), var.get())[1])]
        for i in range(3):
            contextvars.copy_context().run(
                lambda i=i: (var.set(i), futures.append(executor.submit(var.get)))
            )
        blocker.send(None)
        assert [f.result() for f in futures] == [None, 0, 1, 2]


def test_unlimited_means_all_at_once():
    barrier = golib.sync.Barrier(1000)
    with golib.aio.Executor() as executor:
        assert sorted(executor.map(lambda _: barrier.wait(), range(1000))) == list(range(1000))


def test_goroutines_wait_for_a_future_without_a_thread():
    out = run_ok(
        """
        import os, golib, golib.aio
        ch = golib.Chan()
        with golib.aio.Executor(1) as executor:
            future = executor.submit(ch.recv)
            waiters = [golib.go(f, 60) for f in (future.result, future.exception) for _ in range(300)]
            while any(g.status() in ("runnable", "running", "idle") for g in waiters):
                golib.sleep(0.001)
            print(len(os.listdir("/proc/self/task")) < 50)
            ch.send("value")
            print({g.join() for g in waiters} == {"value", None})
        """
    )
    assert out == "True\nTrue\n"


def test_a_future_can_be_waited_for_from_every_place(place):
    with golib.aio.Executor(2) as executor:
        future = place(executor.submit, lambda: golib.sleep(0.002))
        assert place(future.result, 20) is None
        assert place(cf.wait, [future], 20).done == {future}


def test_waiting_for_a_call_that_never_ends_is_a_deadlock():
    ch = Chan()
    with golib.aio.Executor() as executor:
        future = executor.submit(ch.recv)
        with pytest.raises(golib.Deadlock):
            future.result()
        with pytest.raises(golib.Deadlock):
            executor.shutdown()
        ch.send(None)


def test_goexit_ends_a_call_with_none():
    with golib.aio.Executor() as executor:
        assert executor.submit(golib.goexit).result() is None


def test_a_call_can_be_cancelled_before_its_goroutine_has_begun():
    made = []

    def main():
        with golib.aio.Executor() as executor:
            future = executor.submit(made.append, 1)  # go() never yields
            assert future.cancel()
        return made

    assert golib.run(main) == []


def test_a_call_whose_goroutine_is_cancelled_fails_with_that_and_the_next_is_made():
    with golib.aio.Executor(1) as executor:
        mine = Chan()

        def call():
            mine.send(golib._golib._current())
            Chan().recv()

        future, queued = executor.submit(call), executor.submit(int, "7")
        mine.recv().cancel()
        assert isinstance(future.exception(20), golib.Cancelled)
        assert queued.result(20) == 7


def test_waiting_for_a_call_can_be_cancelled(place):
    ch = Chan()

    def wait(executor, future):
        for operation in (future.result, future.exception, executor.shutdown):
            with pytest.raises(TimeoutError), golib.timeout(0.01):
                operation()

    with golib.aio.Executor() as executor:
        future = executor.submit(ch.recv)
        place(wait, executor, future)
        ch.send("value")
        assert future.result() == "value"


def test_a_call_is_not_cancelled_with_whoever_submitted_it():
    ch = Chan()
    with golib.aio.Executor(1) as executor:
        with golib.timeout(0.01, raises=False):
            futures = [executor.submit(ch.recv), executor.submit(ch.recv)]
            golib.sleep(60)
        ch.send(1)
        ch.send(2)
        assert [f.result() for f in futures] == [1, 2]


def test_cancelling_at_shutdown_wakes_those_who_wait_for_the_calls():
    # The standard library's leaves them waiting in 3.11.
    ch = Chan()
    executor = golib.aio.Executor(1)
    futures = [executor.submit(ch.recv), executor.submit(int)]
    waiter = go(lambda: cf.wait(futures, 20))
    parked(go(futures[0].result, 20))
    executor.shutdown(wait=False, cancel_futures=True)
    ch.send(None)
    assert waiter.join().done == set(futures)
    executor.shutdown()


def test_the_exception_of_a_call_does_not_keep_the_executor():
    # ThreadPoolExecutor's does.
    executor = golib.aio.Executor(1)
    error = executor.submit(int, "x").exception(20)
    executor.shutdown()
    reference = weakref.ref(executor)
    del executor
    eventually(lambda: reference() is None)
    assert isinstance(error, ValueError)


def test_a_refused_goroutine_is_raised_by_submit_unless_a_worker_is_there(monkeypatch):
    executor = golib.aio.Executor(2)
    gate = Chan()
    first = executor.submit(gate.recv)
    spawn = golib._golib.spawn

    def refuse(*args, **kwargs):
        raise MemoryError("no memory for a goroutine's stack")

    monkeypatch.setattr(golib._golib, "spawn", refuse)
    queued = executor.submit(int)
    with pytest.raises(MemoryError):
        golib.aio.Executor().submit(int)
    gate.send(1)
    assert (first.result(20), queued.result(20)) == (1, 0)
    monkeypatch.setattr(golib._golib, "spawn", spawn)
    assert executor.submit(int).result(20) == 0
    executor.shutdown()


def test_a_refusal_at_exit_says_why():
    out = run_ok(
        """
        import atexit
        from golib.aio import Executor
        def submit():
            try:
                Executor().submit(int)
            except RuntimeError as error:
                print(error)
        atexit.register(submit)
        """
    )
    assert out == "cannot schedule new futures after interpreter shutdown\n"


def test_exit_does_not_wait_for_calls_that_can_never_end():
    out = run_ok(
        """
        import golib.aio
        golib.aio.Executor().submit(golib.Chan().recv)
        print("end")
        """
    )
    assert out == "end\n"


def test_a_call_that_forks_ends_the_child_with_itself():
    out = run_ok(
        """
        import os, golib.aio
        def call():
            pid = os.fork()
            if pid == 0:
                return None
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with golib.aio.Executor(1) as executor:
            print(executor.submit(call).result())
        """
    )
    assert out == "0\n"


def test_importing_golib_imports_neither_asyncio_nor_concurrent_futures():
    out = run_ok(
        """
        import sys, golib
        print("concurrent.futures" in sys.modules)
        golib.aio.Executor
        print("asyncio" in sys.modules)
        """
    )
    assert out == "False\nFalse\n"

"""golib.aio.Executor: what the standard library's executors promise, shown of ThreadPoolExecutor first.

A test that takes the fixture `make` runs against both; below are those of golib's alone.
"""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import contextvars
import gc
import logging
import re
import threading
import time
import weakref
from concurrent.futures.thread import BrokenThreadPool

import golib
import golib.aio
import pytest
from golib import Chan, go

from support import Boom, Tracked, eventually, parked, run_ok, run_script

KINDS = {"threads": cf.ThreadPoolExecutor, "golib": golib.aio.Executor}


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def make(kind):
    """Makes an executor: `make(max_workers)`; each is shut down at the end, with its gates open."""
    made = []

    def make(max_workers=None):
        made.append(KINDS[kind](max_workers))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(cancel_futures=True)


class Gate:
    """A call that says that it has begun, and ends when it is opened."""

    def __init__(self):
        self.begun, self.opened = threading.Event(), threading.Event()

    def __call__(self, value=None):
        self.begun.set()
        assert self.opened.wait(20)
        return value


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def busy(make, gate):
    """An executor for one call at a time, which is under way; and its future."""
    executor = make(1)
    future = executor.submit(gate, "first")
    assert gate.begun.wait(20)
    yield executor, future
    gate.opened.set()


# -- submit ------------------------------------------------------------------------------------


def test_submit_gives_a_future_of_the_result(make):
    future = make().submit(pow, 2, 10)
    assert isinstance(future, cf.Future)
    assert future.result(20) == 1024
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
    assert future.exception() is None


def test_any_keyword_reaches_the_function(make):
    future = make().submit(lambda *a, **k: (a, k), 1, self=2, fn=3, args=4)
    assert future.result(20) == ((1,), {"self": 2, "fn": 3, "args": 4})


@pytest.mark.parametrize("cls", [Boom, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_call_raises_is_raised_by_result(make, cls):
    error = cls()

    def fail():
        raise error

    future = make().submit(fail)
    with pytest.raises(cls) as caught:
        future.result(20)
    assert caught.value is error
    assert future.exception() is error
    assert "fail" in [entry.name for entry in caught.traceback]


def test_an_exception_does_not_end_the_executor(make):
    executor = make(1)
    assert isinstance(executor.submit(int, "x").exception(20), ValueError)
    assert isinstance(executor.submit(exec, "raise SystemExit").exception(20), SystemExit)
    assert executor.submit(int, "7").result(20) == 7


def test_a_call_of_what_is_not_callable_fails_in_its_future(make):
    assert isinstance(make().submit(None).exception(20), TypeError)


def test_calls_run_beside_each_other_up_to_max_workers(make):
    barrier, executor = threading.Barrier(4, timeout=20), make(4)
    futures = [executor.submit(barrier.wait) for _ in range(4)]
    assert sorted(f.result(20) for f in futures) == [0, 1, 2, 3]


def test_never_more_than_max_workers_run(make):
    executor, now, most, lock = make(3), 0, 0, threading.Lock()

    def call():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.03)
        with lock:
            now -= 1

    cf.wait([executor.submit(call) for _ in range(12)], 60)
    assert (now, most) == (0, 3)


@pytest.mark.parametrize("many", [2**40, 10**30])
def test_a_worker_costs_nothing_before_it_is_started(make, many):
    executor = make(many)
    assert [executor.submit(pow, 2, n).result(20) for n in range(5)] == [1, 2, 4, 8, 16]
    assert executor._max_workers == many


def test_one_worker_makes_the_calls_in_order(make):
    executor, seen = make(1), []
    for i in range(100):
        executor.submit(seen.append, i)
    executor.shutdown()
    assert seen == list(range(100))


def test_a_call_may_submit_another(make):
    executor = make(2)
    assert executor.submit(lambda: executor.submit(pow, 2, 3)).result(20).result(20) == 8


@pytest.mark.parametrize("bad", [0, -1])
def test_max_workers_must_be_positive(kind, bad):
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        KINDS[kind](bad)


# -- cancel ------------------------------------------------------------------------------------


def test_a_queued_call_can_be_cancelled_and_is_never_made(busy, gate):
    executor, first = busy
    made = []
    second = executor.submit(made.append, 1)
    assert second.cancel() is True
    assert second.cancel() is True
    assert (second.cancelled(), second.done()) == (True, True)
    with pytest.raises(cf.CancelledError):
        second.result(0)
    gate.opened.set()
    executor.shutdown()
    assert first.result(0) == "first"
    assert made == []


def test_a_running_or_finished_call_cannot_be_cancelled(busy, gate):
    _, future = busy
    assert future.running() is True
    assert future.cancel() is False
    gate.opened.set()
    assert future.result(20) == "first"
    assert future.cancel() is False


def test_wait_learns_of_a_cancelled_call_when_its_turn_comes(busy, gate):
    executor, first = busy
    second = executor.submit(int)
    second.cancel()
    gate.opened.set()
    done, pending = cf.wait([first, second], 20)
    assert (done, pending) == ({first, second}, set())


# -- futures -----------------------------------------------------------------------------------


def test_result_and_exception_time_out(busy, gate):
    _, future = busy
    for wait in (future.result, future.exception):
        for timeout in (0, 0.002):
            with pytest.raises(TimeoutError):
                wait(timeout)
    gate.opened.set()
    assert future.result(20) == "first"


def test_callbacks_are_called_with_the_future_in_order(busy, gate):
    _, future = busy
    seen = []
    future.add_done_callback(lambda f: seen.append((1, f is future, f.done())))
    future.add_done_callback(lambda f: seen.append((2, f is future, f.done())))
    gate.opened.set()
    eventually(lambda: len(seen) == 2)
    assert seen == [(1, True, True), (2, True, True)]
    future.add_done_callback(lambda f: seen.append(3))
    assert seen[-1] == 3


def test_a_callback_that_raises_is_logged_and_the_others_are_called(busy, gate, caplog):
    executor, future = busy
    seen = []
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(seen.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        gate.opened.set()
        eventually(lambda: seen)
    assert "ZeroDivisionError" in caplog.text
    assert executor.submit(int).result(20) == 0


def test_callbacks_of_a_cancelled_call_are_called_at_once(busy):
    executor, _ = busy
    seen = []
    future = executor.submit(int)
    future.add_done_callback(seen.append)
    future.cancel()
    assert seen == [future]


def test_a_result_cannot_be_set_twice(make):
    future = make().submit(int)
    future.result(20)
    with pytest.raises(cf.InvalidStateError, match="FINISHED"):
        future.set_result(1)


def test_wait_and_as_completed_see_each_call_end(make):
    executor = make(4)
    gates = [Gate() for _ in range(4)]
    futures = [executor.submit(g, i) for i, g in enumerate(gates)]
    assert cf.wait(futures, 0) == (set(), set(futures))
    gates[2].opened.set()
    done, pending = cf.wait(futures, 20, cf.FIRST_COMPLETED)
    assert done == {futures[2]}
    assert len(pending) == 3
    gates[0].opened.set()
    futures[0].result(20)
    with pytest.raises(TimeoutError):
        list(cf.as_completed(futures, 0.01))
    for g in gates:
        g.opened.set()
    assert {f.result() for f in cf.as_completed(futures, 20)} == {0, 1, 2, 3}


def test_wait_can_stop_at_the_first_exception(make, gate):
    executor = make(2)
    futures = [executor.submit(gate), executor.submit(int, "x")]
    done, pending = cf.wait(futures, 20, cf.FIRST_EXCEPTION)
    assert (done, pending) == ({futures[1]}, {futures[0]})


def test_a_future_shows_what_it_came_to(busy, gate):
    executor, future = busy
    assert "state=running" in repr(future)
    assert "state=pending" in repr(executor.submit(int))
    gate.opened.set()
    future.result(20)
    assert "state=finished returned str" in repr(future)


# -- map ---------------------------------------------------------------------------------------


def test_map_gives_results_in_the_order_of_the_arguments(make):
    assert list(make(3).map(pow, [2, 3, 4], [1, 2, 3, 99])) == [2, 9, 64]
    assert list(make().map(str, range(50), chunksize=7)) == [str(i) for i in range(50)]


def test_map_submits_everything_at_once(make):
    seen = []
    results = make(1).map(seen.append, range(5))
    eventually(lambda: seen == [0, 1, 2, 3, 4])
    assert list(results) == [None] * 5


def test_map_raises_in_its_place(make):
    results = make(2).map(int, ["1", "x", "3"])
    assert next(results) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_map_times_out_and_cancels_the_rest(busy, gate):
    executor, _ = busy
    made = []
    with pytest.raises(TimeoutError):
        list(executor.map(made.append, range(3), timeout=0.01))
    gate.opened.set()
    executor.shutdown()
    assert made == []


# -- shutdown ----------------------------------------------------------------------------------


def test_nothing_can_be_submitted_after_shutdown(make):
    executor = make()
    executor.shutdown()
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        executor.submit(int)
    with pytest.raises(RuntimeError):
        executor.map(int, [1])
    executor.shutdown()
    executor.shutdown(wait=False)


def test_the_with_block_waits_for_all_calls(make):
    seen = []
    with make(2) as executor:
        for i in range(20):
            executor.submit(lambda i=i: (time.sleep(0.001), seen.append(i)))
    assert sorted(seen) == list(range(20))
    with pytest.raises(RuntimeError):
        executor.submit(int)


def test_the_with_block_lets_exceptions_through_and_waits(make):
    seen = []
    with pytest.raises(Boom), make(1) as executor:
        executor.submit(lambda: (time.sleep(0.01), seen.append(1)))
        raise Boom
    assert seen == [1]


def test_shutdown_without_waiting_still_makes_all_calls(busy, gate):
    executor, first = busy
    second = executor.submit(int, "2")
    executor.shutdown(wait=False)
    assert not first.done()
    gate.opened.set()
    assert (first.result(20), second.result(20)) == ("first", 2)


def test_shutdown_can_cancel_what_has_not_begun(busy, gate):
    executor, first = busy
    queued = [executor.submit(int) for _ in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(f.cancelled() for f in queued)
    assert first.running()
    gate.opened.set()
    executor.shutdown()
    assert first.result(0) == "first"


def test_shutdown_waits_for_calls_of_an_earlier_one(busy, gate):
    executor, first = busy
    executor.shutdown(wait=False)
    threading.Timer(0.01, gate.opened.set).start()
    executor.shutdown()
    assert first.done()


def test_a_call_that_waits_for_itself_is_a_runtime_error(make):
    executor = make(1)
    assert isinstance(executor.submit(executor.shutdown).exception(20), RuntimeError)
    executor.shutdown()


def test_an_executor_that_nobody_holds_makes_its_calls(kind, gate):
    executor = KINDS[kind](1)
    first, second = executor.submit(gate, 1), executor.submit(int, "2")
    reference = weakref.ref(executor)
    del executor
    gate.opened.set()
    assert (first.result(20), second.result(20)) == (1, 2)
    eventually(lambda: gc.collect() is not None and reference() is None)


def test_a_finished_call_keeps_nothing_alive(make):
    executor = make(1)
    future = executor.submit(lambda tracked: 1, Tracked())
    assert future.result(20) == 1
    executor.submit(int).result(20)  # a thread lets go of a call when it takes the next
    eventually(lambda: Tracked.alive == 0)


def test_a_failed_call_makes_no_cycle(make):
    executor = make(1)

    def fail(tracked):
        raise Boom

    gc.disable()
    try:
        future = executor.submit(fail, Tracked())
        assert isinstance(future.exception(20), Boom)
        executor.submit(int).result(20)
        del future
        eventually(lambda: Tracked.alive == 0)
    finally:
        gc.enable()


# -- workers -----------------------------------------------------------------------------------


@pytest.fixture
def make_with(kind):
    """As `make`, with any arguments."""
    made = []

    def make(*args, **kwargs):
        made.append(KINDS[kind](*args, **kwargs))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(cancel_futures=True)


def test_thread_locals_serve_as_in_a_pool(make):
    local, made = threading.local(), []

    def call(_):
        if not hasattr(local, "session"):
            local.session = object()
            made.append(local.session)
        time.sleep(0.0005)

    list(make(4).map(call, range(200)))
    assert 1 <= len(made) <= 4


def test_workers_are_named(make_with):
    barrier = threading.Barrier(3, timeout=20)
    executor = make_with(max_workers=3, thread_name_prefix="crawler")
    names = executor.map(lambda _: (barrier.wait(), threading.current_thread().name)[1], range(3))
    assert sorted(names) == ["crawler_0", "crawler_1", "crawler_2"]


def test_each_worker_calls_the_initializer_first(make_with):
    local, calls = threading.local(), []

    def initialize(*args):
        local.args = args
        calls.append(args)

    executor = make_with(2, "w", initialize, (1, "a"))
    assert set(executor.map(lambda _: local.args, range(20))) == {(1, "a")}
    assert 1 <= len(calls) <= 2


def test_an_initializer_that_fails_breaks_the_pool(make_with, caplog):
    def initialize():
        assert gate.wait(20)
        raise Boom

    gate = threading.Event()
    executor = make_with(1, initializer=initialize)
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
def test_wrong_arguments_are_refused(kind, arguments, error):
    with pytest.raises(type(error), match=str(error)):
        KINDS[kind](**arguments)


def test_what_others_look_at_is_there(make_with):
    executor = make_with(3)
    assert (executor._max_workers, executor._shutdown, executor._broken) == (3, False, False)
    executor.shutdown()
    assert executor._shutdown


def test_a_dropped_executor_ends_its_workers(kind):
    executor = KINDS[kind](3, "dropped")
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


# -- exit --------------------------------------------------------------------------------------

MAKE = {
    "threads": "from concurrent.futures import ThreadPoolExecutor as Executor",
    "golib": "from golib.aio import Executor",
}


def test_exit_waits_for_what_was_submitted(kind):
    out = run_ok(
        f"""
        import time
        {MAKE[kind]}
        executor = Executor(1)
        for i in range(3):
            executor.submit(lambda i=i: (time.sleep(0.02), print(i)))
        print("end")
        """
    )
    assert out == "end\n0\n1\n2\n"


def test_nothing_can_be_submitted_while_the_interpreter_exits(kind):
    out = run_ok(
        f"""
        import atexit, time
        {MAKE[kind]}
        executor = Executor(2)
        def submit_until_refused():
            try:
                while True:
                    executor.submit(int)
                    time.sleep(0.001)
            except RuntimeError as error:
                print(error)
        atexit.register(submit_until_refused)
        executor.submit(submit_until_refused)
        """
    )
    # "interpreter shutdown" unless the executor has been shut down by it before.
    assert [line.partition(" after ")[0] for line in out.splitlines()] == [
        "cannot schedule new futures"
    ] * 2


def test_exit_keeps_the_status(kind):
    result = run_script(
        f"""
        import sys
        {MAKE[kind]}
        Executor().submit(int)
        sys.exit(7)
        """
    )
    assert result == (7, "", "")


def test_a_forked_child_ends_without_waiting_for_the_parents_calls(kind):
    out = run_ok(
        f"""
        import os, threading, warnings
        {MAKE[kind]}
        warnings.simplefilter("ignore")  # CPython warns of a fork beside threads
        executor, event = Executor(1), threading.Event()
        first = executor.submit(event.wait)
        if (pid := os.fork()) == 0:
            raise SystemExit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        event.set()
        print(first.result())
        """
    )
    assert out == "5\nTrue\n"


# -- golib's alone -----------------------------------------------------------------------------


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
            executor.submit(int)  # the collector comes somewhere in it

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

"""golib.aio.Executor: it keeps the promises of the standard library's executors.

A test that takes the fixture `make` also runs with ThreadPoolExecutor.
"""

from __future__ import annotations

import concurrent.futures as cf
import gc
import logging
import threading
import time
import weakref

import pytest

from support import Boom, Gate, Tracked, eventually

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
def test_max_workers_must_be_positive(executor_class, bad):
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        executor_class(bad)


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


def test_an_executor_that_nobody_holds_makes_its_calls(executor_class, gate):
    executor = executor_class(1)
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

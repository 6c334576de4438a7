"""Goroutine.cancel, and cancellation beside locks."""

from __future__ import annotations

import gc
import threading

import golib
import pytest
from golib import Cancelled, Chan, go, shield, timeout
from golib.context import current
from golib.sync import Barrier, Cond, SingleFlight, once_value

from support import SLACK, Thread, Tracked, eventually, parked

# -- Goroutine.cancel --------------------------------------------------------------------------


def test_cancel_before_the_start_is_raised_at_the_first_wait():
    def main():
        old = golib.gomaxprocs(1)
        try:
            seen = []

            def task():
                seen.append("started")
                Chan().recv()

            g = go(task)
            assert g.cancel() is True
            assert seen == []
            with pytest.raises(Cancelled):
                g.join()
            assert seen == ["started"]
        finally:
            golib.gomaxprocs(old)

    golib.run(main)


def test_cancel_of_an_ended_one_is_false():
    g = go(int)
    g.join()
    assert g.cancel() is False
    h = go(lambda: 1 / 0)
    assert isinstance(h.exception(), ZeroDivisionError)
    assert h.cancel() is False


def test_cancel_may_be_called_again():
    g = parked(go(Chan().recv))
    assert (g.cancel(), g.cancel()) in [(True, True), (True, False)]
    assert isinstance(g.exception(), Cancelled)
    assert g.cancel() is False


def test_one_that_does_not_wait_any_more_returns_its_value():
    ch = Chan()

    def task():
        ch.recv()
        me.cancel()
        return "value"

    me = go(task)
    ch.send(1)
    assert me.join() == "value"


def test_a_goroutine_may_cancel_itself():
    ch = Chan()

    def task():
        me = ch.recv()
        assert me.cancel()
        with pytest.raises(Cancelled):
            Chan().recv()
        golib.gosched()

    g = go(task)
    ch.send(g)
    with pytest.raises(Cancelled):
        g.join()


def test_it_is_raised_again_until_the_goroutine_ends():
    def task():
        caught = 0
        for _ in range(5):
            try:
                golib.sleep(3600)
            except Cancelled:
                caught += 1
        return caught

    g = parked(go(task))
    g.cancel()
    assert g.join() == 5


def test_except_exception_does_not_stop_it():
    def task():
        while True:
            try:
                golib.sleep(3600)
            except Exception:
                pass

    g = parked(go(task))
    g.cancel()
    assert isinstance(g.exception(), Cancelled)


def test_a_cancelled_goroutine_is_not_reported(panics):
    parked(go(Chan().recv)).cancel()
    eventually(lambda: golib.num_goroutine() == 0)
    gc.collect()
    assert panics == []


def test_children_are_not_cancelled_with_it():
    ch = Chan()

    def task():
        child = go(ch.recv)
        started.send(child)
        Chan().recv()

    started = Chan()
    g = go(task)
    child = started.recv()
    g.cancel()
    assert isinstance(g.exception(), Cancelled)
    ch.send("alive")
    assert child.join() == "alive"


def test_a_child_of_a_block_is_not_under_it():
    with timeout(0):
        g = go(lambda: (golib.gosched(), current().is_done)[1])
    assert g.join() is False


def test_a_busy_goroutine_is_cancelled_where_it_yields():
    def task():
        while True:
            golib.gosched()

    g = go(task)
    golib.gosched()
    g.cancel()
    assert isinstance(g.exception(), Cancelled)


def test_cancel_is_not_raised_in_the_middle_of_code():
    inside, go_on = threading.Event(), threading.Event()

    def task():
        inside.set()
        go_on.wait()  # threading's: no operation of ours
        done.append(sum(range(1000)))
        Chan(1).send(1)
        done.append("before the wait")
        golib.gosched()
        done.append("after the wait")

    done = []
    g = go(task)
    eventually(inside.is_set)
    g.cancel()
    go_on.set()
    assert isinstance(g.exception(), Cancelled)
    assert done == [499500, "before the wait"]


def test_cancel_from_a_thread_wakes_it():
    g = parked(go(Chan().recv))
    assert Thread(g.cancel).join() is True
    assert isinstance(g.exception(), Cancelled)


def test_cancel_of_runs_main_goroutine():
    def main():
        me = golib._golib._current()
        go(me.cancel)
        Chan().recv()

    with pytest.raises(Cancelled):
        golib.run(main)
    golib.gosched()


def test_a_cancelled_goroutine_releases_what_it_held():
    def task():
        value = Tracked()
        Chan().recv()
        del value

    g = parked(go(task))
    g.cancel()
    g.exception()
    del g
    gc.collect()
    assert Tracked.alive == 0


def test_a_hundred_thousand_goroutines_are_cancelled():
    ch = Chan()
    gs = [go(ch.recv) for _ in range(100_000 if SLACK == 1 else 20_000)]
    eventually(lambda: gs[-1].status() == "chan receive")
    for g in gs:
        g.cancel()
    assert all(isinstance(g.exception(), Cancelled) for g in gs)
    assert ch.try_send(1) is False


def test_goexit_is_no_cancellation():
    def task():
        with timeout(100), shield():
            golib.goexit()

    assert go(task).join() is None


# -- Cond --------------------------------------------------------------------------------------


def test_a_cancelled_cond_wait_takes_its_lock_again_first():
    cond, trace = Cond(), []

    def task():
        with cond:
            try:
                cond.wait()
            finally:
                assert cond.lock.locked()
                trace.append("has the lock")

    g = parked(go(task), "sync.Cond.Wait")
    with cond:
        g.cancel()
        parked(g, "sync.Mutex.Lock")
        trace.append("gives it up")
    assert isinstance(g.exception(), Cancelled)
    assert trace == ["gives it up", "has the lock"]
    assert not cond.lock.locked()


def test_a_notification_whose_waiter_is_cancelled_is_the_next_ones():
    cond = Cond()

    def task():
        with cond:
            return cond.wait()

    first = parked(go(task), "sync.Cond.Wait")
    second = parked(go(task), "sync.Cond.Wait")
    with cond:
        cond.notify()
        parked(first, "sync.Mutex.Lock")
        first.cancel()
        parked(first, "sync.Mutex.Lock")
    assert isinstance(first.exception(), Cancelled)
    assert second.join(20) is True


def test_a_cancel_and_a_notification_at_once_wake_somebody():
    for i in range(200):
        cond = Cond()

        def task():
            with cond:
                return cond.wait()

        first = parked(go(task), "sync.Cond.Wait")
        second = parked(go(task), "sync.Cond.Wait")
        for act in [(first.cancel, cond.notify), (cond.notify, first.cancel)][i % 2]:
            act()
        if first.exception() is not None:
            assert second.join(20) is True
        else:
            second.cancel()
            assert isinstance(second.exception(), Cancelled)


def test_a_cancelled_cond_wait_with_an_rlock_holds_it_as_often_as_before():
    lock = threading.RLock()
    cond = Cond(lock)

    def task():
        with cond, cond, cond:
            try:
                cond.wait()
            except Cancelled:
                for _ in range(3):
                    lock.release()
                with pytest.raises(RuntimeError):
                    lock.release()
                for _ in range(3):
                    lock.acquire()
                raise

    g = parked(go(task), "sync.Cond.Wait")
    g.cancel()
    assert isinstance(g.exception(), Cancelled)
    assert lock.acquire(blocking=False)
    lock.release()


def test_a_cancelled_party_leaves_the_barrier_to_the_others():
    barrier = Barrier(3)
    a, b = (parked(go(barrier.wait)) for _ in range(2))
    a.cancel()
    assert isinstance(a.exception(), Cancelled)
    assert barrier.n_waiting == 1
    c = parked(go(barrier.wait))
    barrier.wait()
    assert b.exception() is c.exception() is None


@pytest.mark.parametrize("seconds", [10**400, -(10**400)], ids=["huge", "negative"])
def test_wait_for_takes_seconds_of_any_size(seconds):
    cond = Cond()
    with cond:
        assert cond.wait_for(lambda: 5, seconds) == 5
        if seconds < 0:
            assert cond.wait_for(lambda: 0, seconds) == 0


# -- Once and SingleFlight ---------------------------------------------------------------------


def test_a_cancelled_single_flight_leaves_the_work_to_a_waiter():
    flight = SingleFlight()
    first = parked(go(flight.do, "k", Chan().recv))
    second = parked(go(flight.do, "k", lambda: "second"))
    first.cancel()
    assert isinstance(first.exception(), Cancelled)
    assert second.join() == "second"


def test_a_cancelled_once_value_is_called_again():
    ch = Chan(1)
    value = once_value(ch.recv)
    g = parked(go(value))
    g.cancel()
    assert isinstance(g.exception(), Cancelled)
    ch.send(1)
    assert value() == 1

"""golib.sync.Cond, Event and Barrier."""

from __future__ import annotations

import pathlib
import re
import threading
import time

import golib
import pytest
from golib import Chan, go
from golib.sync import Barrier, Cond, Event, Mutex

from support import PLACES, Boom, eventually, parked

# -- Cond --------------------------------------------------------------------------------------


def test_a_wait_is_notified_and_holds_the_lock_again(place):
    def check():
        cond = Cond()

        def notify():
            with cond:
                cond.notify()

        with cond:
            g = go(notify)
            assert cond.wait() is True
            assert cond.lock.locked()
        g.join()
        assert not cond.lock.locked()

    place(check)


def test_waiters_go_on_in_the_order_of_coming():
    cond, order = Cond(), []

    def task(i):
        with cond:
            cond.wait()
            order.append(i)

    gs = [parked(go(task, i), "sync.Cond.Wait") for i in range(6)]
    for i, notify in enumerate([cond.notify_one, cond.notify, lambda: cond.notify(2)]):
        notify()
        eventually(lambda n=[1, 2, 4][i]: len(order) == n)
    cond.notify_all()
    for g in gs:
        g.join()
    assert order[:2] == [0, 1]
    assert set(order[2:4]) == {2, 3}
    assert set(order[4:]) == {4, 5}


@pytest.mark.parametrize("timeout", [0, -1, 0.002])
def test_a_wait_that_timed_out_returns_false_with_the_lock_held(place, timeout):
    def check():
        cond = Cond()
        with cond:
            assert cond.wait(timeout) is False
            assert cond.lock.locked()
        cond.notify_all()  # nobody is left

    place(check)


def test_wait_for_returns_the_predicates_value(place):
    def check():
        cond, items = Cond(), []

        def add():
            for i in range(3):
                with cond:
                    items.append(i)
                    cond.notify()
                golib.gosched()

        g = go(add)
        with cond:
            assert cond.wait_for(lambda: items[2:]) == [2]
            assert cond.wait_for(list, timeout=0.002) == []
            assert cond.wait_for(lambda: "at once", timeout=0) == "at once"
        g.join()

    place(check)


def test_waiting_without_the_lock_raises_and_leaves_nobody_in_the_queue():
    cond = Cond()
    with pytest.raises(RuntimeError):
        cond.wait()
    with cond:
        g = parked(go(lambda: cond.__enter__() and cond.wait() and cond.release()))
    parked(g, "sync.Cond.Wait")
    cond.notify()  # would be lost to the one that raised
    g.join()


@pytest.mark.parametrize("make", [Mutex, threading.Lock, threading.RLock])
def test_any_lock_will_do(make):
    cond, done = Cond(make()), []

    def task():
        with cond:
            cond.wait_for(lambda: done)

    g = parked(go(task))
    with cond:
        done.append(1)
        cond.notify_all()
    g.join()


def test_an_rlock_is_given_up_however_often_it_is_held():
    cond = Cond(threading.RLock())

    def task():
        with cond, cond:
            assert cond.wait()
            cond.release()
            cond.acquire()

    g = parked(go(task), "sync.Cond.Wait")
    with cond:
        cond.notify()
    g.join()


@pytest.mark.parametrize("timeout", ["x", float("nan")])
def test_a_wrong_timeout_raises_with_the_lock_held(timeout):
    cond = Cond()
    with cond:
        with pytest.raises((TypeError, ValueError)):
            cond.wait(timeout)
        assert cond.lock.locked()


def test_what_the_predicate_raises_is_raised_with_the_lock_held():
    cond = Cond()

    def predicate():
        raise Boom

    with cond:
        with pytest.raises(Boom):
            cond.wait_for(predicate)
        assert cond.lock.locked()


def test_a_storm_with_timeouts_loses_no_notification(rng):
    cond, tokens, taken = Cond(), [0], [0]

    def take(seed):
        random = type(rng)(seed)
        for _ in range(40):
            with cond:
                while not tokens[0]:
                    cond.wait(random.choice([None, 0, 0.0001, 0.001]))
                tokens[0] -= 1
                taken[0] += 1

    def main():
        takers = [go(take, rng.getrandbits(32)) for _ in range(10)]
        for _ in range(400):
            with cond:
                tokens[0] += 1
            cond.notify()
            if rng.random() < 0.3:
                golib.gosched()
        for g in takers:
            g.join()

    golib.run(main)
    assert (tokens, taken) == ([0], [400])


# -- Event -------------------------------------------------------------------------------------


def test_an_event_wakes_all_and_lets_through_until_cleared(place):
    def check():
        event = Event()
        assert not event.is_set()
        gs = [parked(go(event.wait), "event wait") for _ in range(5)]
        event.set()
        event.set()
        assert all(g.join() is True for g in gs)
        assert event.wait() is True
        event.clear()
        assert not event.is_set()
        assert event.wait(0) is False
        assert event.wait(0.002) is False

    place(check)


def test_a_clear_right_after_set_takes_nothing_from_the_waiters():
    event = Event()
    gs = [parked(go(event.wait)) for _ in range(5)]
    event.set()
    event.clear()
    assert [g.join() for g in gs] == [True] * 5


@pytest.mark.parametrize("waiter", list(PLACES))
@pytest.mark.parametrize("setter", list(PLACES))
def test_an_event_is_set_from_anywhere_for_anyone(waiter, setter):
    event, ready = Event(), Chan(1)

    def wait():
        ready.send(1)
        return event.wait(20)

    def set_it():
        ready.recv()
        event.set()

    g = go(PLACES[setter], set_it) if setter != "main" else go(set_it)
    assert PLACES[waiter](wait) is True
    g.join()


def test_a_wrong_use_of_an_event_raises():
    with pytest.raises(TypeError):
        Event(1)
    with pytest.raises(TypeError):
        Event().wait("x")
    with pytest.raises(ValueError, match="nan"):
        Event().wait(float("nan"))


# -- Barrier -----------------------------------------------------------------------------------


def test_a_barrier_lets_nobody_on_before_all_have_come_and_serves_again():
    barrier, came = Barrier(4), [0]

    def task():
        indexes = []
        for i in range(1, 6):
            came[0] += 1
            indexes.append(barrier.wait())
            assert came[0] >= 4 * i
        return indexes

    results = [g.join() for g in [go(task) for _ in range(4)]]
    assert [sorted(column) for column in zip(*results, strict=True)] == [[0, 1, 2, 3]] * 5
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (4, 0, False)


def test_a_barrier_runs_its_action_once_a_round():
    calls = []
    barrier = Barrier(2, action=lambda: calls.append(1))
    g = go(barrier.wait)
    barrier.wait()
    g.join()
    assert calls == [1]


def test_a_barrier_that_times_out_is_broken_for_all_until_reset():
    barrier = Barrier(3)
    other = parked(go(barrier.wait))
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert isinstance(other.exception(), threading.BrokenBarrierError)
    assert barrier.broken
    barrier.reset()
    gs = [go(barrier.wait) for _ in range(3)]
    assert sorted(g.join() for g in gs) == [0, 1, 2]


def test_an_aborted_barrier_raises_in_all_who_wait():
    barrier = Barrier(3, timeout=20)
    gs = [parked(go(barrier.wait)) for _ in range(2)]
    barrier.abort()
    assert all(isinstance(g.exception(), threading.BrokenBarrierError) for g in gs)


def test_a_timeout_passes_also_where_the_clock_of_the_time_module_stands_still(place, monkeypatch):
    """As freezegun has it."""
    stopped = time.monotonic()
    for name in ("monotonic", "time", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: stopped)

    def check():
        cond = Cond()
        with cond:
            assert cond.wait(0.01) is False
            assert cond.wait_for(lambda: False, 0.01) is False
            assert cond.wait_for(list, -(10**400)) == []
        with pytest.raises(threading.BrokenBarrierError):
            Barrier(2).wait(0.01)
        with pytest.raises(TimeoutError):
            with golib.timeout(0.01):
                golib.sleep(5)

    place(check)


def test_golibs_clock_is_that_of_the_time_module():
    before = time.monotonic()
    now = golib._golib._monotonic()
    assert before <= now <= time.monotonic()


def test_nothing_in_the_package_asks_the_time_module_for_the_time():
    package = pathlib.Path(golib.__file__).parent
    asks = re.compile(r"\btime\.(monotonic|time|perf_counter)(_ns)?\(\)(?! *\.$)")
    found = [
        f"{path.name}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if asks.search(line.partition("#")[0]) and not line.startswith("Times are")
    ]
    assert found == []

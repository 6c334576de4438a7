"""golib.sync: WaitGroup and Mutex."""

from __future__ import annotations

import gc
import math
import time

import golib
import pytest
from golib import go, gosched
from golib.sync import Mutex, WaitGroup

from support import Thread, Tracked, eventually, parked, run_ok

# -- WaitGroup ---------------------------------------------------------------------------------


def test_waiting_on_a_fresh_wait_group_returns_at_once(place):
    assert place(WaitGroup().wait) is None


def test_wait_waits_for_every_done(place):
    wg, ended = WaitGroup(), []

    def task(i):
        gosched()
        ended.append(i)
        wg.done()

    wg.add(10)
    for i in range(10):
        go(task, i)
    place(wg.wait)
    assert sorted(ended) == list(range(10))


def test_add_counts_by_any_number():
    wg = WaitGroup()
    wg.add(5)
    wg.add(-3)
    wg.add(0)
    wg.done()
    wg.add(-1)
    wg.wait(0)


def test_every_waiter_wakes():
    wg = WaitGroup()
    wg.add(1)
    waiters = [parked(go(wg.wait), "sync.WaitGroup.Wait", "semacquire") for _ in range(10)]
    threads = [Thread(wg.wait) for _ in range(3)]
    wg.done()
    for w in waiters + threads:
        w.join()


def test_a_wait_group_can_be_used_again():
    wg = WaitGroup()
    for _ in range(20):
        for _ in range(3):
            wg.go(gosched)
        wg.wait()


def test_go_adds_runs_and_is_done():
    wg, seen = WaitGroup(), []
    for i in range(5):
        wg.go(seen.append, i)
    wg.wait()
    assert sorted(seen) == list(range(5))


def test_go_passes_keywords():
    wg, seen = WaitGroup(), []
    wg.go(lambda *a, **k: seen.append((a, k)), 1, x=2)
    wg.wait()
    assert seen == [((1,), {"x": 2})]


def test_go_is_done_when_the_function_raises(panics):
    wg = WaitGroup()
    wg.go(lambda: 1 / 0)
    wg.wait(20)
    eventually(lambda: panics)


def test_go_of_what_is_not_callable_does_not_count():
    wg = WaitGroup()
    with pytest.raises(TypeError):
        wg.go(None)
    wg.wait(0)


@pytest.mark.parametrize("call", [lambda wg: wg.done(), lambda wg: wg.add(-1)])
def test_below_zero_is_a_value_error(call):
    wg = WaitGroup()
    with pytest.raises(ValueError, match="sync: negative WaitGroup counter"):
        call(wg)


def test_a_refused_add_leaves_the_counter():
    wg = WaitGroup()
    wg.add(1)
    with pytest.raises(ValueError, match="negative WaitGroup counter"):
        wg.add(-2)
    with pytest.raises(TimeoutError):
        wg.wait(0)
    wg.done()
    wg.wait(0)


@pytest.mark.parametrize("n", [10**30, -(10**30), 2**63, -(2**63) - 1])
def test_huge_counts_are_value_errors(n):
    with pytest.raises((ValueError, MemoryError)):
        WaitGroup().add(n)


@pytest.mark.parametrize("bad", ["1", 1.5, None, []], ids=repr)
def test_a_count_of_a_wrong_type_is_a_type_error(bad):
    with pytest.raises(TypeError):
        WaitGroup().add(bad)


@pytest.mark.parametrize("timeout", [0, -1, -math.inf, 0.002], ids=repr)
def test_wait_times_out(timeout, place):
    wg = WaitGroup()
    wg.add(1)
    with pytest.raises(TimeoutError):
        place(wg.wait, timeout)
    with pytest.raises(TimeoutError):
        wg.wait(timeout=timeout)
    wg.done()
    wg.wait(timeout)


@pytest.mark.parametrize("timeout", [None, math.inf, 10**400, 3600], ids=repr)
def test_wait_with_a_long_timeout_waits(timeout, place):
    wg = WaitGroup()
    wg.go(gosched)
    place(wg.wait, timeout)


def test_nan_is_a_value_error():
    with pytest.raises(ValueError, match="timeout must not be nan"):
        WaitGroup().wait(math.nan)


def test_done_can_be_a_goroutine_itself():
    wg = WaitGroup()
    wg.add(100)
    for _ in range(100):
        go(wg.done)
    wg.wait()


def test_threads_and_goroutines_share_a_wait_group():
    wg = WaitGroup()
    wg.add(8)
    workers = [go(wg.done) for _ in range(4)] + [Thread(wg.done) for _ in range(4)]
    wg.wait()
    for w in workers:
        w.join()


# -- Mutex -------------------------------------------------------------------------------------


def test_lock_and_unlock(place):
    def use(m):
        m.lock()
        assert m.try_lock() is False
        m.unlock()
        assert m.try_lock() is True
        m.unlock()

    place(use, Mutex())


def test_with_locks_and_unlocks(place):
    m = Mutex()

    def use():
        with m:
            return m.try_lock()

    assert place(use) is False
    assert m.try_lock() is True


def test_with_unlocks_after_an_exception():
    m = Mutex()
    with pytest.raises(KeyError), m:
        raise KeyError
    assert m.try_lock() is True


def test_acquire_and_release_are_threadings():
    m = Mutex()
    assert m.acquire() is True
    assert m.acquire(False) is False
    assert m.acquire(blocking=False) is False
    assert m.acquire(timeout=0.002) is False
    assert m.acquire(True, 0) is False
    assert m.release() is None
    assert m.acquire(True, -1) is True
    assert m.acquire(timeout=0) is False
    m.release()
    assert m.acquire(timeout=5) is True
    m.release()


def test_acquire_refuses_what_threading_refuses():
    m = Mutex()
    with pytest.raises(ValueError, match="for a non-blocking call"):
        m.acquire(False, 1)
    with pytest.raises(ValueError, match="non-negative"):
        m.acquire(timeout=-2)
    with pytest.raises(ValueError, match="timeout must not be nan"):
        m.acquire(timeout=math.nan)
    with pytest.raises(TypeError):
        m.acquire(timeout="1")
    assert m.try_lock() is True


@pytest.mark.parametrize("name", ["unlock", "release"])
def test_unlocking_an_unlocked_mutex_is_a_runtime_error(name):
    m = Mutex()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="sync: unlock of unlocked mutex"):
            getattr(m, name)()
    m.lock()
    m.unlock()
    with pytest.raises(RuntimeError):
        m.unlock()


def test_any_goroutine_may_unlock():
    m = Mutex()
    m.lock()
    go(m.unlock).join()
    Thread(m.lock).join()
    m.unlock()


def test_a_waiting_goroutine_parks_in_gos_words():
    m = Mutex()
    m.lock()
    g = parked(go(m.lock), "sync.Mutex.Lock")
    m.unlock()
    g.join()
    m.unlock()


def test_a_mutex_excludes(rng):
    m, inside, most = Mutex(), 0, 0

    def task(pauses):
        nonlocal inside, most
        for pause in pauses:
            with m:
                inside += 1
                most = max(most, inside)
                if pause:
                    gosched()
                inside -= 1
            gosched()

    work = [[rng.random() < 0.5 for _ in range(50)] for _ in range(12)]
    tasks = [go(task, w) for w in work[:10]] + [Thread(task, w) for w in work[10:]]
    for t in tasks:
        t.join()
    assert (inside, most) == (0, 1)
    assert m.try_lock()


def test_no_waiter_starves():
    """A waiter gets the mutex although another goroutine keeps retaking it at once."""
    m, stop = Mutex(), []

    def greedy():
        while not stop:
            with m:
                time.sleep(0.0005)

    g = go(greedy)
    try:
        for _ in range(10):
            assert m.acquire(timeout=10) is True
            m.unlock()
    finally:
        stop.append(1)
        g.join()


def test_a_timed_out_waiter_does_not_get_the_mutex():
    m = Mutex()
    m.lock()
    hasty = go(m.acquire, True, 0.005)
    patient = parked(go(m.lock))
    assert hasty.join() is False
    m.unlock()
    patient.join()
    assert m.try_lock() is False


def test_a_thousand_waiters_get_their_turn():
    m, count = Mutex(), 0

    def task():
        nonlocal count
        with m:
            count += 1

    with m:
        tasks = [go(task) for _ in range(1000)]
        parked(tasks[-1])
    for t in tasks:
        t.join()
    assert count == 1000


def test_sync_objects_in_cycles_are_collected():
    class Holder:
        pass

    h = Holder()
    h.parts = [Mutex(), WaitGroup(), h, Tracked()]
    del h
    gc.collect()
    assert Tracked.alive == 0


def test_sync_objects_take_no_arguments():
    for cls in (Mutex, WaitGroup):
        with pytest.raises(TypeError):
            cls(1)
        assert golib.sync.__dict__[cls.__name__] is cls


def test_waiting_for_a_contended_mutex_keeps_no_thread():
    # Also of one that was woken, found the mutex taken and waits again in the same call.
    out = run_ok(
        """
        import golib
        from golib.sync import Mutex
        lock = Mutex()
        def task():
            for i in range(3000):
                with lock:
                    if i % 50 == 0:
                        golib.gosched()
        def main():
            for g in [golib.go(task) for _ in range(4)]:
                g.join()
            return golib.runtime.stats()
        stats = golib.run(main)
        movable = stats["parks_movable"] + stats["parks_movable_after_walk"]
        print(stats["parks_pinned"], movable > 100)
        """
    )
    assert out == "0 True\n"

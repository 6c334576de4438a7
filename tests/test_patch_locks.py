"""golib.patch("lock", "queue"): locks and what threading makes of them, on goroutines, beside ordinary threads."""

from __future__ import annotations

import queue
import threading
import time

import golib
import pytest

from support import Boom, Thread, on_thread, parked, run_ok

WAITING = "sync.Mutex.Lock"
made_before = threading.Lock()


@pytest.fixture(autouse=True)
def patched():
    golib.patch("lock", "queue")
    yield
    golib.unpatch()


def taken(kind=threading.Lock):
    """A lock that an ordinary thread holds; the thread gives it back when it is told to."""
    lock, give_back, ready = kind(), golib.sync.Event(), golib.sync.Event()

    def hold():
        with lock:
            ready.set()
            give_back.wait()

    thread = Thread(hold)
    ready.wait()
    return lock, give_back, thread


def cancelled(g):
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join()


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock], ids=["Lock", "RLock"])
class TestBothKinds:
    def test_a_goroutine_parks_until_a_thread_gives_it_back(self, kind):
        lock, give_back, thread = taken(kind)
        g = parked(golib.go(lock.acquire), WAITING)
        give_back.set()
        thread.join()
        assert g.join() is True

    def test_a_thread_waits_until_a_goroutine_gives_it_back(self, kind):
        lock, go_on = kind(), golib.Chan()

        def hold():
            with lock:
                go_on.recv()
                go_on.recv()

        g = golib.go(hold)
        go_on.send(None)
        thread = Thread(lock.acquire)
        go_on.send(None)
        g.join()
        assert thread.join() is True

    def test_goroutines_take_turns(self, kind):
        lock, order = kind(), []

        def work(i):
            with lock:
                order.append(i)

        with lock:
            gs = [parked(golib.go(work, i), WAITING) for i in range(20)]
        for g in gs:
            g.join()
        assert order == list(range(20))

    def test_many_waiters_need_no_threads(self, kind):
        before = golib.runtime.stats()["threads"]  # idle ones of other tests end after a while
        lock, give_back, thread = taken(kind)

        def work():
            with lock:
                pass

        gs = [golib.go(work) for _ in range(500)]
        try:
            for g in gs:
                parked(g, WAITING)
            assert golib.runtime.stats()["threads"] < before + 50
        finally:
            give_back.set()
        for g in gs:
            g.join()
        thread.join()

    @pytest.mark.parametrize("arguments", [(True, 0.01), (1, 0.01), (True, 1e-9)])
    def test_a_timeout_is_false_as_on_a_thread(self, kind, arguments):
        lock, give_back, thread = taken(kind)
        assert golib.go(lock.acquire, *arguments).join() is False
        assert golib.go(lambda: lock.acquire(timeout=0.001)).join() is False
        give_back.set()
        thread.join()
        assert golib.go(lock.acquire, *arguments).join() is True

    def test_calls_that_do_not_wait_are_untouched(self, kind):
        lock, give_back, thread = taken(kind)

        def tries():
            return (
                lock.acquire(False),
                lock.acquire(blocking=False),
                lock.acquire(True, 0),
                lock.acquire(0),
            )

        assert golib.go(tries).join() == (False,) * 4
        give_back.set()
        thread.join()

    @pytest.mark.parametrize(
        "call",
        [
            lambda lock: lock.acquire(True, -2),
            lambda lock: lock.acquire(False, 1),
            lambda lock: lock.acquire(True, "x"),
            lambda lock: lock.acquire(True, 1e300),
            lambda lock: lock.acquire(True, float("nan")),
            lambda lock: lock.acquire(True, -1, 3),
            lambda lock: lock.acquire(wrong=1),
            lambda lock: lock.acquire(timeout=None),
            lambda lock: lock.release(),
        ],
    )
    def test_wrong_calls_raise_what_they_raise_on_a_thread(self, kind, call):
        lock, give_back, thread = taken(kind)
        if call.__code__.co_names[-1] == "release":
            give_back.set()
            thread.join()

        def outcome():
            try:
                return call(lock)
            except Exception as error:
                return type(error), str(error)

        assert golib.go(outcome).join() == on_thread(outcome)
        give_back.set()

    def test_cancellation_leaves_the_wait_and_no_trace(self, kind):
        lock, give_back, thread = taken(kind)
        first, second = (
            parked(golib.go(lock.acquire), WAITING),
            parked(golib.go(lock.acquire), WAITING),
        )
        cancelled(first)
        give_back.set()
        thread.join()
        assert second.join() is True

    def test_a_golib_timeout_leaves_the_wait(self, kind):
        lock, give_back, thread = taken(kind)

        def work():
            with pytest.raises(TimeoutError), golib.timeout(0.01):
                lock.acquire()

        golib.go(work).join()
        give_back.set()
        thread.join()

    def test_a_free_lock_is_taken_by_a_cancelled_goroutine(self, kind):
        lock = kind()

        def work():
            with golib.timeout(0.001, raises=False):
                with pytest.raises(golib.Cancelled):
                    golib.sleep(10)
                with lock:
                    return True

        assert golib.go(work).join() is True

    def test_one_that_takes_it_again_and_again_does_not_starve_others(self, kind):
        lock, stop, got = kind(), [], []

        def greedy():
            while not stop:
                with lock:
                    golib.sleep(0.002)

        def modest():
            for _ in range(3):
                with lock:
                    got.append(1)

        gs = [golib.go(greedy) for _ in range(2)]
        golib.go(modest).join(timeout=20)
        stop.append(1)
        for g in gs:
            g.join()
        assert len(got) == 3


def test_a_lock_made_and_bound_before_parks():
    acquire = made_before.acquire
    with made_before:
        parked(g := golib.go(acquire), WAITING)
    assert g.join()
    made_before.release()


def test_deadlock_is_told_of_locks():
    out = run_ok("""
        import golib, threading, queue
        golib.patch("lock", "queue")
        lock, rlock = threading.Lock(), threading.RLock()
        lock.acquire()
        def hold():
            rlock.acquire(); golib.nil.recv()
        def main():
            golib.go(hold); golib.gosched()
            for wait in (lock.acquire, rlock.acquire, threading.Event().wait, queue.Queue().get, queue.SimpleQueue().get,
                         threading.Semaphore(0).acquire):
                try:
                    wait()
                except golib.Deadlock as error:
                    print(str(error).splitlines()[0])
        golib.run(main)
    """)
    assert out.splitlines() == ["all goroutines are asleep - deadlock!"] * 6


def test_no_deadlock_while_a_thread_could_give_it_back():
    lock, give_back, thread = taken()
    threading.Timer(0.2, give_back.set).start()
    assert golib.run(lock.acquire) is True
    thread.join()


# ---- taking back


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock], ids=["Lock", "RLock"])
def test_a_cancelled_condition_keeps_mutual_exclusion_and_no_waiter(kind):
    condition, inside, worst = threading.Condition(kind()), [0], [0]

    def work():
        with condition:
            try:
                condition.wait()
            finally:
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                with golib.shield():
                    golib.sleep(0.0005)
                inside[0] -= 1

    gs = [parked(golib.go(work), WAITING) for _ in range(50)]
    for g in gs:
        g.cancel()
    for g in gs:
        with pytest.raises(golib.Cancelled):
            g.join()
    assert worst == [1] and not condition._waiters


def test_a_notification_is_not_lost_with_a_cancelled_waiter():
    for _ in range(100):
        q = queue.Queue()
        first, second = parked(golib.go(q.get), WAITING), parked(golib.go(q.get), WAITING)

        def both(first=first, q=q):
            # The first waiter is cancelled, and notified before it has the lock again.
            with q.mutex:
                first.cancel()
                golib.gosched()
                golib.gosched()
                q._put(7)
                q.unfinished_tasks += 1
                q.not_empty.notify()

        golib.go(both).join()
        try:
            assert first.join() == 7
            second.cancel()
            assert isinstance(second.exception(), golib.Cancelled)
        except golib.Cancelled:
            assert second.join() == 7


def test_an_interrupt_while_a_lock_is_taken_back_comes_afterwards():
    condition = threading.Condition()
    steps = []

    def work():
        with condition:
            condition.wait()
            steps.append("has it")
            golib.sleep(10)

    g = parked(golib.go(work), WAITING)
    with condition:
        condition.notify()
        golib.gosched()
        g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join()
    assert steps == ["has it"]


# ---- unpatch


def test_unpatch_restores_what_was_replaced():
    out = run_ok("""
        import golib, threading
        golib.go(int).join()
        def snap():
            return (threading.Condition.wait, threading.Condition._acquire_restore)
        before = snap()
        golib.patch(); assert snap() != before
        golib.unpatch(); assert snap() == before
        golib.patch("lock"); golib.unpatch(); assert snap() == before
        print("ok")
    """)
    assert out == "ok\n"


def test_goroutines_that_wait_when_the_patch_is_taken_back_finish_their_call():
    lock, give_back, thread = taken()
    condition, simple = threading.Condition(), queue.SimpleQueue()
    entered = []

    def wait_notified():
        with condition:
            entered.append(1)
            condition.wait()
        return "notified"

    timed = parked(golib.go(lock.acquire, True, 0.3), WAITING)
    long = parked(golib.go(lock.acquire, True, 60), WAITING)
    notified = parked(golib.go(wait_notified), WAITING)
    got, late = parked(golib.go(simple.get)), parked(golib.go(simple.get, True, 0.2))
    golib.unpatch()
    assert timed.join(timeout=20) is False
    assert isinstance(late.exception(timeout=20), queue.Empty)
    simple.put(5)
    assert got.join(timeout=20) == 5
    with condition:
        condition.notify()
    assert notified.join(timeout=20) == "notified"
    give_back.set()
    thread.join()
    assert long.join(timeout=20) is True


def test_a_fork_forgets_the_parents_waiters():
    out = run_ok("""
        import os, golib, threading
        golib.patch("lock")
        lock = threading.Lock()
        def main():
            lock.acquire()
            g = golib.go(lock.acquire)
            while g.status() != "sync.Mutex.Lock": golib.gosched()
            pid = os.fork()
            if pid == 0:
                lock.release()
                h = golib.go(lock.acquire)
                os._exit(0 if h.join(timeout=5) else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            lock.release(); print(g.join())
        golib.run(main)
    """)
    assert out == "0\nTrue\n"


def test_an_exception_in_a_with_block_gives_the_lock_back():
    lock = threading.Lock()

    def work():
        with lock:
            raise Boom

    g = golib.go(work)
    assert isinstance(g.exception(), Boom)
    assert not lock.locked()


def test_time_spent_waiting_is_what_was_asked_for():
    lock = threading.Lock()
    lock.acquire()
    began = time.monotonic()
    assert golib.go(lock.acquire, True, 0.05).join() is False
    assert time.monotonic() - began >= 0.05

"""golib.patch("lock"): Condition and Event do what the standard library's do, on goroutines and on ordinary threads."""

from __future__ import annotations

import inspect
import queue
import threading
import time

import golib
import pytest

from support import on_thread, parked

WAITING = "sync.Mutex.Lock"


@pytest.fixture(autouse=True)
def patched():
    golib.patch("lock")
    yield
    golib.unpatch()


def on_goroutine(fn, *args):
    return golib.go(fn, *args).join()


everywhere = pytest.mark.parametrize(
    "where", [on_goroutine, on_thread], ids=["goroutine", "thread"]
)


def outcome(fn, *args, **kwargs):
    """The result of a call, or its exception's type and text."""
    try:
        return fn(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)


# ---- the same answers


class Loud(threading.Event):
    """Overrides what other methods call."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def is_set(self):
        self.calls.append("is_set")
        return super().is_set()

    def set(self):
        self.calls.append("set")
        super().set()


class Owned(threading.Condition):
    def _is_owned(self):
        return True


class Stored(threading.Event):
    """Keeps its flag elsewhere."""

    @property
    def _flag(self):
        return self.__dict__.get("kept", False)

    @_flag.setter
    def _flag(self, value):
        self.__dict__["kept"] = value


def of_events(kind):
    event = kind()
    yield event.wait(0), event.wait(timeout=-1), event.wait(0.001), event.is_set()
    yield event.set(), event.wait(), event.wait(5), event.wait(timeout=None), event.is_set()
    yield event.clear(), event.wait(0), event.is_set()
    yield outcome(event.wait, float("nan"))
    yield (
        outcome(event.wait, "soon"),
        outcome(event.wait, 1, 2),
        outcome(event.wait, threading.TIMEOUT_MAX * 2),
    )
    yield outcome(event.set, 1)[0], event._cond._lock.locked()
    yield len(event._cond._waiters), getattr(event, "calls", None)


def of_conditions(kind, lock):
    condition = kind(lock())
    yield outcome(condition.notify), outcome(condition.notify_all), outcome(condition.wait, 0)
    with condition as entered:
        yield (
            entered,
            condition.notify(),
            condition.notify(3),
            condition.notify(n=0),
            condition.notify_all(),
        )
        yield condition.wait(0), condition.wait(0.001), condition.wait(timeout=-1)
        yield outcome(condition.wait, "soon"), condition._is_owned(), len(condition._waiters)
        yield outcome(condition.notify, "two")
    yield (
        outcome(condition.__exit__, None, None, None),
        condition.__enter__(),
        condition.__exit__(None, None, None),
    )
    for wrong in ((1, 2), (1, 2, 3, 4, 5, 6)):
        with pytest.raises(TypeError):
            condition.notify(*wrong)
    with pytest.raises(TypeError):
        condition.notify(m=1)


@everywhere
@pytest.mark.parametrize("kind", [threading.Event, Loud, Stored])
def test_an_event_answers_as_without_the_patch(where, kind):
    answers = where(lambda: list(of_events(kind)))
    golib.unpatch()
    assert answers == on_thread(lambda: list(of_events(kind)))


@everywhere
@pytest.mark.parametrize("lock", [threading.Lock, threading.RLock], ids=["Lock", "RLock"])
@pytest.mark.parametrize("kind", [threading.Condition, Owned])
def test_a_condition_answers_as_without_the_patch(where, kind, lock):
    answers = where(lambda: list(of_conditions(kind, lock)))
    golib.unpatch()
    assert answers == on_thread(lambda: list(of_conditions(kind, lock)))


def test_a_lock_of_another_kind_is_entered_by_its_own_methods():
    class Counting:
        def __init__(self):
            self.lock, self.entered = threading.Lock(), []
            self.acquire, self.release = self.lock.acquire, self.lock.release
            self.locked = self.lock.locked

        def __enter__(self):
            self.entered.append("in")
            return self.lock.__enter__()

        def __exit__(self, *args):
            self.entered.append(args)
            return self.lock.__exit__(*args)

    lock = Counting()
    condition = threading.Condition(lock)

    def work():
        with condition:
            return condition.wait(0.001)

    assert on_goroutine(work) is False
    assert lock.entered == ["in", (None, None, None)]


def test_the_methods_keep_their_signatures_and_come_back():
    names = [(threading.Condition, name) for name in ("__enter__", "__exit__", "wait", "notify")]
    names += [(threading.Event, name) for name in ("set", "clear", "wait")]
    replaced = {key: key[0].__dict__[key[1]] for key in names}
    signatures = [inspect.signature(kind.__dict__[name]) for kind, name in names[2:]]
    assert all(method.__name__ == name for (_, name), method in replaced.items())
    golib.unpatch()
    for (kind, name), signature in zip(names[2:], signatures, strict=True):
        was = inspect.signature(kind.__dict__[name])
        assert [p.name for p in was.parameters.values()] == [
            p.name for p in signature.parameters.values()
        ]
    assert all(kind.__dict__[name] is not replaced[kind, name] for kind, name in names)


# ---- waits


@everywhere
def test_set_wakes_all_goroutines_and_threads_that_wait(where):
    event = threading.Event()
    gs = [parked(golib.go(event.wait), WAITING) for _ in range(20)]
    threads = [threading.Thread(target=event.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(event._cond._waiters) < 23:
        time.sleep(0.001)
    where(event.set)
    assert all(g.join() is True for g in gs)
    for thread in threads:
        thread.join()
    assert not event._cond._waiters


@everywhere
def test_notify_wakes_as_many_as_it_is_asked_to_those_first_who_came_first(where):
    condition, woken = threading.Condition(threading.Lock()), []

    def work(i):
        with condition:
            condition.wait()
            woken.append(i)

    gs = [parked(golib.go(work, i), WAITING) for i in range(5)]

    def notify(n):
        with condition:
            condition.notify(n)

    where(notify, 2)
    for g in gs[:2]:
        g.join()
    assert sorted(woken) == [0, 1] and len(condition._waiters) == 3
    where(notify, 100)
    for g in gs:
        g.join()
    assert sorted(woken) == [0, 1, 2, 3, 4]


def test_wait_does_not_return_before_set_has_given_the_lock_back():
    event, order = threading.Event(), []

    def wait():
        event.wait()
        order.append("waited")

    def set_slowly():
        with event._cond:
            event._flag = True
            event._cond.notify_all()
            for _ in range(10):
                golib.gosched()
            order.append("set")

    g = parked(golib.go(wait), WAITING)
    golib.go(set_slowly).join()
    g.join()
    assert order == ["set", "waited"]


def test_set_waits_for_whoever_holds_the_lock():
    event, order = threading.Event(), []

    def set_it():
        event.set()
        order.append("set")

    with event._cond:
        g = parked(golib.go(set_it), WAITING)
        order.append("held")
        assert not event.is_set()
    g.join()
    assert order == ["held", "set"] and event.is_set()


def test_a_wait_that_is_left_leaves_no_waiter_and_no_lock():
    event = threading.Event()
    g = parked(golib.go(event.wait), WAITING)
    timed = golib.go(event.wait, 0.01)
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join()
    assert timed.join() is False
    assert not event._cond._waiters and not event._cond._lock.locked()


def test_a_cancelled_wait_that_was_notified_returns():
    event = threading.Event()
    g = parked(golib.go(event.wait), WAITING)

    def both():
        with event._cond:
            g.cancel()  # it leaves the wait, and waits for the lock
            golib.gosched()
            golib.gosched()
            event._flag = True
            event._cond.notify_all()

    golib.go(both).join()
    assert g.join() is True


def test_waits_go_on_when_the_patch_is_taken_back():
    event, condition = threading.Event(), threading.Condition(threading.Lock())

    def wait():
        with condition:
            return condition.wait()

    gs = [parked(golib.go(event.wait), WAITING), parked(golib.go(wait), WAITING)]
    golib.unpatch()
    event.set()
    with condition:
        condition.notify()
    assert [g.join(timeout=20) for g in gs] == [True, True]


def test_goroutines_and_threads_pass_work_through_a_bounded_queue():
    jobs, got = queue.Queue(2), []

    def put(first):
        for i in range(first, first + 500):
            jobs.put(i)

    def take():
        for _ in range(500):
            got.append(jobs.get())
            jobs.task_done()

    threads = [threading.Thread(target=put, args=(0,)), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    gs = [golib.go(put, 500), golib.go(take)]
    for g in gs:
        g.join()
    for thread in threads:
        thread.join()
    jobs.join()
    assert sorted(got) == list(range(1000))

"""Cancellation at every blocking operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import golib
import pytest
from golib import Cancelled, Chan, go, shield, timeout
from golib.context import background, current, with_cancel
from golib.sync import (
    Barrier,
    Cond,
    ErrGroup,
    Event,
    Mutex,
    Once,
    RWMutex,
    Semaphore,
    SingleFlight,
    WaitGroup,
    once_value,
)

from support import Thread, eventually, parked

# -- every operation that waits ----------------------------------------------------------------
#
# Each test makes its wait anew: a call that waits forever, and a check that it has left nothing in
# any queue.

Wait = tuple[Callable[[], Any], Callable[[], None]]
WAITS: dict[str, Callable[[], Wait]] = {}


def wait(make: Callable[[], Wait]) -> Callable[[], Wait]:
    WAITS[make.__name__.replace("_", " ").strip()] = make
    return make


def receiving(how: Callable[[Any], Any]) -> Callable[[], Wait]:
    def make() -> Wait:
        ch: Any = Chan()

        def clean() -> None:
            assert ch.try_send("nobody") is False

        return (lambda: how(ch)), clean

    return make


def sending(how: Callable[[Any], Any], cap: int = 0) -> Callable[[], Wait]:
    def make() -> Wait:
        ch: Any = Chan(cap)
        for i in range(cap):
            ch.send(i)

        def clean() -> None:
            assert [ch.try_recv() for _ in range(cap)] == [(i, True) for i in range(cap)]
            assert ch.try_recv() is None

        return (lambda: how(ch)), clean

    return make


WAITS |= {
    "recv": receiving(lambda ch: ch.recv()),
    "timed recv": receiving(lambda ch: ch.recv(3600)),
    "recv_ok": receiving(lambda ch: ch.recv_ok()),
    "view recv": receiving(lambda ch: ch.receiver.recv()),
    "iteration": receiving(lambda ch: list(ch)),
    "view iteration": receiving(lambda ch: list(ch.receiver)),
    "select recv": receiving(lambda ch: golib.select(ch, golib.recv(Chan()))),
    "select one": receiving(lambda ch: golib.select(ch)),
    "timed select": receiving(lambda ch: golib.select(ch, None, timeout=3600)),
    "biased select": receiving(lambda ch: golib.select(None, golib.nil, ch, biased=True)),
    "Select recv": receiving(lambda ch: golib.Select(ch, None).wait()),
    "timed Select": receiving(lambda ch: golib.Select(ch, Chan()).wait(3600)),
    "send": sending(lambda ch: ch.send(1)),
    "timed send": sending(lambda ch: ch.send(1, 3600)),
    "view send": sending(lambda ch: ch.sender.send(1)),
    "send to a full buffer": sending(lambda ch: ch.send("new"), 2),
    "select send": sending(lambda ch: golib.select(golib.send(ch, 1), Chan())),
    "Select send": sending(lambda ch: golib.Select(golib.send(ch, 1)).wait()),
    "select send to a full buffer": sending(lambda ch: golib.select(golib.send(ch, 1)), 1),
    "nil recv": lambda: (golib.nil.recv, lambda: None),
    "nil send": lambda: (lambda: golib.nil.send(1), lambda: None),
    "select of nothing": lambda: (golib.select, lambda: None),
    "select of None": lambda: (lambda: golib.select(None, golib.nil), lambda: None),
    "sleep": lambda: (lambda: golib.sleep(3600), lambda: None),
    "endless sleep": lambda: (lambda: golib.sleep(math.inf), lambda: None),
    "endless timeout": receiving(lambda ch: ch.recv(math.inf)),
}


@wait
def sender_send():
    tx, rx = golib.channel()

    def clean():
        assert rx.try_recv() is None
        tx.close()

    return (lambda: tx.send(1)), clean


def mutex(how):
    def make():
        m = Mutex()
        m.lock()

        def clean():
            assert m.locked()
            m.unlock()
            assert m.try_lock()
            m.unlock()

        return (lambda: how(m)), clean

    return make


def with_it(lock):
    with lock:
        raise AssertionError("entered")


WAITS |= {
    "Mutex lock": mutex(lambda m: m.lock()),
    "timed Mutex lock": mutex(lambda m: m.lock(3600)),
    "Mutex acquire": mutex(lambda m: m.acquire()),
    "timed Mutex acquire": mutex(lambda m: m.acquire(True, 3600)),
    "with Mutex": mutex(with_it),
    "with Cond": mutex(lambda m: with_it(Cond(m))),
}


def writing(how, held):
    def make():
        rw = RWMutex()
        getattr(rw, held)()

        def clean():
            if held == "rlock":
                assert rw.try_rlock()  # no writer waits any more
                rw.runlock()
                rw.runlock()
            else:
                rw.unlock()
            assert rw.try_lock()
            rw.unlock()

        return (lambda: how(rw)), clean

    return make


WAITS |= {
    "RWMutex lock beside a reader": writing(lambda rw: rw.lock(), "rlock"),
    "RWMutex lock beside a writer": writing(lambda rw: rw.lock(), "lock"),
    "timed RWMutex lock": writing(lambda rw: rw.lock(3600), "rlock"),
    "with RWMutex": writing(with_it, "lock"),
    "RWMutex rlock": writing(lambda rw: rw.rlock(), "lock"),
    "timed RWMutex rlock": writing(lambda rw: rw.rlock(3600), "lock"),
    "with RWMutex read": writing(lambda rw: with_it(rw.read()), "lock"),
}


@wait
def wait_group_wait():
    wg = WaitGroup()
    wg.add(1)

    def clean():
        wg.done()
        wg.wait(0)

    return wg.wait, clean


@wait
def event_wait():
    event = Event()
    return event.wait, event.set


def cond(how):
    def make():
        c = Cond()

        def wait():
            with c:
                try:
                    how(c)
                finally:
                    assert c.lock.locked()

        def clean():
            assert not c.lock.locked()
            assert len(c._waiters) == 0

        return wait, clean

    return make


WAITS |= {
    "Cond wait": cond(lambda c: c.wait()),
    "timed Cond wait": cond(lambda c: c.wait(3600)),
    "Cond wait_for": cond(lambda c: c.wait_for(lambda: False)),
    "timed Cond wait_for": cond(lambda c: c.wait_for(lambda: False, 3600)),
}


@wait
def barrier_wait():
    barrier = Barrier(2)

    def clean():
        assert (barrier.n_waiting, barrier.broken) == (0, False)
        g = parked(go(barrier.wait))
        barrier.wait()
        g.join()

    return barrier.wait, clean


def semaphore(how):
    def make():
        s = Semaphore(3)
        s.acquire(2)

        def clean():
            assert s.free == 1
            assert s.try_acquire()  # nobody is before it
            s.release(3)

        return (lambda: how(s)), clean

    return make


WAITS |= {
    "Semaphore acquire": semaphore(lambda s: s.acquire(2)),
    "timed Semaphore acquire": semaphore(lambda s: s.acquire(3, 3600)),
}


@wait
def with_semaphore():
    s = Semaphore(1)
    s.acquire()

    def clean():
        s.release()
        assert s.free == 1

    return (lambda: with_it(s)), clean


def done_by_another(make_do):
    """Waits for work that is under way elsewhere; afterwards the work ends, and its result is found."""

    def make():
        do, gate = make_do(), Chan()
        g = parked(go(do, gate.recv_ok))

        def clean():
            gate.close()
            g.exception()
            do(lambda: None)

        return (lambda: do(lambda: None)), clean

    return make


WAITS |= {
    "Once do": done_by_another(lambda: Once().do),
    "once_value": done_by_another(lambda: once_value(lambda fn: fn())),
    "SingleFlight do": done_by_another(
        lambda: (lambda f: lambda fn: f.do("k", fn))(SingleFlight())
    ),
}


def of_another(how):
    def make():
        ch = Chan()
        g = parked(go(ch.recv))

        def clean():
            ch.send("value")
            assert g.join() == "value"

        return (lambda: how(g)), clean

    return make


WAITS |= {
    "join": of_another(lambda g: g.join()),
    "timed join": of_another(lambda g: g.join(3600)),
    "exception": of_another(lambda g: g.exception()),
}


def group(how):
    def make():
        eg, ch = ErrGroup(limit=1), Chan()
        g = eg.go(ch.recv_ok)
        parked(g)

        def clean():
            assert eg.try_go(int) is None
            ch.close()
            g.exception()
            eventually(lambda: eg.try_go(int))  # its slot is free, and nobody takes it
            eg.wait()

        return (lambda: how(eg)), clean

    return make


WAITS |= {
    "ErrGroup wait": group(lambda eg: eg.wait()),
    "go with a limit": group(lambda eg: eg.go(int)),
}

every_wait = pytest.mark.parametrize("name", sorted(WAITS))


@every_wait
def test_cancel_ends_the_wait(name):
    wait, clean = WAITS[name]()
    g = parked(go(wait))
    assert g.cancel() is True
    with pytest.raises(Cancelled, match=r"^context canceled$"):
        g.join()
    assert g.status() == "dead"
    clean()


@every_wait
def test_a_timeout_ends_the_wait(name, place):
    def check():
        wait, clean = WAITS[name]()
        with pytest.raises(TimeoutError) as raised:
            with timeout(0.003):
                wait()
        assert type(raised.value) is TimeoutError
        assert not golib._golib._is_cancelled()
        clean()

    place(check)


@every_wait
def test_a_done_context_refuses_the_wait_again_and_again(name, place):
    def check():
        wait, clean = WAITS[name]()
        ctx, cancel = with_cancel(background())
        with ctx:
            cancel()
            for _ in range(3):
                with pytest.raises(Cancelled):
                    wait()
        golib.gosched()
        clean()

    place(check)


@every_wait
def test_a_context_cancelled_elsewhere_ends_the_wait_of_a_thread(name):
    wait, clean = WAITS[name]()
    ctx, cancel = with_cancel(background())
    inside = []

    def task():
        with ctx:
            inside.append(1)
            wait()

    t = Thread(task)
    eventually(lambda: inside)
    go(cancel)
    with pytest.raises(Cancelled):
        t.join()
    clean()


@every_wait
def test_a_shield_keeps_the_wait(name):
    wait, clean = WAITS[name]()

    ctx, cancel = with_cancel(background())

    def shielded():
        with ctx, shield():
            inner, cancel_inner = with_cancel(current())
            ends.send(cancel_inner)
            with inner:
                wait()

    ends = Chan(1)
    g = go(shielded)
    cancel_inner = ends.recv()
    parked(g)
    status = g.status()
    g.cancel()
    cancel()
    golib.gosched()
    assert g.status() == status
    cancel_inner()
    assert isinstance(g.exception(), Cancelled)
    clean()


@pytest.mark.parametrize("name", ["gosched", "sleep(0)", "sleep(-1)"])
def test_a_cancelled_goroutine_cannot_even_yield(name, place):
    op = {
        "gosched": golib.gosched,
        "sleep(0)": lambda: golib.sleep(0),
        "sleep(-1)": lambda: golib.sleep(-1),
    }[name]

    def check():
        with timeout(0):
            for _ in range(3):
                if name == "sleep(-1)":
                    op()  # returns at once
                else:
                    with pytest.raises(Cancelled, match=r"^context deadline exceeded$"):
                        op()
        op()

    place(check)

"""Cancellation: Goroutine.cancel, `with ctx:`, timeout and shield, at every blocking operation."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import golib
import pytest
from golib import Cancelled, Chan, SendOnClosed, go, shield, timeout
from golib.context import background, current, with_cancel, with_timeout
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

from support import PLACES, SLACK, Boom, Thread, Tracked, eventually, parked, run_ok, run_script

# -- every operation that waits ----------------------------------------------------------------
#
# A wait is made anew for each test: what waits for ever, and what must hold afterwards, when it has
# left nothing in any queue.

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
def Sender_send():
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
def WaitGroup_wait():
    wg = WaitGroup()
    wg.add(1)

    def clean():
        wg.done()
        wg.wait(0)

    return wg.wait, clean


@wait
def Event_wait():
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
def Barrier_wait():
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
def with_Semaphore():
    s = Semaphore(1)
    s.acquire()

    def clean():
        s.release()
        assert s.free == 1

    return (lambda: with_it(s)), clean


def done_by_another(make_do):
    """The work is under way elsewhere; afterwards it ends, and its result is found."""

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


# -- what does not wait is not refused ---------------------------------------------------------


def full(cap=1):
    ch = Chan(cap)
    for _ in range(cap):
        ch.send("v")
    return ch


def closed():
    ch = Chan()
    ch.close()
    return ch


def locked(m, how="lock"):
    getattr(m, how)()
    return m


def ended(value=1):
    g = go(lambda: value)
    g.join()
    return g


def set_event():
    e = Event()
    e.set()
    return e


def with_receiver():
    ch = Chan()
    return ch, parked(go(ch.recv))


def with_sender():
    ch = Chan()
    return ch, parked(go(ch.send, "v"))


def used(lock):
    with lock:
        return "used"


#: Name -> (setup, operation on what it made, result).
READY: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]] = {
    "send to a buffer": (lambda: Chan(1), lambda ch: ch.send(1), None),
    "recv from a buffer": (full, lambda ch: ch.recv(), "v"),
    "recv_ok of a closed": (closed, lambda ch: ch.recv_ok(), (None, False)),
    "iteration of a closed": (closed, list, []),
    "send to a receiver": (with_receiver, lambda c: c[0].send(1), None),
    "recv from a sender": (with_sender, lambda c: c[0].recv(), "v"),
    "select": (full, lambda ch: golib.select(ch, Chan()), (0, "v", True)),
    "select default": (Chan, lambda ch: golib.select(ch, default=True).index, -1),
    "Select": (full, lambda ch: golib.Select(ch).wait(), (0, "v", True)),
    "select send": (lambda: Chan(1), lambda ch: golib.select(golib.send(ch, 1)).ok, True),
    "try_send": (Chan, lambda ch: ch.try_send(1), False),
    "try_recv": (Chan, lambda ch: ch.try_recv(), None),
    "close": (Chan, lambda ch: ch.close(), None),
    "with chan": (Chan, lambda ch: ch.__exit__(None, None, None), None),
    "channel": (golib.channel, lambda c: c[0].close(), None),
    "Mutex lock": (Mutex, lambda m: m.lock(), None),
    "with Mutex": (Mutex, used, "used"),
    "Mutex try_lock": (lambda: locked(Mutex()), lambda m: m.try_lock(), False),
    "Mutex acquire(False)": (lambda: locked(Mutex()), lambda m: m.acquire(False), False),
    "Mutex acquire(timeout=0)": (lambda: locked(Mutex()), lambda m: m.acquire(timeout=0), False),
    "Mutex unlock": (lambda: locked(Mutex()), lambda m: m.unlock(), None),
    "RWMutex lock": (RWMutex, lambda m: m.lock(), None),
    "RWMutex rlock": (lambda: locked(RWMutex(), "rlock"), lambda m: m.rlock(), None),
    "RWMutex try_lock": (lambda: locked(RWMutex()), lambda m: m.try_lock(), False),
    "RWMutex try_rlock": (lambda: locked(RWMutex()), lambda m: m.try_rlock(), False),
    "RWMutex unlock": (lambda: locked(RWMutex()), lambda m: m.unlock(), None),
    "RWMutex runlock": (lambda: locked(RWMutex(), "rlock"), lambda m: m.runlock(), None),
    "WaitGroup wait": (WaitGroup, lambda wg: wg.wait(), None),
    "WaitGroup add and done": (WaitGroup, lambda wg: (wg.add(1), wg.done())[0], None),
    "WaitGroup go": (WaitGroup, lambda wg: wg.go(int) and None, None),
    "Event wait": (set_event, lambda e: e.wait(), True),
    "Event wait(0)": (Event, lambda e: e.wait(0), False),
    "Event set": (Event, lambda e: e.set(), None),
    "Cond wait(0)": (lambda: locked(Cond(), "acquire"), lambda c: c.wait(0), False),
    "Cond wait_for": (Cond, lambda c: c.wait_for(lambda: "at once"), "at once"),
    "Cond notify": (Cond, lambda c: (c.notify(), c.notify_all())[0], None),
    "Barrier of one": (lambda: Barrier(1), lambda b: b.wait(), 0),
    "Semaphore acquire": (lambda: Semaphore(1), lambda s: s.acquire(), None),
    "Semaphore try_acquire": (lambda: Semaphore(0), lambda s: s.try_acquire(), False),
    "Semaphore release": (lambda: locked(Semaphore(1), "acquire"), lambda s: s.release(), None),
    "with Semaphore": (lambda: Semaphore(1), used, "used"),
    "Once": (Once, lambda o: o.do(int), None),
    "SingleFlight": (SingleFlight, lambda f: f.do("k", lambda: 5), 5),
    "go": (lambda: None, lambda _: go(int) and None, None),
    "join": (ended, lambda g: g.join(), 1),
    "exception": (ended, lambda g: g.exception(), None),
    "cancel of another": (ended, lambda g: g.cancel(), False),
    "ErrGroup go": (lambda: ErrGroup(limit=1), lambda eg: eg.go(int) and None, None),
    "ErrGroup try_go": (ErrGroup, lambda eg: eg.try_go(int) and None, None),
    "ErrGroup wait": (ErrGroup, lambda eg: eg.wait(), None),
    "blocking": (lambda: None, lambda _: golib.blocking(int), 0),
    "run of what does not wait": (lambda: None, lambda _: golib.run(int), 0),
    "dump": (lambda: None, lambda _: type(golib.runtime.stack(all=True)), str),
}


@pytest.mark.parametrize("name", sorted(READY))
def test_what_can_complete_at_once_completes(name, place):
    setup, op, result = READY[name]

    def check():
        if name == "run of what does not wait" and place is PLACES["main"]:
            return None  # it waits for the goroutine
        made = setup()
        ctx, cancel = with_cancel(background())
        with ctx:
            cancel()
            return op(made), result

    got = place(check)
    if got is not None:
        assert got[0] == got[1]


def test_a_send_to_a_closed_channel_is_what_it_always_is():
    with timeout(0):
        with pytest.raises(SendOnClosed):
            closed().send(1)
        with pytest.raises(golib.ChanClosed):
            closed().recv()


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_operation_that_tries_once_times_out_rather(seconds, place):
    def check():
        m = locked(Mutex())
        with timeout(0):
            for op in (
                lambda: Chan().recv(seconds),
                lambda: Chan().send(1, seconds),
                lambda: golib.select(Chan(), timeout=seconds),
                lambda: golib.Select(Chan()).wait(seconds),
                lambda: m.lock(seconds),
            ):
                with pytest.raises(TimeoutError):
                    op()

    place(check)


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


# -- timeout -----------------------------------------------------------------------------------


def test_a_block_that_ends_in_time_raises_nothing(place):
    def check():
        with timeout(100) as ctx:
            golib.sleep(0.001)
            assert current() is ctx
            assert 0 < ctx.deadline() - time.monotonic() <= 100
        assert ctx.is_done
        assert isinstance(ctx.err(), golib.context.Canceled)

    place(check)


def test_a_block_that_never_waited_raises_nothing(place):
    def check():
        with timeout(0.001) as ctx:
            eventually_done = time.monotonic() + 20
            while not ctx.is_done and time.monotonic() < eventually_done:
                pass
            assert ctx.is_done
            Chan(1).send(1)
        golib.gosched()

    place(check)


@pytest.mark.parametrize("seconds", [0, -1, -math.inf, -(10**400)], ids=lambda s: repr(s)[:5])
def test_a_timeout_of_nothing_refuses_waits_only(seconds, place):
    def check():
        with timeout(seconds):
            assert full().recv() == "v"
        with pytest.raises(TimeoutError):
            with timeout(seconds):
                Chan().recv()

    place(check)


@pytest.mark.parametrize("seconds", [None, math.inf, 10**30, 10**400], ids=lambda s: repr(s)[:5])
def test_an_endless_timeout_never_ends(seconds, place):
    def check():
        with timeout(seconds) as ctx:
            assert ctx.deadline() is None
            golib.sleep(0.001)

    place(check)


@pytest.mark.parametrize(
    ("args", "kwargs", "error"),
    [
        ((math.nan,), {}, ValueError),
        (("1",), {}, TypeError),
        ((), {}, TypeError),
        ((1, True), {}, TypeError),
        ((1,), {"bad": 1}, TypeError),
    ],
)
def test_a_wrong_timeout_raises(args, kwargs, error):
    with pytest.raises(error):
        timeout(*args, **kwargs)


def test_raises_false_leaves_the_block_silently(place):
    def check():
        seen = []
        with timeout(seconds=0.001, raises=False) as ctx:
            Chan().recv()
            seen.append("not reached")
        assert seen == []
        assert isinstance(ctx.err(), golib.context.DeadlineExceeded)
        golib.gosched()

    place(check)


def test_raises_false_swallows_nothing_else():
    with pytest.raises(Boom), timeout(0, raises=False):
        raise Boom
    with pytest.raises(TimeoutError), timeout(100, raises=False):
        Chan().recv(0.001)
    with pytest.raises(Cancelled), timeout(100, raises=False):
        raise Cancelled("by hand")


def test_what_the_block_raises_passes_also_after_the_deadline():
    with pytest.raises(Boom), timeout(0):
        raise Boom
    with pytest.raises(Boom), timeout(0):
        try:
            Chan().recv()
        except Cancelled:
            raise Boom from None


def test_the_timeout_error_says_where_it_comes_from():
    with pytest.raises(TimeoutError) as raised, timeout(0):
        Chan().recv()
    assert isinstance(raised.value.__context__, Cancelled)


def test_the_inner_timeout_ends_the_inner_block_only(place):
    def check():
        with timeout(100) as outer:
            with pytest.raises(TimeoutError):
                with timeout(0.001):
                    Chan().recv()
            golib.gosched()
            assert not outer.is_done

    place(check)


def test_the_outer_timeout_ends_both_blocks(place):
    def check():
        seen = []
        with pytest.raises(TimeoutError):
            with timeout(0.001):
                try:
                    with timeout(100):
                        Chan().recv()
                except BaseException as error:
                    seen.append(type(error))
                    raise
        assert seen == [Cancelled]

    place(check)


def test_both_passed_the_outer_goes_on_after_the_inner():
    with pytest.raises(TimeoutError):
        with timeout(0.002) as outer:
            with pytest.raises(TimeoutError):
                with timeout(0.001) as inner:
                    while not (outer.is_done and inner.is_done):
                        pass
                    Chan().recv()
            golib.gosched()


def test_hundreds_of_timeouts_nest(rng):
    depth, at = 300, rng.randrange(300)
    seen = []

    def down(i):
        if i == depth:
            Chan().recv()
        try:
            with timeout(0.002 if i == at else 3600):
                down(i + 1)
        except TimeoutError:
            seen.append(i)

    go(down, 0).join()
    assert seen == [at]
    with timeout(0.05):
        golib.gosched()


def test_a_timeout_object_can_be_used_again_but_not_inside_itself():
    block = timeout(0.001)
    for _ in range(3):
        with pytest.raises(TimeoutError), block:
            Chan().recv()
    endless = timeout(None)
    with endless:
        with pytest.raises(RuntimeError):
            endless.__enter__()
        golib.gosched()
    with endless:
        pass


def test_leaving_a_block_that_was_not_entered_does_nothing():
    for block in (timeout(0), shield()):
        assert block.__exit__(None, None, None) is False
        assert block.__exit__(Cancelled, Cancelled(), None) is False


def test_cancel_passes_through_a_timeout():
    def task():
        with timeout(3600):
            Chan().recv()

    g = parked(go(task))
    g.cancel()
    assert isinstance(g.exception(), Cancelled)


def test_a_cancelled_one_that_was_joined_is_no_timeout():
    g = parked(go(Chan().recv))
    g.cancel()
    with pytest.raises(Cancelled), timeout(100):
        g.join()


def test_timeouts_end_at_their_time():
    for seconds in (0.01, 0.03):
        begin = time.monotonic()
        with timeout(seconds, raises=False):
            golib.sleep(3600)
        assert seconds * 0.99 <= time.monotonic() - begin < seconds + 2 * SLACK


def test_ten_thousand_timeouts_run_out_at_once():
    def task(i):
        with timeout(0.02 + i % 7 * 0.001, raises=False):
            Chan().recv()
            return "no"
        return "out"

    gs = [go(task, i) for i in range(10_000)]
    assert {g.join() for g in gs} == {"out"}


def test_a_timeout_that_did_not_run_out_leaves_no_timer():
    run_ok(
        """
        import golib
        with golib.timeout(3600):
            golib.gosched()
        try:
            golib.run(golib.Chan().recv)
        except golib.Deadlock:
            print("deadlock")
        """
    )


def test_a_deadlock_is_seen_under_an_endless_timeout_and_a_shield():
    with pytest.raises(golib.Deadlock), timeout(None), shield():
        Chan().recv()


# -- shield ------------------------------------------------------------------------------------


def test_clean_up_in_a_shield_may_wait(place):
    def check():
        done = []
        with timeout(0, raises=False):
            try:
                Chan().recv()
            finally:
                with shield() as ctx:
                    golib.sleep(0.001)
                    assert not ctx.is_done
                    done.append(1)
                with pytest.raises(Cancelled):
                    golib.gosched()
        assert done == [1]

    place(check)


def test_a_cancel_in_a_shield_comes_after_it():
    entered, go_on = Chan(), Chan()
    done = []

    def task():
        with shield():
            entered.send(1)
            go_on.recv()
            done.append("shielded")
        done.append("after")
        golib.sleep(3600)

    g = go(task)
    entered.recv()
    g.cancel()
    parked(g, "chan receive")
    go_on.send(1)
    assert isinstance(g.exception(), Cancelled)
    assert done == ["shielded", "after"]


def test_nested_shields_are_left_one_by_one(place):
    def check():
        ctx, cancel = with_cancel(background())
        with ctx:
            with shield():
                with shield():
                    cancel()
                    golib.gosched()
                golib.gosched()
            with pytest.raises(Cancelled):
                golib.gosched()
            with shield():
                golib.gosched()

    place(check)


@pytest.mark.parametrize("seed", range(20))
def test_blocks_nest_in_any_order(seed, rng, place):
    """What is cancelled shows exactly where no shield lies between."""

    def down(depth, visible):
        def look():
            assert golib._golib._is_cancelled() is visible
            if visible:
                with pytest.raises(Cancelled):
                    golib.gosched()
            else:
                golib.gosched()

        look()
        if depth == 0:
            return
        for _ in range(2):
            kind = rng.randrange(7)
            if kind == 0:
                with shield():
                    down(depth - 1, False)
            elif kind == 1:
                with timeout(3600):
                    down(depth - 1, visible)
            elif kind == 2:
                with timeout(0):
                    down(depth - 1, True)
            elif kind == 3:
                ctx, cancel = with_cancel(background())
                with ctx:
                    down(depth - 1, visible)
                    cancel()
                    down(depth - 1, True)
            elif kind == 4:
                ctx, cancel = with_cancel(current())
                cancel()
                with ctx, ctx:
                    down(depth - 1, True)
            elif kind == 5:
                with golib.context.without_cancel(current()):
                    down(depth - 1, visible)
            else:
                ctx, cancel = with_cancel(background())
                with ctx, shield():
                    cancel()
                    down(depth - 1, False)
            look()

    place(down, 4, False)


def test_a_shield_under_no_block_changes_nothing(place):
    def check():
        with shield() as ctx:
            golib.gosched()
            assert ctx.err() is None

    place(check)


# -- blocks that others leave ------------------------------------------------------------------


@pytest.mark.parametrize("block", ["timeout", "shield", "cancelled", "past"])
@pytest.mark.parametrize("ends", [False, True])
def test_a_generators_block_left_elsewhere_leaves_nothing(block, ends):
    def make():
        if block == "timeout":
            return timeout(3600)
        if block == "past":
            return timeout(0)
        if block == "shield":
            return shield()
        ctx, cancel = with_cancel(background())
        cancel()
        return ctx

    def generator():
        with make():
            yield 1

    def task():
        gen = generator()
        next(gen)
        gens.send(gen)
        if ends:
            return None
        with shield():
            gate.recv()
        golib.gosched()
        return Chan(1).send(1)

    for leave in (go, Thread):
        for enter in (go, Thread):
            gens, gate = Chan(1), Chan()
            entered = enter(task)
            gen = gens.recv()
            if ends:
                entered.join()
            else:
                if enter is go:
                    parked(entered, "chan receive")
            leave(gen.close).join()
            if not ends:
                gate.send(1)
                entered.join()


def test_a_closed_generators_block_does_not_touch_a_wait_of_its_former_owner():
    def generator():
        with timeout(0.05):
            yield 1

    def task():
        gen = generator()
        next(gen)
        gens.send(gen)
        return ch.recv()

    gens, ch = Chan(1), Chan()
    g = go(task)
    gen = gens.recv()
    parked(g, "chan receive")
    gen.close()
    assert golib.run(lambda: (golib.sleep(0.08), ch.send("alive"), g.join())[2]) == "alive"


def test_the_collector_closes_a_generator_in_a_block():
    def generator(box):
        with timeout(3600), shield(), with_timeout(background(), 3600)[0]:
            yield box

    def task():
        box = [Tracked()]
        gen = generator(box)
        next(gen)
        box.append(gen)

    for run in PLACES.values():
        run(task)
        gc.collect()
        assert Tracked.alive == 0


def test_ten_thousand_suspended_generators_are_left_in_any_order(rng):
    def generator(i):
        with timeout(3600) if i % 3 else shield():
            yield i

    gens = [generator(i) for i in range(10_000)]
    for gen in gens:
        next(gen)
    rng.shuffle(gens)
    for gen in gens:
        gen.close()
    assert current() is background()
    golib.gosched()


def test_a_block_dropped_without_leaving_it_ends():
    for make in (lambda: timeout(0), shield):
        block = make()
        block.__enter__()
        del block
    golib.gosched()
    assert current() is background()


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


# -- run ---------------------------------------------------------------------------------------


def test_run_under_a_timeout_cancels_its_main_goroutine(place):
    trace = []

    def main():
        try:
            Chan().recv()
        finally:
            with shield():
                golib.sleep(0.002)
                trace.append("cleaned up")

    def check():
        trace.clear()
        with pytest.raises(TimeoutError):
            with timeout(0.003):
                golib.run(main)
        assert trace == ["cleaned up"]

    place(check)


def test_a_main_goroutine_that_ends_well_after_the_timeout_gives_its_value():
    def main():
        with shield():
            golib.sleep(0.02)
        return "value"

    with timeout(0.001):
        assert golib.run(main) == "value"


def test_run_under_a_done_context_starts_and_cancels():
    ctx, cancel = with_cancel(background())
    cancel()
    with ctx, pytest.raises(Cancelled):
        golib.run(Chan().recv)
    assert golib.run(lambda: 1) == 1


def test_what_main_raises_after_its_cancellation_is_what_run_raises():
    def main():
        try:
            Chan().recv()
        except Cancelled:
            raise Boom from None

    with pytest.raises(Boom), timeout(0.002):
        golib.run(main)


def test_mains_own_cancellation_leaves_run_as_the_same_object():
    raised = []

    def main():
        golib._golib._current().cancel()
        try:
            Chan().recv()
        except Cancelled as error:
            raised.append(error)
            raise

    with pytest.raises(Cancelled) as info:
        golib.run(main)
    assert info.value is raised[0]


def test_a_main_goroutine_that_cancels_its_caller_and_returns_gives_its_value():
    def main(cancel):
        cancel()
        return "value"

    for _ in range(50):
        ctx, cancel = with_cancel(background())
        with ctx:
            assert golib.run(main, cancel) == "value"


def test_run_and_the_timeout_around_it_race_to_one_outcome(rng):
    for _ in range(200):
        seconds = rng.random() * 0.001

        def main():
            golib.sleep(seconds)
            return "value"

        try:
            with timeout(0.0005):
                assert golib.run(main) == "value"
        except TimeoutError:
            pass
        golib.gosched()


# -- the process -------------------------------------------------------------------------------


def test_ctrl_c_in_a_timeout_is_raised_once_and_the_block_goes_on():
    out = run_ok(
        """
        import golib, os, signal
        def main():
            with golib.timeout(3600, raises=False) as ctx:
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    golib.sleep(5)
                    print("not interrupted")
                except KeyboardInterrupt:
                    pass
                golib.gosched()
        main()
        golib.run(main)
        """
    )
    assert out == ""


def test_a_child_leaves_the_blocks_that_it_was_forked_in():
    for run in ("main()", "golib.run(main)", "golib.go(main).join()"):
        out = run_ok(
            f"""
            import golib, os
            from golib.context import *
            def main():
                ctx, cancel = with_timeout(background(), 3600)
                with golib.timeout(3600), ctx, golib.shield(), golib.timeout(3600) as inner:
                    others = [golib.go(lambda: golib.Chan().recv(3600)) for _ in range(5)]
                    golib.sleep(0.01)
                    pid = os.fork()
                    golib.sleep(0.001)
                    if pid == 0:
                        cancel()
                        with golib.timeout(0.005, raises=False):
                            golib.Chan().recv()
                            print("not reached", flush=True)
                if pid == 0:
                    golib.gosched()
                    with golib.timeout(0.005, raises=False):
                        golib.Chan().recv()
                    print("child", flush=True)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
                print("parent", flush=True)
            {run}
            """
        )
        assert out == "child\nparent\n"


@pytest.mark.parametrize("run", ["main()", "golib.run(main)", "golib.go(main).join()"])
def test_a_timeout_runs_out_in_the_forked_child_too(run):
    out = run_ok(
        f"""
        import golib, os
        def main():
            pid = None
            try:
                with golib.timeout(0.3):
                    golib.gosched()
                    pid = os.fork()
                    golib.sleep(30)
            except TimeoutError:
                os.write(1, b"child " if pid == 0 else b"parent ")
            if pid == 0:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        {run}
        """
    )
    assert sorted(out.split()) == ["child", "parent"]


def test_an_exception_that_a_cancelled_goroutine_raises_is_reported():
    result = run_script(
        """
        import golib
        def task():
            try:
                golib.Chan().recv()
            finally:
                1 / 0
        g = golib.go(task)
        golib.gosched()
        g.cancel()
        del g
        while golib.num_goroutine():
            golib.sleep(0.001)
        golib.sleep(0.05)
        """
    )
    assert result.rc == 0
    assert "ZeroDivisionError" in result.err


def test_the_interpreter_ends_while_everything_is_being_cancelled():
    for _ in range(3):
        run_ok(
            """
            import golib, threading
            ch = golib.Chan()
            def task(i):
                while True:
                    with golib.timeout(0.0001 * (i % 5), raises=False):
                        ch.recv()
            def thread():
                while True:
                    with golib.timeout(0.0003, raises=False):
                        ch.recv()
            gs = [golib.go(task, i) for i in range(50)]
            threading.Thread(target=thread, daemon=True).start()
            golib.sleep(0.02)
            for g in gs[::2]:
                g.cancel()
            """
        )


def test_the_first_timeout_keeps_nothing_of_the_contextvars_around_it():
    run_ok(
        """
        import contextvars, gc, weakref
        import golib

        class Big:
            pass

        var = contextvars.ContextVar("var")

        def first():
            big = Big()
            var.set(big)
            with golib.timeout(5):
                pass
            return weakref.ref(big)

        ref = contextvars.copy_context().run(first)
        gc.collect()
        assert ref() is None
        """
    )

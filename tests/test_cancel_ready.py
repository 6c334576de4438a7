"""Cancellation refuses no operation that can complete at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import golib
import pytest
from golib import Chan, SendOnClosed, go, timeout
from golib.context import background, with_cancel
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
)

from support import PLACES, parked


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

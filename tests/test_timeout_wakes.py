"""Who acts when the time of a `timeout` block has come: the goroutine in it if it waits, a servant of golib's if not."""

from __future__ import annotations

import pytest
from golib import Cancelled, Chan, go, gosched, runtime, select, shield, sleep, timeout
from golib.sync import Event, Mutex, Semaphore, WaitGroup

from support import in_goroutine, parked


def taken(lock):
    lock.acquire()
    return lock


def waiting_group() -> WaitGroup:
    group = WaitGroup()
    group.add(1)
    return group


#: Each waits for what never comes; it may use a goroutine that waits, too.
WAITS = {
    "recv": lambda _: Chan().recv(),
    "recv with a longer timeout": lambda _: Chan().recv(timeout=3600),
    "send": lambda _: Chan().send(1),
    "iteration": lambda _: next(iter(Chan())),
    "select": lambda _: select(Chan(), Chan()),
    "sleep": lambda _: sleep(3600),
    "join": lambda other: other.join(),
    "Mutex": lambda _: taken(Mutex()).acquire(),
    "Semaphore": lambda _: taken(Semaphore(1)).acquire(),
    "Event": lambda _: Event().wait(),
    "WaitGroup": lambda _: waiting_group().wait(),
}


ROUNDS = 20


def parks() -> int:
    """How often a goroutine of Python's has been left so far."""
    stats = runtime.stats()
    return sum(stats[f"parks_{how}"] for how in ("movable", "movable_after_walk", "pinned"))


@pytest.mark.parametrize("name", WAITS)
def test_an_expiry_runs_nobody_but_the_goroutine_that_waits(name):
    def check():
        other = go(Chan().recv)
        parked(other)
        before = parks()
        for _ in range(ROUNDS):
            with pytest.raises(TimeoutError):
                with timeout(0.001):
                    WAITS[name](other)
        # A servant would have been left as often as the goroutine.
        assert parks() - before < ROUNDS * 3 // 2
        other.cancel()
        assert isinstance(other.exception(), Cancelled)

    in_goroutine(check)


def test_a_goroutine_that_waits_in_a_shield_acts_for_those_in_the_block():
    def check():
        told = Chan()

        def works(ctx):
            with ctx:
                try:
                    Chan().recv()
                finally:
                    with shield():
                        told.send("cancelled")

        with pytest.raises(TimeoutError):
            with timeout(0.005) as ctx:
                g = go(works, ctx)
                with shield():
                    assert told.recv() == "cancelled"
                Chan().recv()
        assert isinstance(g.exception(), Cancelled)

    in_goroutine(check)


def test_the_servant_acts_while_the_goroutine_runs():
    def check():
        with timeout(0.005) as ctx:
            g = go(with_context, ctx)
            parked(g)
            with shield():
                while not ctx.is_done:
                    gosched()
        assert isinstance(g.exception(), Cancelled)

    def with_context(ctx):
        with ctx:
            Chan().recv()

    in_goroutine(check)


def test_the_inner_of_two_blocks_that_end_at_once_is_left_first():
    def check():
        with pytest.raises(TimeoutError):
            with timeout(0.004):
                with pytest.raises(TimeoutError):
                    with timeout(0.004):
                        Chan().recv()
                Chan().recv()

    in_goroutine(check)


def test_blocks_of_many_goroutines_and_timers_all_end():
    def check():
        ticks = Chan(200)

        def waits(i):
            with timeout(0.001 * (i % 7), raises=False):
                Chan().recv()
            ticks.send(i)

        goroutines = [go(waits, i) for i in range(200)]
        for _ in range(200):
            ticks.recv()
        for g in goroutines:
            g.join()

    in_goroutine(check)

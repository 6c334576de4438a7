"""Who acts when a block's time has come: the goroutine in it if it waits, a servant of golib's if not."""

from __future__ import annotations

import pytest
from golib import (
    Cancelled,
    Chan,
    context,
    go,
    gosched,
    runtime,
    scope,
    select,
    shield,
    sleep,
    timeout,
)
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


def in_timeout(wait):
    with pytest.raises(TimeoutError):
        with timeout(0.001):
            wait()


def in_context(wait):
    with pytest.raises(Cancelled):
        with context.with_timeout(context.background(), 0.001)[0]:
            wait()


def in_value(wait):
    """The deadline is of a context above."""
    above, _ = context.with_timeout(context.background(), 0.001)
    with pytest.raises(Cancelled):
        with context.with_value(above, "key", "value"):
            wait()


def in_nested(wait):
    """The outer block ends later; its deadline is not the one that comes."""
    outer, _ = context.with_timeout(context.background(), 3600)
    with pytest.raises(Cancelled):
        with outer, context.with_timeout(outer, 0.001)[0]:
            wait()


def in_entered_twice(wait):
    ctx, _ = context.with_timeout(context.background(), 0.001)
    with pytest.raises(Cancelled):
        with ctx:
            with ctx:
                pass
            wait()


def in_scope(wait):
    ctx, _ = context.with_timeout(context.background(), 0.001)
    with pytest.raises(Cancelled):
        with ctx, scope():
            wait()


BLOCKS = {
    made.__name__: made for made in (in_context, in_value, in_nested, in_entered_twice, in_scope)
}


def check_that_nobody_else_runs(block, name):
    def check():
        other = go(Chan().recv)
        parked(other)
        before = parks()
        for _ in range(ROUNDS):
            block(lambda: WAITS[name](other))
        # A servant would have been left as often as the goroutine.
        assert parks() - before < ROUNDS * 3 // 2
        other.cancel()
        assert isinstance(other.exception(), Cancelled)

    in_goroutine(check)


@pytest.mark.parametrize("name", WAITS)
def test_an_expiry_runs_nobody_but_the_goroutine_that_waits(name):
    check_that_nobody_else_runs(in_timeout, name)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", ["recv", "select", "sleep", "join"])
def test_so_does_the_deadline_of_a_context_in_whose_block_it_waits(block, name):
    check_that_nobody_else_runs(BLOCKS[block], name)


def test_the_deadline_concerns_another_goroutine_in_a_block_when_the_first_has_left_it():
    def first(ctx, entered, leave):
        with ctx:
            entered.send(None)
            leave.recv()

    def check():
        before = parks()
        for _ in range(ROUNDS):
            ctx, _ = context.with_timeout(context.background(), 0.01)
            entered, leave = Chan(1), Chan(1)
            g = go(first, ctx, entered, leave)
            entered.recv()
            with pytest.raises(Cancelled):
                with ctx:
                    leave.send(None)
                    g.join()
                    Chan().recv()
        # In each round `first` waits once, and this one three times. A servant would be a fifth.
        assert parks() - before < ROUNDS * 9 // 2

    in_goroutine(check)


def test_a_deadline_is_acted_on_whose_goroutine_has_left_the_block():
    def check():
        told = Chan(1)
        ctx, _ = context.with_timeout(context.background(), 0.005)
        context.after_func(ctx, told.send, "passed")
        with ctx:
            pass
        assert told.recv() == "passed"

    in_goroutine(check)


def test_all_goroutines_in_blocks_of_one_context_leave_when_its_time_has_come():
    def check():
        ctx, _ = context.with_timeout(context.background(), 0.005)

        def waits():
            with ctx:
                Chan().recv()

        goroutines = [go(waits) for _ in range(20)]
        assert all(isinstance(g.exception(), Cancelled) for g in goroutines)

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

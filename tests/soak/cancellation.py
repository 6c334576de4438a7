"""Scenarios: blocks that cancel, and their ends, under parks."""

from __future__ import annotations

import contextlib
from typing import Any

import golib
from golib import Cancelled, Chan, go
from golib.context import after_func, background, current, with_cancel, with_timeout
from storm import scenario


@scenario()
def timeouts_inside_generators(park, i, rng):
    def numbers():
        with golib.timeout(3600) as ctx:
            for k in range(4):
                park()
                assert current() is ctx
                yield k

    gen = numbers()
    for k in range(rng.randint(1, 4)):
        assert next(gen) == k
        park()
    gen.close()
    for _ in numbers():
        park()
    assert not golib._golib._is_cancelled()


@scenario()
def generators_in_blocks_left_by_others(park, i, rng):
    ctx, cancel = with_cancel(background())

    def block() -> Any:
        return (golib.timeout(3600), golib.shield(), ctx, golib.timeout(0))[rng.randrange(4)]

    def generator():
        with block(), golib.shield():
            park()
            yield i

    gen = generator()
    assert next(gen) == i
    if rng.random() < 0.5:
        cancel()
    go(gen.close).join()
    park()
    cancel()


@scenario()
def scopes_under_sorted_keys(park, i, rng):
    def key(n):
        with golib.scope() as s:
            gs = [s.go(lambda k=k: (golib.gosched(), k)[1]) for k in range(2)]
            park()
        assert [g.join() for g in gs] == [0, 1]
        return -n

    numbers = [rng.randrange(100) for _ in range(4)]
    assert sorted(numbers, key=key) == sorted(numbers, reverse=True)


@scenario()
def cancellations_at_every_depth(park, i, rng):
    class Manager:
        # In a shield: a rendezvous cancelled halfway would leave the answering side waiting.
        def __enter__(self):
            with golib.shield():
                park()

        def __exit__(self, *exc):
            with golib.shield():
                park()

    def down(n):
        with Manager():
            if n:
                down(n - 1)
            else:
                Chan().recv()

    try:
        with golib.timeout(rng.random() * 0.002):
            down(rng.randint(0, 5))
    except TimeoutError:
        park()
    else:
        raise AssertionError("not timed out")
    park()


@scenario()
def cancelled_goroutines_clean_up(park, i, rng):
    trace = []

    def task():
        with contextlib.ExitStack() as stack:
            for k in range(3):
                stack.callback(trace.append, k)
                stack.enter_context(golib.timeout(3600))
            try:
                while True:
                    golib.sleep(0.0005)
            finally:
                with golib.shield():
                    golib.sleep(0.0001)
                trace.append("out")

    g = go(task)
    park()
    g.cancel()
    error = g.exception()
    assert isinstance(error, Cancelled)
    # If it was cancelled before its first step, it has done none of them.
    assert trace in ([], ["out", 2, 1, 0])


@scenario()
def contexts_end_while_their_tree_changes(park, i, rng):
    ch = Chan(1)
    top, cancel = with_timeout(background(), 0.0005)
    low, _ = with_cancel(top)
    stop = after_func(low, ch.send, i)
    park()
    low.done().recv_ok()
    with low, contextlib.suppress(Cancelled):
        golib.gosched()
        raise AssertionError("not cancelled")
    assert stop() is False
    assert ch.recv() == i
    cancel()
    park()

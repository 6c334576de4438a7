"""golib.context.after_func: which functions are called, when, and which stop() prevents."""

from __future__ import annotations

import gc

import golib
from golib import Chan, go
from golib.context import (
    after_func,
    background,
    current,
    with_cancel,
    with_timeout,
    with_value,
)

from support import Thread, Tracked, eventually


def test_a_registered_function_is_called_once_in_a_goroutine_of_its_own():
    ctx, cancel = with_cancel(background())
    seen = Chan(10)
    stop = after_func(ctx, lambda *a: seen.send((a, golib.num_goroutine())), 1, "x")
    assert seen.try_recv() is None
    cancel()
    assert seen.recv()[0] == (1, "x")
    cancel()
    assert stop() is False
    assert stop() is False
    assert seen.try_recv() is None


def test_of_a_done_context_it_is_called_at_once():
    ctx, cancel = with_cancel(background())
    cancel()
    ch = Chan(1)
    stop = after_func(ctx, ch.send, 1)
    assert ch.recv() == 1
    assert stop() is False


def test_stop_keeps_it_from_being_called_and_lets_it_go():
    ctx, cancel = with_cancel(background())
    seen = []
    stop = after_func(ctx, lambda value: seen.append(value), Tracked())
    assert Tracked.alive == 1
    assert stop() is True
    assert Tracked.alive == 0
    assert stop() is False
    cancel()
    golib.gosched()
    assert seen == []


def test_stop_of_a_context_that_is_never_done_is_true_once():
    stop = after_func(background(), print, Tracked())
    assert (stop(), stop()) == (True, False)
    assert Tracked.alive == 0


def test_a_registered_function_is_called_though_all_handles_were_dropped():
    ch = Chan(1)

    def register():
        ctx, _ = with_timeout(background(), 0.01)
        after_func(with_value(with_cancel(with_value(ctx, 1, 2))[0], 3, 4), ch.send, "called")

    register()
    gc.collect()
    assert ch.recv(20) == "called"


def test_a_registered_function_that_can_never_be_called_is_collected():
    def register():
        ctx, _ = with_cancel(background())
        after_func(with_value(ctx, 1, 2), print, Tracked())

    register()
    gc.collect()
    assert Tracked.alive == 0


def test_every_registered_function_is_called():
    ctx, cancel = with_cancel(background())
    low, _ = with_cancel(with_value(ctx, 1, 2))
    seen = []
    for i in range(50):
        after_func((ctx, low)[i % 2], seen.append, i)
    cancel()
    eventually(lambda: len(seen) == 50)
    assert sorted(seen) == list(range(50))


def test_a_function_may_cancel_and_register_again():
    ctx, cancel = with_cancel(background())
    other, cancel_other = with_cancel(background())
    ch = Chan(3)

    def again():
        cancel()
        cancel_other()
        after_func(ctx, ch.send, "third")
        ch.send("first")

    after_func(other, ch.send, "second")
    after_func(ctx, again)
    cancel()
    assert sorted(ch.recv() for _ in range(3)) == ["first", "second", "third"]


def test_what_a_registered_function_raises_is_reported(panics):
    ctx, cancel = with_cancel(background())
    after_func(ctx, lambda: 1 / 0)
    cancel()
    eventually(lambda: panics)
    assert isinstance(panics[0][1], ZeroDivisionError)


def test_a_registered_function_runs_with_the_contextvars_of_who_registered_it():
    import contextvars

    var = contextvars.ContextVar("var", default="none")
    ctx, cancel = with_cancel(background())
    ch = Chan(1)
    var.set("mine")
    after_func(ctx, lambda: ch.send(var.get()))
    var.set("later")
    go(cancel).join()
    assert ch.recv() == "mine"


def test_a_registered_function_does_not_run_under_the_context():
    ctx, cancel = with_cancel(background())
    ch = Chan()
    after_func(ctx, lambda: ch.send(current().is_done))
    with ctx:
        cancel()
    assert ch.recv() is False


def test_stop_and_cancel_race_to_one_outcome(rng):
    for _ in range(300):
        ctx, cancel = with_cancel(background())
        ch = Chan(1)
        stop = after_func(ctx, ch.send, 1)
        first, second = rng.sample([cancel, stop], 2)
        a, b = (rng.choice([go, Thread])(f) for f in (first, second))
        stopped = {id(first): a.join(), id(second): b.join()}[id(stop)]
        assert stopped in (True, False)
        if stopped:
            assert ch.try_recv() is None
        else:
            assert ch.recv(20) == 1


def test_stop_and_deadline_race_to_one_outcome():
    for i in range(200):
        ctx, _ = with_timeout(background(), 1e-5 * (i % 20))
        ch = Chan(1)
        stop = after_func(ctx, ch.send, 1)
        golib.sleep(1e-5 * (i % 10))
        if stop():
            assert ch.try_recv() is None
        else:
            assert ch.recv(20) == 1

"""`with ctx:` and golib.context.current()."""

from __future__ import annotations

import golib
import pytest
from golib import Chan, go
from golib.context import (
    background,
    current,
    with_cancel,
    with_value,
    without_cancel,
)

from support import Thread, parked


def test_current_is_the_innermost_block(place):
    def check():
        outside = current()
        ctx = with_value(outside, "k", 1)
        with ctx as entered:
            assert entered is ctx is current()
            with golib.timeout(100) as inner:
                assert current() is inner
                assert current().value("k") == 1
                with golib.shield() as shielded:
                    assert current() is shielded
                    assert (current().value("k"), current().deadline()) == (1, None)
                assert current() is inner
            assert current() is ctx
        assert current() is outside

    place(check)


def test_on_a_bare_thread_it_is_the_background():
    assert current() is background()
    assert Thread(current).join() is background()


def test_in_a_goroutine_it_is_its_own_and_cancelled_with_it():
    ch = Chan()

    def task():
        ch.send(current())
        ch.recv()

    g = go(task)
    ctx = ch.recv()
    assert not ctx.is_done
    g.cancel()
    assert isinstance(g.exception(), golib.Cancelled)
    assert ctx.is_done


def test_a_context_may_be_entered_often_and_by_many():
    ctx, cancel = with_cancel(background())

    def task(wait):
        with ctx, ctx, with_value(ctx, 1, 2), ctx:
            wait()

    gs = [parked(go(task, Chan().recv)) for _ in range(10)]
    with ctx, ctx:
        task(golib.gosched)
        cancel()
        with pytest.raises(golib.Cancelled, match=r"^context canceled$"):
            golib.gosched()
    golib.gosched()
    for g in gs:
        assert isinstance(g.exception(), golib.Cancelled)


def test_leaving_what_was_not_entered_is_a_runtime_error():
    ctx, _ = with_cancel(background())
    for c in (ctx, background(), with_value(ctx, 1, 2)):
        with pytest.raises(RuntimeError):
            c.__exit__(None, None, None)
    with golib.timeout(100) as t, golib.shield() as s:
        for c in (t, s):  # theirs are other blocks
            with pytest.raises(RuntimeError):
                c.__exit__(None, None, None)


def kinds_of_contexts():
    return [
        background(),
        with_value(background(), 1, 2),
        without_cancel(background()),
        with_cancel(background())[0],
        with_value(with_cancel(background())[0], 1, 2),
    ]


@pytest.mark.parametrize("kind", range(5))
def test_a_generators_block_may_be_left_by_another_goroutine(kind):
    ctx = kinds_of_contexts()[kind]

    def generator():
        with ctx:
            yield current()

    for enter, leave in [(go, go), (go, Thread), (Thread, go), (Thread, Thread)]:
        gen = generator()
        assert enter(next, gen).join() is ctx
        leave(gen.close).join()
        with pytest.raises(RuntimeError):
            ctx.__exit__(None, None, None)


def test_closing_anothers_generator_leaves_the_closers_blocks_alone():
    def generator():
        with golib.shield():
            yield

    def closer():
        ctx, cancel = with_cancel(background())
        with ctx:
            cancel()
            gen.close()
            with pytest.raises(golib.Cancelled):
                Chan().recv(5)

    for start in (Thread, go):
        gen = generator()
        start(next, gen).join()
        start(closer).join()

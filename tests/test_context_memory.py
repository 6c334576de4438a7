"""Contexts and memory: what they keep alive, and what a finalizer may do with them."""

from __future__ import annotations

import gc
import time
import weakref

import golib
import pytest
from golib import Chan
from golib.context import (
    Canceled,
    after_func,
    background,
    with_cancel,
    with_cancel_cause,
    with_deadline,
    with_timeout,
    with_value,
    without_cancel,
)

from support import SLACK, Boom, Tracked, eventually, growth, run_ok

MANY = 100_000


def test_a_dropped_context_is_gone_at_once_and_leaves_its_parent():
    top, _ = with_cancel(background())
    for make in (
        lambda: with_cancel(top)[0],
        lambda: with_timeout(top, 3600)[0],
        lambda: with_value(top, "k", Tracked()),
        lambda: without_cancel(top),
    ):
        ref = weakref.ref(make())
        assert ref() is None
    assert Tracked.alive == 0


def test_a_child_keeps_its_parent():
    ref = weakref.ref(top := with_value(background(), "k", Tracked()))
    low, _ = with_cancel(top)
    del top
    assert ref() is not None
    assert low.value("k").alive == 1
    del low, _
    assert ref() is None
    assert Tracked.alive == 0


def test_contexts_in_cycles_are_collected():
    def make(ctx, cancel, box):
        box += [ctx, cancel, ctx.done(), Tracked()]

    for kind in range(6):
        box = []
        if kind == 0:
            make(with_value(background(), "k", box), None, box)
        elif kind == 1:
            ctx, cancel = with_cancel_cause(background())
            error = Boom()
            error.box = box
            cancel(error)
            make(ctx, cancel, box)
        elif kind == 2:
            ctx, cancel = with_cancel(with_value(background(), box, 1))
            make(ctx, cancel, box)
        elif kind == 3:
            ctx, cancel = with_cancel(background())
            box.append(after_func(ctx, box.append))
            make(ctx, cancel, box)
        elif kind == 4:
            ctx, cancel = with_cancel(background())
            cancel()
            ctx.err().box = box
            make(ctx, cancel, box)
        else:
            error = Boom()
            error.box = box
            ctx, cancel = with_timeout(background(), 3600, error)
            make(ctx, cancel, box)
        del box
        ctx = cancel = error = None
        gc.collect()
        assert Tracked.alive == 0, kind


def test_the_collector_takes_a_chain_whose_middle_goes_first():
    """A middle node holds the one above; a node below stays in the list of that one until it dies itself."""

    class Maker:  # no object of the collector's: it dies with the middle, and takes the memory just freed
        __slots__ = ()

        def __del__(self):
            parent, cancel = with_cancel(background())
            made.append((parent, cancel, with_cancel(parent)[0]))

    made = []
    for _ in range(200):
        top, _ = with_cancel(background())
        items = []
        mid = with_value(top, Maker(), items)
        low, _ = with_cancel(mid)
        later = [low]
        later.append(later)  # outlives the clearing of `items`, which comes before that of `mid`
        items.append(later)
        del top, mid, low, items, later, _
        gc.collect()
    assert len(made) == 200
    for _, cancel, child in made:
        cancel()
        assert child.is_done


def test_the_collector_takes_a_registered_function_below_a_value():
    for _ in range(200):
        ctx, _ = with_cancel(background())
        after_func(with_value(ctx, 1, 2), print, Tracked())
    del ctx, _
    gc.collect()
    assert Tracked.alive == 0
    made = [with_cancel(background()) for _ in range(300)]
    low = [with_cancel(ctx)[0] for ctx, _ in made]
    for _, cancel in made:
        cancel()
    assert all(c.is_done for c in low)


def test_a_finalizer_of_what_is_dropped_by_a_cancel_may_do_anything():
    class Meddler:
        def __del__(self):
            ended.append(ctx.is_done)
            with_cancel(ctx)
            cancel_other()
            golib.gosched()
            gc.collect()

    ended = []
    ctx, cancel = with_cancel(background())
    _, cancel_other = with_cancel(ctx)
    stops = [after_func(ctx, print, Meddler()) for _ in range(5)]
    for stop in stops:
        stop()
    assert len(ended) == 5
    error = Boom()
    error.meddler = Meddler()
    ctx, cancel = with_timeout(background(), 3600, error)
    del error
    cancel()
    eventually(lambda: len(ended) == 6)
    assert ended[-1] is True


def test_a_finalizer_that_waits_does_not_stop_the_deadlines():
    """A deadline may drop an object whose finalizer waits for another deadline."""

    class Waits:
        def __del__(self):
            with_timeout(background(), 0.001)[0].done().recv_ok(20)
            finalized.append(1)

    finalized, called = [], Chan(1)

    def register():
        error = Boom()
        error.waits = Waits()
        ctx, _ = with_timeout(background(), 0.002)
        low = with_value(ctx, "k", Waits())
        after_func(low, lambda: None)
        after_func(ctx, called.send, 1)

    register()
    assert called.recv(20) == 1
    eventually(lambda: finalized)
    ctx, _ = with_timeout(background(), 0.001)
    assert ctx.done().recv_ok(20) == (None, False)


def test_a_finalizer_may_wait_for_a_deadline_that_has_passed_with_its_own():
    class Waits:
        def __init__(self, done):
            self.done = done

        def __del__(self):
            self.done.recv_ok(20)
            finalized.append(1)

    finalized = []
    for _ in range(20):
        at = time.monotonic() + 0.002
        late, _ = with_deadline(background(), at + 1e-7)

        def register():
            ctx, _ = with_deadline(background(), at)
            after_func(with_value(ctx, "k", Waits(late.done())), int)

        register()
        time.sleep(0.003)  # both ring together
        assert late.done().recv_ok(20) == (None, False)
    eventually(lambda: len(finalized) == 20)


def test_a_hundred_thousand_children_are_cancelled_and_dropped():
    top, cancel = with_cancel(background())
    children = [with_cancel(top)[0] for _ in range(MANY)]
    del children[::2]
    cancel()
    assert all(c.is_done for c in children)
    children.clear()
    begin = time.monotonic()
    for _ in range(MANY):
        with_cancel(top)
    assert time.monotonic() - begin < 5 * SLACK


def test_a_parent_keeps_nothing_of_a_hundred_thousand_dropped_children():
    import sys

    top, _ = with_cancel(background())
    before = sys.getallocatedblocks()
    for _ in range(MANY):
        with_cancel(top)
        with_timeout(top, 3600)
    assert sys.getallocatedblocks() - before < 1000


@pytest.mark.parametrize("order", ["top first", "bottom first", "collector"])
def test_a_chain_of_a_hundred_thousand_is_cancelled_searched_and_dropped(order):
    top, cancel = with_cancel(with_value(background(), "k", Tracked()))
    ctx, links = top, []
    for i in range(MANY):
        ctx = with_value(ctx, i, i) if i % 3 == 0 else with_cancel(ctx)[0]
        links.append(ctx)
    assert ctx.value("k").alive == 1
    assert ctx.value(0) == 0
    assert ctx.value("nothing") is None
    assert not ctx.is_done
    cancel()
    assert ctx.is_done
    assert isinstance(ctx.err(), Canceled)
    if order == "collector":
        box = [ctx]
        box.append(box)
        del box
    if order == "bottom first":
        links.reverse()
    while links:
        links.pop()
    del ctx, top, cancel
    gc.collect()
    assert Tracked.alive == 0


def test_a_chain_of_a_hundred_thousand_with_a_function_at_its_end():
    top, cancel = with_cancel(background())
    ctx, ch = top, Chan(1)
    for _ in range(MANY):
        ctx, _ = with_cancel(ctx)
    after_func(ctx, ch.send, 1)
    del ctx, _
    gc.collect()
    cancel()
    assert ch.recv() == 1


def test_a_chain_with_a_function_at_its_end_is_collected():
    ctx, _ = with_cancel(background())
    for _ in range(MANY):
        ctx, _ = with_cancel(ctx)
    after_func(ctx, print, Tracked())
    del ctx, _
    gc.collect()
    assert Tracked.alive == 0


def test_rounds_of_everything_grow_no_memory():
    def one():
        top, cancel = with_cancel_cause(with_value(background(), "k", 1))
        low, _ = with_timeout(top, 3600, Boom())
        stop = after_func(low, int)
        with low, golib.timeout(100), golib.shield():
            low.done()
        stop()
        with_timeout(low, 0)
        cancel(Boom())
        low.err(), top.err(), low.done()

    assert growth(one, 2000) < 300


def test_the_program_ends_with_contexts_in_every_state():
    for run in ("main()", "golib.run(main)", "golib.go(main).join()"):
        run_ok(
            f"""
            import golib
            from golib.context import *
            kept = []
            def main():
                for seconds in (0, 0.001, 3600):
                    ctx, cancel = with_timeout(background(), seconds)
                    kept.append((ctx, cancel, ctx.done(), after_func(ctx, int)))
                    block = golib.timeout(seconds)
                    kept.append((block, block.__enter__()))
                    golib.go(lambda: [kept.append(current()), golib.Chan().recv()])
                    def generator():
                        with ctx, golib.shield(), golib.timeout(3600):
                            yield
                    kept.append(generator())
                    next(kept[-1])
                with golib.shield():
                    golib.sleep(0.01)
            {run}
            """,
            env={"PYTHONDEVMODE": "1"},
        )

"""golib.context: the tree, causes, the channel, deadlines, values."""

from __future__ import annotations

import gc
import math
import time

import golib
import pytest
from golib import Chan, go
from golib.context import (
    Canceled,
    Context,
    DeadlineExceeded,
    after_func,
    background,
    cause,
    todo,
    with_cancel,
    with_cancel_cause,
    with_deadline,
    with_timeout,
    with_value,
    without_cancel,
)

from support import Boom, Thread, Tracked, eventually, parked, run_ok

# -- the roots ---------------------------------------------------------------------------------


@pytest.mark.parametrize("root", [background, todo])
def test_a_root_is_never_done_and_holds_nothing(root, place):
    ctx = place(root)
    assert ctx is root()
    assert (ctx.err(), ctx.deadline(), ctx.value("k"), ctx.is_done) == (None, None, None, False)
    assert cause(ctx) is None
    assert ctx.done().try_recv() is None


def test_the_roots_are_two():
    assert background() is not todo()


def test_a_context_is_made_by_functions_only():
    with pytest.raises(TypeError):
        Context()
    with pytest.raises(TypeError):
        type("Mine", (Context,), {})


# -- cancelling --------------------------------------------------------------------------------


def test_cancel_makes_it_done_and_may_be_called_again(place):
    def check():
        ctx, cancel = with_cancel(background())
        assert (ctx.err(), ctx.is_done) == (None, False)
        assert cancel() is None
        first = ctx.err()
        assert isinstance(first, Canceled)
        assert str(first) == "context canceled"
        assert ctx.is_done
        cancel()
        assert ctx.err() is first
        assert cause(ctx) is first

    place(check)


def test_cancellation_flows_to_those_below_and_to_nobody_else():
    top, _ = with_cancel(background())
    mid, cancel = with_cancel(with_value(top, "k", 1))
    low, _ = with_timeout(with_value(mid, "k", 2), 3600)
    lowest = with_value(low, "k", 3)
    beside, _ = with_cancel(top)
    cancel()
    assert [c.is_done for c in (top, mid, low, lowest, beside)] == [False, True, True, True, False]
    assert isinstance(low.err(), Canceled)


def test_a_child_of_a_done_context_is_done_at_once():
    ctx, cancel = with_cancel_cause(background())
    error = Boom()
    cancel(error)
    for child in (
        with_cancel(ctx)[0],
        with_timeout(ctx, 3600)[0],
        with_value(ctx, 1, 2),
        with_cancel(with_value(ctx, 1, 2))[0],
    ):
        assert child.is_done
        assert isinstance(child.err(), Canceled)
        assert cause(child) is error


def test_a_child_cancelled_first_keeps_its_own_cause():
    top, cancel_top = with_cancel_cause(background())
    low, cancel_low = with_cancel_cause(top)
    mine, theirs = Boom("mine"), Boom("theirs")
    cancel_low(mine)
    cancel_top(theirs)
    assert (cause(low), cause(top)) == (mine, theirs)


def test_the_first_cause_stays():
    ctx, cancel = with_cancel_cause(background())
    first = Boom()
    cancel(first)
    cancel(Boom())
    cancel()
    assert cause(ctx) is first
    assert isinstance(ctx.err(), Canceled)


@pytest.mark.parametrize("args", [(), (None,)])
def test_without_a_cause_it_is_err(args):
    ctx, cancel = with_cancel_cause(background())
    cancel(*args)
    assert cause(ctx) is ctx.err()


def test_a_cause_is_inherited_as_the_same_object():
    ctx, cancel = with_cancel_cause(background())
    below = with_value(with_cancel(ctx)[0], 1, 2)
    error = Boom()
    cancel(cause=error)
    assert cause(below) is error


def test_a_cancel_from_anywhere_is_seen_everywhere(place):
    ctx, cancel = with_cancel(background())
    g, t = parked(go(ctx.done().recv_ok)), Thread(ctx.done().recv_ok)
    place(cancel)
    assert g.join() == t.join() == (None, False)


def test_cancel_races_from_many_sides_make_one_end(rng):
    for _ in range(50):
        ctx, cancel = with_cancel_cause(background())
        errors = [Boom(i) for i in range(6)]
        gs = [go(cancel, e) for e in errors[:4]] + [Thread(cancel, e) for e in errors[4:]]
        for g in gs:
            g.join()
        assert cause(ctx) in errors
        assert ctx.err() is ctx.err()


# -- the channel -------------------------------------------------------------------------------


def test_done_channels_are_equal_and_closed_when_done(place):
    def check():
        ctx, cancel = with_cancel(background())
        a, b = ctx.done(), with_value(ctx, 1, 2).done()
        assert a == b == ctx.done()
        assert hash(a) == hash(b)
        assert a.try_recv() is None
        cancel()
        assert a.recv_ok() == (None, False)
        assert list(b) == []
        assert ctx.done() == a

    place(check)


def test_done_of_a_context_that_is_done_is_closed():
    ctx, cancel = with_cancel(background())
    cancel()
    assert ctx.done().recv_ok() == (None, False)


def test_done_is_receive_only():
    ctx, _ = with_cancel(background())
    for name in ("send", "close", "try_send"):
        assert not hasattr(ctx.done(), name)


@pytest.mark.parametrize(
    "never", [background, todo, lambda: without_cancel(with_cancel(todo())[0])]
)
def test_done_of_what_is_never_done_is_never_ready_in_select(never):
    ch = Chan(1)
    ch.send(1)
    assert golib.select(never().done(), ch) == (1, 1, True)
    assert golib.select(never().done(), default=True).index == -1


def test_a_done_channel_keeps_its_timeout_going():
    done = with_timeout(background(), 0.005)[0].done()
    gc.collect()
    assert done.recv_ok(20) == (None, False)


def test_a_waiter_on_done_sees_err_set():
    for _ in range(100):
        ctx, cancel = with_cancel(background())
        g = go(lambda: (ctx.done().recv_ok(), ctx.is_done))
        go(cancel)
        assert g.join() == ((None, False), True)


# -- deadlines ---------------------------------------------------------------------------------


def test_a_timeout_ends_with_deadline_exceeded(place):
    def check():
        begin = time.monotonic()
        ctx, cancel = with_timeout(background(), 0.01)
        assert 0 <= ctx.deadline() - begin - 0.01 < 1
        assert ctx.done().recv_ok(20) == (None, False)
        assert time.monotonic() >= ctx.deadline() - 1e-6
        error = ctx.err()
        assert isinstance(error, DeadlineExceeded)
        assert isinstance(error, TimeoutError)
        assert str(error) == "context deadline exceeded"
        assert cause(ctx) is error is ctx.err()
        cancel()
        assert ctx.err() is error

    place(check)


def test_with_deadline_is_at_a_time_of_the_monotonic_clock():
    at = time.monotonic() + 0.01
    ctx, _ = with_deadline(background(), at)
    assert abs(ctx.deadline() - at) < 1e-6
    ctx.done().recv_ok(20)
    assert time.monotonic() >= at - 1e-6


def test_the_earlier_deadline_is_inherited():
    top, _ = with_timeout(background(), 100)
    assert with_timeout(top, 200)[0].deadline() == top.deadline()
    assert with_timeout(top, math.inf)[0].deadline() == top.deadline()
    assert with_timeout(top, 50)[0].deadline() < top.deadline()
    assert with_value(with_cancel(top)[0], 1, 2).deadline() == top.deadline()
    assert with_cancel(without_cancel(top))[0].deadline() is None


def test_a_child_with_a_later_deadline_ends_with_its_parent():
    top, _ = with_timeout(background(), 0.005)
    low, _ = with_timeout(top, 3600, Boom())
    low.done().recv_ok(20)
    assert isinstance(low.err(), DeadlineExceeded)
    assert cause(low) is low.err()


def test_the_cause_of_a_deadline_counts_only_for_the_deadline():
    error = Boom()
    late, _ = with_timeout(background(), 0.001, error)
    late.done().recv_ok(20)
    assert (type(late.err()), cause(late)) == (DeadlineExceeded, error)
    early, cancel = with_timeout(background(), 3600, cause=error)
    assert cause(early) is None
    cancel()
    assert cause(early) is early.err()
    past, _ = with_deadline(background(), time.monotonic() - 1, error)
    assert (past.is_done, cause(past)) == (True, error)


@pytest.mark.parametrize(
    "seconds", [0, 0.0, -1, -1e300, -math.inf, -(10**30), -(10**400)], ids=repr
)
def test_a_timeout_of_nothing_is_done_at_once(seconds):
    ctx, _ = with_timeout(background(), seconds)
    assert isinstance(ctx.err(), DeadlineExceeded)
    assert ctx.done().recv_ok(0) == (None, False)
    assert ctx.deadline() <= time.monotonic()


def test_a_past_deadline_is_the_one_that_was_given():
    for at in (0.0, -5.0, 1.25, time.monotonic() - 3):
        ctx, _ = with_deadline(background(), at)
        assert ctx.is_done
        assert abs(ctx.deadline() - at) < 1e-6
    ctx, _ = with_timeout(background(), -3)
    assert abs(ctx.deadline() - (time.monotonic() - 3)) < 1


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 10**30, 10**400], ids=lambda s: repr(s)[:9])
@pytest.mark.parametrize("make", [with_timeout, with_deadline])
def test_an_endless_timeout_is_no_deadline(seconds, make):
    ctx, cancel = make(background(), seconds)
    assert (ctx.deadline(), ctx.is_done) == (None, False)
    cancel()
    assert isinstance(ctx.err(), Canceled)


def test_cancelling_leaves_nothing_of_the_deadline():
    """The timer is gone: with nothing else to wake it, a wait is a deadlock."""
    run_ok(
        """
        import golib
        from golib.context import background, with_timeout
        ctx, cancel = with_timeout(background(), 3600)
        cancel()
        dropped = with_timeout(background(), 3600)
        del dropped
        try:
            golib.Chan().recv()
        except golib.Deadlock:
            pass
        """
    )


def test_a_pending_deadline_is_no_deadlock():
    ctx, _ = with_timeout(background(), 0.02)
    assert golib.run(ctx.done().recv_ok) == (None, False)


def test_ten_thousand_deadlines_cost_no_goroutine():
    before = golib.num_goroutine()
    made = [with_timeout(background(), 3600) for _ in range(10_000)]
    assert golib.num_goroutine() == before
    assert golib.runtime.goroutines() == []
    for _, cancel in made:
        cancel()


def test_many_deadlines_end_in_their_order(rng):
    order, ended = list(range(300)), []
    rng.shuffle(order)
    begin = time.monotonic() + 0.02
    ctxs = {i: with_deadline(background(), begin + i * 1e-4)[0] for i in order}
    stops = [after_func(c, ended.append, i) for i, c in ctxs.items()]
    eventually(lambda: len(ended) == 300)
    assert sorted(ended) == list(range(300))
    assert not any(stop() for stop in stops)


# -- values ------------------------------------------------------------------------------------


def test_the_nearest_value_of_an_equal_key_is_found():
    top = with_value(background(), "k", 1)
    ctx = with_value(with_cancel(with_value(with_value(top, "k", 2), "other", 3))[0], ("t", 1), 4)
    assert (ctx.value("k"), ctx.value("other"), ctx.value(("t", 1))) == (2, 3, 4)
    assert (top.value("k"), top.value("other")) == (1, None)
    assert without_cancel(ctx).value("k") == 2


def test_none_is_a_value_that_hides_the_one_above():
    ctx = with_value(with_value(background(), "k", 1), "k", None)
    assert ctx.value("k") is None


def test_an_identical_key_is_found_though_it_equals_nothing():
    nan = math.nan
    assert with_value(background(), nan, 1).value(nan) == 1


def test_unhashable_keys_will_do():
    assert with_value(background(), [1], "x").value([1]) == "x"


def test_what_a_comparison_raises_is_raised():
    class Key:
        def __eq__(self, other):
            raise Boom

        __hash__ = None

    with pytest.raises(Boom):
        with_value(background(), "k", 1).value(Key())


def test_a_comparison_may_drop_the_context():
    class Key:
        def __eq__(self, other):
            box.clear()
            gc.collect()
            return False

        __hash__ = None

    box = [with_value(with_value(background(), 1, Tracked()), 2, Tracked())]
    assert box[0].value(Key()) is None
    assert Tracked.alive == 0


# -- without_cancel ----------------------------------------------------------------------------


def test_without_cancel_outlives_its_parent():
    ctx, cancel = with_timeout(with_value(background(), "k", 1), 100)
    free = without_cancel(ctx)
    below, cancel_below = with_cancel(free)
    cancel()
    assert (free.is_done, free.err(), free.deadline(), free.value("k")) == (False, None, None, 1)
    assert cause(free) is None
    assert not below.is_done
    cancel_below()
    assert below.is_done


def test_without_cancel_of_a_done_context_is_not_done():
    ctx, cancel = with_cancel(background())
    cancel()
    assert not without_cancel(ctx).is_done


# -- misuse ------------------------------------------------------------------------------------

NO_CONTEXT = [None, 1, "x", Context, object()]


@pytest.mark.parametrize("bad", NO_CONTEXT, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize(
    "call",
    [
        with_cancel,
        with_cancel_cause,
        without_cancel,
        cause,
        lambda p: with_timeout(p, 1),
        lambda p: with_deadline(p, 1),
        lambda p: with_value(p, 1, 2),
        lambda p: after_func(p, print),
    ],
)
def test_what_is_no_context_is_a_type_error(call, bad):
    with pytest.raises(TypeError):
        call(bad)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("with_timeout(bg)", TypeError),
        ("with_timeout(bg, None)", TypeError),
        ("with_timeout(bg, '1')", TypeError),
        ("with_timeout(bg, float('nan'))", ValueError),
        ("with_deadline(bg, float('nan'))", ValueError),
        ("with_timeout(bg, 1, 'cause')", TypeError),
        ("with_timeout(bg, 1, ValueError)", TypeError),
        ("with_timeout(bg, 1, bad=1)", TypeError),
        ("with_value(bg, 1)", TypeError),
        ("with_cancel()", TypeError),
        ("with_cancel(bg)[1](1)", TypeError),
        ("with_cancel(bg)[1](cause=ValueError())", TypeError),
        ("with_cancel_cause(bg)[1]('x')", TypeError),
        ("with_cancel_cause(bg)[1](ValueError)", TypeError),
        ("with_cancel_cause(bg)[1](None, None)", TypeError),
        ("after_func(bg)", TypeError),
        ("after_func(bg, None)", TypeError),
        ("after_func(bg, coroutine)", TypeError),
        ("after_func(bg, print)(1)", TypeError),
        ("bg.value()", TypeError),
        ("background(1)", TypeError),
    ],
)
def test_misuse_raises(call, error):
    async def coroutine():
        pass

    with pytest.raises(error):
        eval(call, {**globals(), "bg": background(), "coroutine": coroutine})


def test_misuse_cancels_nothing():
    ctx, cancel = with_cancel_cause(background())
    with pytest.raises(TypeError):
        cancel("x")
    assert not ctx.is_done


def test_texts_and_reprs():
    assert (str(Canceled()), str(DeadlineExceeded())) == (
        "context canceled",
        "context deadline exceeded",
    )
    assert not issubclass(Canceled, golib.Cancelled)
    ctx, cancel = with_timeout(background(), 100)
    assert "with_deadline" in repr(ctx)
    cancel()
    assert "context canceled" in repr(ctx)
    for c in (background(), ctx, with_value(ctx, 1, 2), without_cancel(ctx)):
        assert "golib.context.Context" in repr(c)

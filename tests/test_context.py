"""golib.context: the tree, causes, values, deadlines, registered functions, and what it keeps alive."""

from __future__ import annotations

import gc
import math
import time
import weakref

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
    current,
    todo,
    with_cancel,
    with_cancel_cause,
    with_deadline,
    with_timeout,
    with_value,
    without_cancel,
)

from support import SLACK, Boom, Thread, Tracked, eventually, parked, run_ok

MANY = 100_000


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


# -- after_func --------------------------------------------------------------------------------


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


# -- `with ctx:` and current() -----------------------------------------------------------------


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


# -- life and death ----------------------------------------------------------------------------


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
    """The middle holds what is above; the node below is in the list of that one until it dies itself."""

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
    """What a deadline drops may have a finalizer that waits for another deadline."""

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
    import sys

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

    for _ in range(200):
        one()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(2000):
        one()
    gc.collect()
    assert sys.getallocatedblocks() - before < 300


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
    for c in kinds_of_contexts():
        assert "golib.context.Context" in repr(c)


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

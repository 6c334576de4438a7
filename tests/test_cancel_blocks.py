"""The blocks that end waits or keep them: `timeout` and `shield`, nested, shared and left elsewhere."""

from __future__ import annotations

import gc
import math
import time

import golib
import pytest
from golib import Cancelled, Chan, go, shield, timeout
from golib.context import background, current, with_cancel, with_timeout

from support import PLACES, SLACK, Boom, Thread, Tracked, parked, run_ok

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
            ch = Chan(1)
            ch.send("v")
            assert ch.recv() == "v"
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
    with timeout(60):
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
    """A cancellation shows exactly where no shield lies in between."""

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

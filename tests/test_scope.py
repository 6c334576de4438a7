"""golib.scope: joins, its own cancel(), limits, memory."""

from __future__ import annotations

import gc
import weakref

import golib
import pytest
from golib import Cancelled, Chan, go, scope, shield, timeout
from golib.context import background, current, with_value

from support import (
    Boom,
    Thread,
    Tracked,
    eventually,
    fail,
    growth,
    parked,
)

# -- the ordinary end --------------------------------------------------------------------------


def test_the_block_is_left_when_all_have_ended(place):
    def check():
        ended = []
        with scope() as s:
            for i in range(10):
                s.go(lambda i=i: (golib.sleep(0.0005 * (i % 3)), ended.append(i)))
        assert sorted(ended) == list(range(10))
        assert s.ctx.is_done

    place(check)


def test_an_empty_scope_ends_at_once(place):
    def check():
        with scope():
            pass
        golib.gosched()

    place(check)


def test_go_gives_a_handle_with_the_value_and_passes_everything():
    with scope() as s:
        g = s.go(lambda *a, **k: (a, k), 1, 2, x=3, fn=4)
        h = s.go(int)
    assert isinstance(g, golib.Goroutine)
    assert (g.join(), h.join()) == (((1, 2), {"x": 3, "fn": 4}), 0)


def test_members_may_add_members():
    ended = []

    def task(s, depth):
        if depth:
            for _ in range(3):
                s.go(task, s, depth - 1)
        ended.append(depth)

    with scope() as s:
        s.go(task, s, 3)
    assert len(ended) == 1 + 3 + 9 + 27


def test_a_member_may_add_one_as_its_last_deed():
    for _ in range(100):
        ended = []
        with scope() as s:
            s.go(lambda: s.go(lambda: s.go(ended.append, 1)))
        assert ended == [1]


def test_somebody_elses_member_is_awaited_too_or_refused(rng):
    for _ in range(100):
        started, ended, refused = [], [], []
        n = rng.randint(1, 20)

        def outsider(s):
            for i in range(n):
                try:
                    s.go(lambda: (golib.gosched(), ended.append(1)))
                    started.append(i)
                except RuntimeError:
                    refused.append(i)
                golib.gosched()

        with scope(cancel_on_error=False) as s:
            other = Thread(outsider, s) if rng.random() < 0.3 else go(outsider, s)
            for _ in range(rng.randint(0, 10)):
                golib.gosched()
        left = len(ended)
        other.join()  # a thread may not have recorded its latest goroutine yet
        assert left == len(ended) == len(started)
        assert len(started) + len(refused) == n


def test_members_run_under_its_context_and_its_values(place):
    def check():
        with with_value(background(), "k", "v"), scope() as s:
            assert current() is s.ctx
            g = s.go(lambda: (current().value("k"), current().is_done))
            h = go(lambda: current().value("k"))
        assert g.join() == ("v", False)
        assert h.join() is None

    place(check)


@pytest.mark.parametrize("name", ["go", "try_go"])
def test_after_the_end_nothing_can_be_started(name):
    s = scope()
    with pytest.raises(RuntimeError):
        getattr(s, name)(int)
    with pytest.raises(RuntimeError):
        _ = s.ctx
    with s:
        pass
    with pytest.raises(RuntimeError):
        getattr(s, name)(int)
    with pytest.raises(RuntimeError), s:
        pass


@pytest.mark.parametrize("name", ["go", "try_go"])
def test_what_cannot_be_a_goroutine_is_a_type_error_and_takes_no_slot(name):
    async def coroutine():
        pass

    with scope(limit=1) as s:
        for args in [(), (None,), (coroutine,)]:
            with pytest.raises(TypeError):
                getattr(s, name)(*args)
        g = s.try_go(int)
    assert g.join() == 0


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"limit": 0}, ValueError),
        ({"limit": -1}, ValueError),
        ({"limit": -(10**30)}, ValueError),
        ({"limit": "1"}, TypeError),
        ({"limit": 1.5}, TypeError),
        ({"bad": 1}, TypeError),
    ],
)
def test_wrong_arguments_raise(kwargs, error):
    with pytest.raises(error):
        scope(**kwargs)
    with pytest.raises(TypeError):
        scope(1)


# -- cancel() ----------------------------------------------------------------------------------


def test_cancel_ends_all_and_raises_nothing(place):
    def check():
        after = []
        with scope() as s:
            gs = [s.go(Chan().recv) for _ in range(5)]
            s.cancel()
            s.cancel()
            Chan().recv()
            after.append(1)
        assert after == []
        assert all(isinstance(g.exception(), Cancelled) for g in gs)
        golib.gosched()

    place(check)


def test_a_member_may_cancel_the_scope():
    with scope() as s:
        s.go(s.cancel)
        Chan().recv()
    with scope() as s:
        s.go(s.cancel)


def test_cancel_from_outside_a_goroutine_ends_it():
    ch = Chan()

    def task():
        with scope() as s:
            ch.send(s)
            golib.sleep(3600)
        return "ended"

    g = go(task)
    s = ch.recv()
    Thread(s.cancel).join()
    assert g.join() == "ended"


def test_after_cancel_new_members_are_cancelled_at_once():
    with scope() as s:
        s.cancel()
        g = s.go(Chan().recv)
        h = s.go(int)
    assert isinstance(g.exception(), Cancelled)
    assert h.join() == 0


def test_cancel_while_it_waits_at_its_end():
    ch = Chan()

    def task():
        with scope() as s:
            s.go(Chan().recv)
            ch.send(s)

    g = go(task)
    s = ch.recv()
    parked(g, "sync.WaitGroup.Wait", "semacquire")
    s.cancel()
    assert g.join() is None


def test_cancel_before_it_is_entered_and_after_its_end_does_nothing():
    s = scope()
    s.cancel()
    s = scope()
    with s:
        pass
    s.cancel()
    golib.gosched()


def test_clean_up_of_members_is_awaited():
    done = []

    def task():
        try:
            Chan().recv()
        finally:
            with shield():
                golib.sleep(0.002)
                done.append(1)

    with scope() as s:
        for _ in range(3):
            parked(s.go(task))
        s.cancel()
    assert done == [1] * 3


def test_a_cancelled_raised_by_hand_passes():
    with pytest.raises(Cancelled, match="by hand"):
        with scope() as s:
            g = s.go(Chan().recv)
            raise Cancelled("by hand")
    assert isinstance(g.exception(), Cancelled)


# -- the limit ---------------------------------------------------------------------------------


def test_no_more_run_than_the_limit_allows(place):
    def check():
        running, most = 0, 0

        def task():
            nonlocal running, most
            running += 1
            most = max(most, running)
            golib.sleep(0.0005)
            running -= 1

        with scope(limit=3) as s:
            for _ in range(20):
                s.go(task)
        assert most <= 3

    place(check)


def test_try_go_is_none_at_the_limit():
    gate = Chan()
    with scope(limit=2) as s:
        gs = [s.try_go(gate.recv), s.try_go(gate.recv)]
        assert s.try_go(fail) is None
        gate.send("a")
        eventually(lambda: any(g.done() for g in gs))
        g = eventually(lambda: s.try_go(int))
        gate.send("b")
    assert sorted(g.join() for g in gs) == ["a", "b"]
    assert g.join() == 0


@pytest.mark.parametrize("limit", [None, 10**9, 10**30])
def test_a_huge_limit_is_none(limit):
    with scope(limit=limit) as s:
        gs = [s.try_go(int) for _ in range(50)]
    assert [g.join() for g in gs] == [0] * 50


def test_go_that_waits_for_a_slot_is_cancelled_with_the_scope(place):
    def check():
        started, ends = [], Chan()

        def stubborn():
            with shield():
                ends.recv_ok()

        with scope(limit=1) as s:
            s.go(stubborn)
            go(s.cancel)
            try:
                s.go(started.append, 1)
            finally:
                ends.close()
        assert started == []

    place(check)


def test_a_member_that_waits_for_a_slot_of_its_own_scope_is_a_deadlock_not_a_hang():
    def main():
        with scope(limit=1) as s:
            s.go(lambda: s.go(int))

    with pytest.raises(ExceptionGroup) as raised:
        golib.run(main)
    assert isinstance(raised.value.exceptions[0], golib.Deadlock)


def test_one_that_waited_for_a_slot_until_the_end_is_refused():
    gate, errors = Chan(), []

    def outsider(s):
        try:
            s.go(int)
        except RuntimeError as error:
            errors.append(error)
        else:
            errors.append(None)

    with scope(limit=1) as s:
        s.go(gate.recv)
        others = [parked(go(outsider, s)) for _ in range(5)]
        gate.send(1)
    for g in others:
        g.join()
    assert len(errors) == 5


# -- life and death ----------------------------------------------------------------------------


def test_a_scope_is_released_as_soon_as_it_was_left():
    gc.disable()
    try:
        with scope() as s:
            s.go(int)
        ref = weakref.ref(s)
        del s
        eventually(lambda: ref() is None)
    finally:
        gc.enable()


def test_failures_are_released_with_the_group():
    def work():
        value = Tracked()
        try:
            with scope() as s:
                s.go(lambda v: fail(), value)
                s.go(Chan().recv)
        except ExceptionGroup:
            pass
        try:
            with scope() as s:
                s.go(fail, SystemExit)
        except SystemExit:
            pass
        with timeout(0, raises=False), scope() as s:
            s.go(Chan().recv)

    for _ in range(5):
        work()
    gc.collect()
    assert Tracked.alive == 0


def test_ten_thousand_members():
    with scope() as s:
        gs = [s.go(pow, i, 2) for i in range(10_000)]
    assert [g.join() for g in gs] == [i * i for i in range(10_000)]
    with scope() as s:
        gs = [s.go(Chan().recv) for _ in range(10_000)]
        s.cancel()
    assert all(isinstance(g.exception(), Cancelled) for g in gs)


def test_scopes_nest_a_hundred_deep_and_one_failure_unwinds_all():
    def down(n):
        with scope() as s:
            s.go(Chan().recv)
            s.go(down, n - 1) if n else s.go(fail)

    with pytest.raises(ExceptionGroup) as raised:
        down(100)
    error = raised.value
    depth = 0
    while isinstance(error, ExceptionGroup):
        (error,), depth = error.exceptions, depth + 1
    assert isinstance(error, Boom)
    assert depth == 101
    assert golib.num_goroutine() == 0


def test_rounds_grow_no_memory():
    def one():
        try:
            with scope(limit=2) as s:
                s.go(int)
                s.go(fail)
                s.go(Chan().recv)
        except ExceptionGroup:
            pass

    assert growth(one, 1000) < 400

"""golib.scope: what a failure cancels, and the group that is raised."""

from __future__ import annotations

import gc

import golib
import pytest
from golib import Cancelled, Chan, go, scope
from golib.context import cause

from support import (
    Boom,
    fail,
    parked,
)


def test_one_failure_is_an_exception_group_of_one(place):
    def check():
        error = Boom("x")
        with pytest.raises(ExceptionGroup) as raised:
            with scope() as s:
                s.go(fail, error)
        assert raised.value.exceptions == (error,)
        assert type(raised.value) is ExceptionGroup

    place(check)


def test_the_first_failure_cancels_the_rest_and_the_block(place):
    def check():
        error, seen = Boom(), []
        with pytest.raises(ExceptionGroup) as raised:
            with scope() as s:
                gs = [s.go(Chan().recv) for _ in range(5)]
                s.go(fail, error)
                try:
                    Chan().recv()
                except Cancelled:
                    seen.append("cancelled")
                    raise
        assert raised.value.exceptions == (error,)
        assert seen == ["cancelled"]
        assert all(isinstance(g.exception(), Cancelled) for g in gs)
        assert cause(s.ctx) is error
        golib.gosched()

    place(check)


def test_a_failure_of_the_block_cancels_all_and_comes_first():
    first, second = Boom(1), Boom(2)

    def task():
        try:
            Chan().recv()
        finally:
            raise second

    with pytest.raises(ExceptionGroup) as raised:
        with scope() as s:
            s.go(task)
            raise first
    assert raised.value.exceptions == (first, second)


def test_failures_come_in_the_order_of_their_ends():
    errors = [Boom(i) for i in range(5)]
    gates = [Chan() for _ in errors]

    def task(i):
        gates[i].recv()
        raise errors[i]

    with pytest.raises(ExceptionGroup) as raised:
        with scope(cancel_on_error=False) as s:
            gs = [s.go(task, i) for i in range(5)]
            for i in (3, 1, 4, 0, 2):
                gates[i].send(1)
                gs[i].exception()
    assert raised.value.exceptions == tuple(errors[i] for i in (3, 1, 4, 0, 2))


def test_without_cancel_on_error_the_others_go_on():
    error, ended = Boom(), []
    with pytest.raises(ExceptionGroup) as raised:
        with scope(cancel_on_error=False) as s:
            s.go(fail, error).exception()
            s.go(lambda: (golib.gosched(), ended.append(1)))
            golib.gosched()
            ended.append(2)
    assert sorted(ended) == [1, 2]
    assert raised.value.exceptions == (error,)


def test_a_failure_that_was_joined_still_counts():
    with pytest.raises(ExceptionGroup):
        with scope(cancel_on_error=False) as s:
            with pytest.raises(Boom):
                s.go(fail).join()


def test_a_base_exception_makes_a_base_exception_group():
    class Odd(BaseException):
        pass

    with pytest.raises(BaseExceptionGroup) as raised:
        with scope() as s:
            s.go(fail, Odd)
    assert not isinstance(raised.value, ExceptionGroup)
    with pytest.raises(BaseExceptionGroup):
        with scope(cancel_on_error=False) as s:
            g = s.go(Chan().recv)
            raise Odd
    assert isinstance(g.exception(), Cancelled)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["member", "block", "both"])
def test_keyboard_interrupt_and_system_exit_leave_it_bare(error, where, place):
    def check():
        mine = error("x")
        with pytest.raises(error) as raised:
            with scope() as s:
                g = s.go(Chan().recv)
                if where != "block":
                    s.go(fail, mine).exception()
                if where != "member":
                    raise mine
        assert raised.value is mine
        assert isinstance(g.exception(), Cancelled)

    place(check)


def test_every_failure_is_read_and_nothing_is_reported_twice(panics):
    with pytest.raises(ExceptionGroup) as raised:
        with scope(cancel_on_error=False) as s:
            for _ in range(5):
                s.go(fail)
    assert len(raised.value.exceptions) == 5
    del raised, s
    gc.collect()
    golib.gosched()
    assert panics == []


def test_a_group_of_an_inner_scope_is_one_failure_of_the_outer():
    def task():
        with scope() as s:
            s.go(fail)

    with pytest.raises(ExceptionGroup) as raised:
        with scope() as s:
            s.go(task)
    (inner,) = raised.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert isinstance(inner.exceptions[0], Boom)


def test_except_star_takes_them_apart():
    seen = []
    try:
        with scope(cancel_on_error=False) as s:
            s.go(fail, KeyError)
            s.go(fail, Boom)
            s.go(fail, ValueError)
    except* Boom as group:
        seen += group.exceptions
    except* LookupError as group:
        seen += group.exceptions
    except* ValueError:
        pass
    assert [type(e) for e in seen] == [Boom, KeyError]


def test_goexit_is_no_failure(place):
    with scope() as s:
        s.go(golib.goexit)

    def task():
        with scope() as s:
            s.go(Chan().recv)
            golib.goexit()

    assert go(task).join() is None


def test_a_member_cancelled_by_its_handle_is_no_failure():
    ended = []
    with scope() as s:
        g = parked(s.go(Chan().recv))
        s.go(lambda: (golib.sleep(0.002), ended.append(1)))
        g.cancel()
    assert isinstance(g.exception(), Cancelled)
    assert ended == [1]


def test_a_member_goroutine_may_be_cancelled_by_handle_and_by_scope_in_any_order():
    for first in ("handle", "scope"):
        with scope() as s:
            g = parked(s.go(Chan().recv))
            for how in ("handle", "scope") if first == "handle" else ("scope", "handle"):
                g.cancel() if how == "handle" else s.cancel()
        assert isinstance(g.exception(), Cancelled)

"""golib.scope: joins, failures, limits, cancellation, and what ends it from outside."""

from __future__ import annotations

import gc
import signal
import weakref

import golib
import pytest
from golib import Cancelled, Chan, go, scope, shield, timeout
from golib.context import background, cause, current, with_cancel, with_value

from support import (
    Boom,
    Thread,
    Tracked,
    eventually,
    finish,
    parked,
    run_ok,
    start_script,
    wait_line,
)


def fail(error=Boom):
    raise error


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
        left = len(ended), len(started)
        other.join()
        assert left[0] == left[1] == len(ended)
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


# -- failures ----------------------------------------------------------------------------------


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


# -- from outside ------------------------------------------------------------------------------


def test_a_timeout_around_it_cancels_the_members_and_awaits_them(place):
    def check():
        ended = []

        def task():
            try:
                Chan().recv()
            finally:
                ended.append(1)

        with pytest.raises(TimeoutError):
            with timeout(0.003):
                with scope() as s:
                    for _ in range(3):
                        s.go(task)
        assert ended == [1] * 3
        golib.gosched()

    place(check)


def test_a_timeout_around_it_reaches_the_block(place):
    def check():
        with pytest.raises(TimeoutError):
            with timeout(0.002), scope() as s:
                s.go(Chan().recv)
                Chan().recv()

    place(check)


def test_a_timeout_in_it_is_a_failure():
    with pytest.raises(ExceptionGroup) as raised:
        with scope() as s:
            s.go(Chan().recv)
            with timeout(0.001):
                Chan().recv()
    assert isinstance(raised.value.exceptions[0], TimeoutError)


def test_the_timeout_ends_a_scope_whose_member_fails_at_the_end():
    def task():
        try:
            Chan().recv()
        finally:
            raise Boom

    with pytest.raises(ExceptionGroup):
        with timeout(0.001), scope() as s:
            s.go(task)
    golib.gosched()


def test_a_scope_in_a_cancelled_goroutine_cancels_its_members():
    members = []

    def task():
        with scope() as s:
            members.append(s.go(Chan().recv))
            members.append(s.go(golib.sleep, 3600))

    g = go(task)
    parked(g, "sync.WaitGroup.Wait", "semacquire")
    g.cancel()
    assert isinstance(g.exception(), Cancelled)
    assert all(isinstance(m.exception(), Cancelled) for m in members)


def test_a_shielded_scope_is_not_cancelled_from_outside():
    ch, gate = Chan(), Chan()

    def task():
        with shield(), scope() as s:
            g = s.go(gate.recv)
            ch.send(1)
        return g.join()

    g = go(task)
    ch.recv()
    g.cancel()
    gate.send("value")
    assert g.join() == "value"


def test_nested_scopes_are_cancelled_with_the_outer_one(place):
    def check():
        inner_ended = []
        with scope() as outer:

            def task():
                with scope() as inner:
                    gs = [inner.go(Chan().recv) for _ in range(3)]
                    try:
                        Chan().recv()
                    finally:
                        inner_ended.append(gs)

            parked(outer.go(task), "chan receive")
            outer.cancel()
        assert all(isinstance(g.exception(), Cancelled) for g in inner_ended[0])

    place(check)


def test_cancelling_the_inner_scope_leaves_the_outer_alone(place):
    def check():
        trace = []
        with scope() as outer:
            with scope() as inner:
                inner.go(outer.go, lambda: (golib.sleep(0.002), trace.append("outer's")))
                golib.sleep(0.0005)
                inner.cancel()
                golib.sleep(3600)
            golib.gosched()
            trace.append("after")
        assert sorted(trace) == ["after", "outer's"]

    place(check)


def test_a_deadlock_at_its_end_is_a_failure_and_everybody_leaves():
    def main():
        with scope() as s:
            s.go(Chan().recv)
            s.go(golib.select)

    for run in (main, lambda: golib.run(main)):
        with pytest.raises(ExceptionGroup) as raised:
            run()
        assert isinstance(raised.value.exceptions[0], golib.Deadlock)
    assert golib.num_goroutine() == 0


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


# -- generators --------------------------------------------------------------------------------


def test_a_generator_with_a_scope_can_be_closed(place):
    def generator():
        with scope() as s:
            gs.append(s.go(Chan().recv))
            yield s

    gs = []

    def check():
        gen = generator()
        next(gen)
        gen.close()
        assert isinstance(gs.pop().exception(), Cancelled)
        golib.gosched()

    place(check)


def test_a_generator_with_a_scope_can_be_closed_by_another_goroutine():
    def generator():
        with scope() as s:
            s.go(Chan().recv)
            yield s

    for enter, leave in [(go, go), (go, Thread), (Thread, go)]:
        gen = generator()
        enter(next, gen).join()
        leave(gen.close).join()
    assert golib.num_goroutine() == 0
    golib.gosched()


def test_the_collector_ends_a_forgotten_generators_scope():
    def generator(box):
        with scope() as s:
            s.go(Chan().recv)
            yield box

    box = [Tracked()]
    gen = generator(box)
    next(gen)
    box.append(gen)
    del gen, box
    gc.collect()
    assert Tracked.alive == 0
    assert golib.num_goroutine() == 0


def test_a_context_manager_made_of_a_scope_works():
    import contextlib

    @contextlib.contextmanager
    def workers(n):
        with scope() as s:
            for _ in range(n):
                s.go(Chan().recv)
            yield s
            s.cancel()

    with workers(3) as s:
        s.go(int)
    with pytest.raises(ExceptionGroup):
        with workers(3):
            raise Boom


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
    import sys

    def one():
        try:
            with scope(limit=2) as s:
                s.go(int)
                s.go(fail)
                s.go(Chan().recv)
        except ExceptionGroup:
            pass

    for _ in range(100):
        one()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(500):
        one()
    gc.collect()
    assert sys.getallocatedblocks() - before < 400


# -- the process -------------------------------------------------------------------------------

CTRL_C = """
    import golib, sys
    from golib import Chan, scope, shield
    ended = []
    def task():
        try:
            Chan().recv(3600)
        finally:
            ended.append(1)
    def stubborn():
        with shield():
            Chan().recv(3600)
    def tell():
        while len(ended) < 3:
            golib.sleep(0.001)
        golib.sleep(0.1)  # main waits again
        print("waits", flush=True)
    def main():
        try:
            with scope() as s:
                for _ in range(3):
                    s.go(task)
                {body}
                print("ready", flush=True)
        except KeyboardInterrupt:
            print("interrupted", len(ended), flush=True)
    {start}
    """


@pytest.mark.parametrize("start", ["golib.run(main)", "main()"], ids=["run", "main thread"])
def test_ctrl_c_at_its_end_cancels_the_members_and_leaves_it_bare(start):
    process = start_script(CTRL_C.format(start=start, body=""))
    wait_line(process, "ready")
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "interrupted 3\n", "")


@pytest.mark.parametrize("start", ["golib.run(main)", "main()"], ids=["run", "main thread"])
@pytest.mark.parametrize("where", ["block", "end"])
def test_a_second_ctrl_c_leaves_stubborn_members_behind(start, where):
    body = "s.go(stubborn); golib.go(tell)"
    if where == "block":
        body += "; golib.time.after_func(0.1, print, 'ready'); Chan().recv(3600)"
    process = start_script(CTRL_C.format(start=start, body=body))
    wait_line(process, "ready")
    process.send_signal(signal.SIGINT)
    wait_line(process, "waits")
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "interrupted 3\n", "")


def test_ctrl_c_in_the_block_ends_everything():
    process = start_script(
        CTRL_C.format(
            start="golib.run(main)",
            body="golib.time.after_func(0.1, print, 'ready'); Chan().recv(3600)",
        )
    )
    wait_line(process, "ready")
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "interrupted 3\n", "")


@pytest.mark.parametrize(
    ("start", "running"), [("golib.run(main)", 1), ("main()", 0)], ids=["run", "main thread"]
)
def test_signals_whose_handlers_raise_at_any_moment_reach_main_and_leave_no_member_behind(
    start, running, rng
):
    out = run_ok(
        f"""
        import golib, random, signal
        rng = random.Random({rng.random()})
        armed = False
        def interrupt(signum, frame):
            if armed:
                raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        def attempt():
            global armed
            armed = True
            with golib.scope() as s:
                for _ in range(3):
                    s.go(golib.sleep, 0.0001)
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 3e-4))
        def main():
            global armed
            interrupted = 0
            for _ in range(1500):
                try:
                    try:
                        attempt()
                    finally:
                        armed = False
                except KeyboardInterrupt:
                    interrupted += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert golib.num_goroutine() == {running}, golib.runtime.goroutines()
            return interrupted
        interrupted = {start}
        print(interrupted > 100 or interrupted)
        """
    )
    assert out == "True\n"


def test_the_interpreter_ends_in_the_middle_of_scopes():
    for run in ("golib.go(main); golib.sleep(0.02)", "golib.go(main)"):
        run_ok(
            f"""
            import golib
            from golib import Chan, scope
            def main():
                with scope() as s:
                    for i in range(20):
                        s.go(Chan().recv)
                        s.go(golib.sleep, 3600)
                    with golib.timeout(3600), scope(limit=1) as inner:
                        inner.go(Chan().recv)
                        inner.go(int)
            {run}
            """,
            env={"PYTHONDEVMODE": "1"},
        )


def test_a_forked_child_of_the_block_ends_without_its_members():
    out = run_ok(
        """
        import golib, os
        def main():
            with golib.scope() as s:
                s.go(golib.Chan().recv)
                golib.sleep(0.01)
                pid = os.fork()
                if pid == 0:
                    print("child", flush=True)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
                s.cancel()
            print("parent")
        golib.run(main)
        """
    )
    assert out == "child\nparent\n"


def test_with_cancel_of_the_scopes_context_reaches_no_member_of_the_scope():
    with scope() as s:
        ctx, cancel = with_cancel(s.ctx)
        gate = Chan()
        g = s.go(gate.recv)
        cancel()
        gate.send(1)
    assert g.join() == 1
    assert ctx.is_done

"""golib.scope ended from outside: by cancellation, generators, signals, the end of the process."""

from __future__ import annotations

import gc
import signal

import golib
import pytest
from golib import Cancelled, Chan, go, scope, shield, timeout
from golib.context import with_cancel

from support import (
    Boom,
    Thread,
    Tracked,
    finish,
    parked,
    run_ok,
    start_script,
    wait_line,
)

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

"""Cancellation beside run, signals, forks and exits."""

from __future__ import annotations

import golib
import pytest
from golib import Cancelled, Chan, shield, timeout
from golib.context import background, with_cancel

from support import SLACK, Boom, run_ok, run_script

# -- run ---------------------------------------------------------------------------------------


def test_run_under_a_timeout_cancels_its_main_goroutine(place):
    trace = []

    def main():
        try:
            Chan().recv()
        finally:
            with shield():
                golib.sleep(0.002)
                trace.append("cleaned up")

    def check():
        trace.clear()
        with pytest.raises(TimeoutError):
            with timeout(0.003):
                golib.run(main)
        assert trace == ["cleaned up"]

    place(check)


def test_a_main_goroutine_that_ends_well_after_the_timeout_gives_its_value():
    def main():
        with shield():
            golib.sleep(0.02)
        return "value"

    with timeout(0.001):
        assert golib.run(main) == "value"


def test_run_under_a_done_context_starts_and_cancels():
    ctx, cancel = with_cancel(background())
    cancel()
    with ctx, pytest.raises(Cancelled):
        golib.run(Chan().recv)
    assert golib.run(lambda: 1) == 1


def test_what_main_raises_after_its_cancellation_is_what_run_raises():
    def main():
        try:
            Chan().recv()
        except Cancelled:
            raise Boom from None

    with pytest.raises(Boom), timeout(0.002):
        golib.run(main)


def test_mains_own_cancellation_leaves_run_as_the_same_object():
    raised = []

    def main():
        golib._golib._current().cancel()
        try:
            Chan().recv()
        except Cancelled as error:
            raised.append(error)
            raise

    with pytest.raises(Cancelled) as info:
        golib.run(main)
    assert info.value is raised[0]


def test_a_main_goroutine_that_cancels_its_caller_and_returns_gives_its_value():
    def main(cancel):
        cancel()
        return "value"

    for _ in range(50):
        ctx, cancel = with_cancel(background())
        with ctx:
            assert golib.run(main, cancel) == "value"


def test_run_and_the_timeout_around_it_race_to_one_outcome(rng):
    for _ in range(200):
        seconds = rng.random() * 0.001

        def main():
            golib.sleep(seconds)
            return "value"

        try:
            with timeout(0.0005):
                assert golib.run(main) == "value"
        except TimeoutError:
            pass
        golib.gosched()


# -- the process -------------------------------------------------------------------------------


def test_ctrl_c_in_a_timeout_is_raised_once_and_the_block_goes_on():
    out = run_ok(
        """
        import golib, os, signal
        def main():
            with golib.timeout(3600, raises=False) as ctx:
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    golib.sleep(5)
                    print("not interrupted")
                except KeyboardInterrupt:
                    pass
                golib.gosched()
        main()
        golib.run(main)
        """
    )
    assert out == ""


def test_a_child_leaves_the_blocks_that_it_was_forked_in():
    for run in ("main()", "golib.run(main)", "golib.go(main).join()"):
        out = run_ok(
            f"""
            import golib, os
            from golib.context import *
            def main():
                ctx, cancel = with_timeout(background(), 3600)
                with golib.timeout(3600), ctx, golib.shield(), golib.timeout(3600) as inner:
                    others = [golib.go(lambda: golib.Chan().recv(3600)) for _ in range(5)]
                    golib.sleep(0.01)
                    pid = os.fork()
                    golib.sleep(0.001)
                    if pid == 0:
                        cancel()
                        with golib.timeout(0.005, raises=False):
                            golib.Chan().recv()
                            print("not reached", flush=True)
                if pid == 0:
                    golib.gosched()
                    with golib.timeout(0.005, raises=False):
                        golib.Chan().recv()
                    print("child", flush=True)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
                print("parent", flush=True)
            {run}
            """
        )
        assert out == "child\nparent\n"


@pytest.mark.parametrize("run", ["main()", "golib.run(main)", "golib.go(main).join()"])
def test_a_timeout_runs_out_in_the_forked_child_too(run):
    out = run_ok(
        f"""
        import golib, os
        def main():
            pid = None
            try:
                with golib.timeout({0.3 * SLACK}):
                    golib.gosched()
                    pid = os.fork()
                    golib.sleep(30)
            except TimeoutError:
                os.write(1, b"child " if pid == 0 else b"parent ")
            if pid == 0:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        {run}
        """
    )
    assert sorted(out.split()) == ["child", "parent"]


def test_an_exception_that_a_cancelled_goroutine_raises_is_reported():
    result = run_script(
        """
        import golib
        def task():
            try:
                golib.Chan().recv()
            finally:
                1 / 0
        g = golib.go(task)
        golib.gosched()
        g.cancel()
        del g
        while golib.num_goroutine():
            golib.sleep(0.001)
        golib.sleep(0.05)
        """
    )
    assert result.rc == 0
    assert "ZeroDivisionError" in result.err


def test_the_interpreter_ends_while_everything_is_being_cancelled():
    for _ in range(3):
        run_ok(
            """
            import golib, threading
            ch = golib.Chan()
            def task(i):
                while True:
                    with golib.timeout(0.0001 * (i % 5), raises=False):
                        ch.recv()
            def thread():
                while True:
                    with golib.timeout(0.0003, raises=False):
                        ch.recv()
            gs = [golib.go(task, i) for i in range(50)]
            threading.Thread(target=thread, daemon=True).start()
            golib.sleep(0.02)
            for g in gs[::2]:
                g.cancel()
            """
        )


def test_the_first_timeout_keeps_nothing_of_the_contextvars_around_it():
    run_ok(
        """
        import contextvars, gc, weakref
        import golib

        class Big:
            pass

        var = contextvars.ContextVar("var")

        def first():
            big = Big()
            var.set(big)
            with golib.timeout(5):
                pass
            return weakref.ref(big)

        ref = contextvars.copy_context().run(first)
        gc.collect()
        assert ref() is None
        """
    )

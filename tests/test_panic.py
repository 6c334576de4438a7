"""Exceptions that nobody reads: reported once, in Go's shape, to the handler or to stderr."""

from __future__ import annotations

import gc
import re

import golib
import pytest
from golib import Goexit, go, goexit

from support import Boom, eventually, run_ok, run_script


def fail(text="x"):
    raise Boom(text)


# -- the handler -------------------------------------------------------------------------------


def test_an_exception_without_a_handle_is_reported_at_once(panics):
    go(fail)
    eventually(lambda: panics)
    (g, error), *rest = panics
    assert isinstance(g, golib.Goroutine)
    assert g.name == "fail"
    assert isinstance(error, Boom)
    assert not rest


def test_an_exception_that_was_joined_is_not_reported(panics):
    g = go(fail)
    with pytest.raises(Boom):
        g.join()
    del g
    gc.collect()
    assert panics == []


def test_an_exception_that_was_read_is_not_reported(panics):
    g = go(fail)
    assert g.exception() is not None
    del g
    gc.collect()
    assert panics == []


def test_an_exception_is_reported_when_its_handle_dies_unread(panics):
    g = go(fail)
    eventually(g.done)
    assert panics == []
    del g
    eventually(lambda: gc.collect() is not None and len(panics) == 1)


def test_no_exception_is_reported_twice(panics):
    for _ in range(20):
        go(fail)
    eventually(lambda: len(panics) == 20)
    gc.collect()
    golib.run(lambda: None)
    assert len(panics) == 20


def test_a_failed_join_timeout_does_not_count_as_reading(panics):
    ch = golib.Chan()
    g = go(lambda: ch.recv() and fail())
    with pytest.raises(TimeoutError):
        g.join(0)
    ch.send(1)
    eventually(g.done)
    del g
    eventually(lambda: gc.collect() is not None and len(panics) == 1)


def test_other_goroutines_go_on(panics):
    ch = golib.Chan()
    g = go(ch.recv)
    go(fail)
    eventually(lambda: panics)
    ch.send("alive")
    assert g.join() == "alive"


def test_a_handler_can_be_set_and_removed():
    seen = []
    golib.set_panic_handler(lambda g, error: seen.append(str(error)))
    go(fail, "one")
    eventually(lambda: seen)
    golib.set_panic_handler(None)
    assert seen == ["one"]


@pytest.mark.parametrize("bad", [1, "f", object()], ids=repr)
def test_a_handler_that_is_not_callable_is_a_type_error(bad):
    with pytest.raises(TypeError):
        golib.set_panic_handler(bad)


def test_an_exception_in_wait_groups_go_is_reported(panics):
    wg = golib.sync.WaitGroup()
    wg.go(fail)
    wg.wait()
    eventually(lambda: panics)


def test_the_reports_of_run_are_not_made():
    result = run_script(
        """
        import golib
        def main():
            raise KeyError
        try:
            golib.run(main)
        except KeyError:
            print("caught")
        """
    )
    assert result == (0, "caught\n", "")


# -- the text ----------------------------------------------------------------------------------

REPORT = r"""goroutine (\d+) \[running\]: fail
Traceback \(most recent call last\):
  File "<string>", line 4, in fail.*
ValueError: the text
created by main at <string>:6( in goroutine \d+)?
"""


def test_a_report_has_gos_shape():
    result = run_script(
        """
        import golib
        def fail():
            raise ValueError("the text")
        def main():
            g = golib.go(fail)
            g._wait()
            del g
        golib.run(main)
        """
    )
    assert result.rc == 0
    assert re.search(REPORT, result.err, re.DOTALL), result.err


def test_a_report_is_made_when_the_handle_dies():
    result = run_script(
        """
        import golib
        from support import eventually
        def fail():
            raise ValueError("the text")
        g = golib.go(fail)
        eventually(g.done)
        print("silent so far", flush=True)
        del g
        print("end")
        """
    )
    assert result.rc == 0
    assert result.err.count("ValueError: the text") == 1


def test_an_unread_exception_is_reported_at_exit_at_the_latest():
    result = run_script(
        """
        import golib
        from support import eventually
        def fail():
            raise ValueError("the text")
        kept = golib.go(fail)
        eventually(kept.done)
        """
    )
    assert result.rc == 0
    assert result.err.count("ValueError: the text") == 1


def test_causes_are_part_of_a_report():
    result = run_script(
        """
        import golib
        def fail():
            try:
                raise KeyError("the cause")
            except KeyError as error:
                raise ValueError("the text") from error
        golib.go(fail)
        [golib.sleep(0.001) for _ in iter(golib.runtime.goroutines, [])]
        """
    )
    assert "KeyError: 'the cause'" in result.err
    assert "ValueError: the text" in result.err


def test_an_exception_whose_str_raises_is_reported_all_the_same():
    result = run_script(
        """
        import golib
        class Bad(Exception):
            def __str__(self):
                raise RuntimeError
        def fail():
            raise Bad
        golib.go(fail)
        [golib.sleep(0.001) for _ in iter(golib.runtime.goroutines, [])]
        print("alive")
        """
    )
    assert (result.rc, result.out) == (0, "alive\n")
    assert "Bad" in result.err


def test_a_handler_that_raises_is_reported_and_does_no_harm():
    result = run_script(
        """
        import golib
        def handler(g, error):
            raise RuntimeError("from the handler")
        def fail():
            raise ValueError("the text")
        golib.set_panic_handler(handler)
        golib.go(fail)
        [golib.sleep(0.001) for _ in iter(golib.runtime.goroutines, [])]
        print("alive", golib.go(int).join())
        """
    )
    assert (result.rc, result.out) == (0, "alive 0\n")
    assert "from the handler" in result.err
    assert "the text" in result.err


def test_a_handler_may_use_golib():
    out = run_ok(
        """
        import golib
        ch = golib.Chan()
        def fail():
            raise ValueError("the text")
        golib.set_panic_handler(lambda g, error: ch.send((g.name, str(error))))
        golib.go(fail)
        print(ch.recv(20))
        """
    )
    assert out == "('fail', 'the text')\n"


def test_stderr_may_be_missing():
    result = run_script(
        """
        import golib, sys
        sys.stderr = None
        golib.go(lambda: 1 / 0)
        [golib.sleep(0.001) for _ in iter(golib.runtime.goroutines, [])]
        print("alive")
        """
    )
    assert (result.rc, result.out) == (0, "alive\n")


# -- the environment ---------------------------------------------------------------------------


def test_golib_panic_exit_ends_the_process_with_status_2():
    result = run_script(
        """
        import golib
        def fail():
            raise ValueError("the text")
        golib.go(fail)
        golib.sleep(30)
        print("not reached")
        """,
        env={"GOLIB_PANIC": "exit"},
    )
    assert (result.rc, result.out) == (2, "")
    assert "ValueError: the text" in result.err


def test_golib_panic_print_goes_on():
    result = run_script(
        "import golib; golib.go(lambda: 1 / 0); [golib.sleep(0.001) for _ in iter(golib.runtime.goroutines, [])]; print('alive')",
        env={"GOLIB_PANIC": "print"},
    )
    assert (result.rc, result.out) == (0, "alive\n")
    assert "ZeroDivisionError" in result.err


TRACEBACK = """
    import golib
    from support import parked
    def bystander(ch):
        ch.recv()
    g = parked(golib.go(bystander, golib.Chan()))
    golib.go(lambda: 1 / 0)
    [golib.sleep(0.001) for _ in iter(golib.runtime.goroutines, [g])]
    """


def test_golib_traceback_all_shows_the_other_goroutines():
    result = run_script(TRACEBACK, env={"GOLIB_TRACEBACK": "all"})
    assert "ZeroDivisionError" in result.err
    assert "[chan receive" in result.err
    assert "bystander" in result.err


@pytest.mark.parametrize("env", [{}, {"GOLIB_TRACEBACK": "single"}], ids=["default", "single"])
def test_golib_traceback_single_shows_only_the_failed_one(env):
    result = run_script(TRACEBACK, env=env)
    assert "ZeroDivisionError" in result.err
    assert "[chan receive" not in result.err


# -- the silent ends ---------------------------------------------------------------------------


def test_goexit_ends_the_goroutine_and_runs_finally(panics):
    trace = []

    def task():
        try:
            with golib.Chan():
                goexit()
        finally:
            trace.append("finally")
        trace.append("not reached")

    assert go(task).join() is None
    go(task)
    eventually(lambda: len(trace) == 2)
    assert trace == ["finally", "finally"]
    assert panics == []


def test_goexit_is_no_exception_for_except_exception():
    def task():
        try:
            goexit()
        except Exception:
            return "caught"

    assert go(task).join() is None
    assert issubclass(Goexit, BaseException)
    assert not issubclass(Goexit, Exception)


def test_the_exception_of_a_goexit_is_none():
    assert go(goexit).exception() is None


def test_a_caught_goexit_lets_the_goroutine_go_on():
    def task():
        try:
            goexit()
        except Goexit:
            return "went on"

    assert go(task).join() == "went on"


def test_system_exit_in_a_goroutine_is_silent(panics):
    import sys

    done = golib.Chan(1)

    def task():
        try:
            sys.exit(3)
        finally:
            done.send(1)

    before = golib.num_goroutine()
    go(task)
    done.recv()
    eventually(lambda: golib.num_goroutine() == before)
    assert panics == []


def test_system_exit_in_a_goroutine_leaves_the_status_alone():
    result = run_script(
        "import golib, sys; golib.go(sys.exit, 3); [golib.sleep(0.001) for _ in iter(golib.runtime.goroutines, [])]; print('alive')"
    )
    assert result == (0, "alive\n", "")


def test_exceptions_in_destructors_go_to_the_unraisable_hook():
    result = run_script(
        """
        import golib
        class Bad:
            def __del__(self):
                raise ValueError("in del")
        def task():
            Bad()
            golib.gosched()
            return "ended"
        print(golib.go(task).join())
        """
    )
    assert (result.rc, result.out) == (0, "ended\n")
    assert "in del" in result.err

"""Deadlock: raised in main when nothing can ever wake anyone, and never otherwise."""

from __future__ import annotations

import traceback

import golib
import pytest
from golib import Chan, Deadlock, go, run

from support import run_ok, run_script

TEXT = r"^all goroutines are asleep - deadlock!"

WAITS = {
    "recv": lambda: Chan().recv(),
    "send": lambda: Chan().send(1),
    "recv_ok": lambda: Chan().recv_ok(),
    "iteration": lambda: list(Chan()),
    "nil": lambda: golib.nil.recv(),
    "select": lambda: golib.select(Chan(), golib.send(Chan(), 1)),
    "select of nothing": lambda: golib.select(),
    "prepared select": lambda: golib.Select(golib.recv(Chan())).wait(),
    "endless timeout": lambda: Chan().recv(float("inf")),
}


def locked_twice():
    m = golib.sync.Mutex()
    m.lock()
    m.lock()


def never_done():
    wg = golib.sync.WaitGroup()
    wg.add(1)
    wg.wait()


WAITS |= {"mutex": locked_twice, "wait group": never_done}


@pytest.mark.parametrize("name", list(WAITS))
def test_a_run_that_nobody_can_wake_raises_deadlock(name):
    with pytest.raises(Deadlock, match=TEXT):
        run(WAITS[name])


@pytest.mark.parametrize("name", list(WAITS))
def test_the_main_thread_that_nobody_can_wake_raises_deadlock(name):
    with pytest.raises(Deadlock, match=TEXT):
        WAITS[name]()


def test_deadlock_is_a_runtime_error_with_the_full_dump():
    ch = Chan()

    def stuck_here():
        ch.recv()

    def main():
        g = go(stuck_here)
        try:
            g.join()
        except Deadlock as error:
            return error.dump, g.id
        finally:
            ch.send(1)
            g.join()

    dump, ident = run(main)
    assert f"goroutine {ident} [chan receive" in dump
    assert "stuck_here" in dump
    assert issubclass(Deadlock, RuntimeError)


def test_goroutines_that_wait_for_each_other_are_a_deadlock():
    def main():
        a, b = Chan(), Chan()
        g = go(lambda: a.recv() and b.send(1))
        h = go(lambda: b.recv() and a.send(1))
        try:
            with pytest.raises(Deadlock):
                g.join()
        finally:
            a.close(), b.close()
            g.exception(), h.exception()

    run(main)


def test_only_main_gets_the_deadlock():
    def main():
        ch, errors = Chan(), []

        def other():
            try:
                return ch.recv()
            except BaseException as error:
                errors.append(error)

        g = go(other)
        with pytest.raises(Deadlock):
            Chan().recv()
        ch.send("fine")
        return g.join(), errors

    assert run(main) == ("fine", [])


def test_after_a_deadlock_everything_works():
    def main():
        with pytest.raises(Deadlock):
            Chan().recv()
        ch = Chan()
        g = go(ch.send, 1)
        return ch.recv(), g.join()

    assert run(main) == (1, None)


def test_an_operation_left_by_deadlock_leaves_no_trace():
    ch = Chan()
    with pytest.raises(Deadlock):
        ch.recv()
    assert ch.try_send(1) is False
    with pytest.raises(Deadlock):
        ch.send(1)
    assert ch.try_recv() is None


def test_a_sleeping_goroutine_is_no_deadlock():
    def main():
        ch = Chan()
        g = go(lambda: (golib.sleep(0.05), ch.send("woken"))[1])
        return ch.recv(), g.join()

    assert run(main)[0] == "woken"


def test_a_timeout_is_no_deadlock():
    with pytest.raises(TimeoutError):
        run(Chan().recv, 0.05)


def test_a_goroutine_in_a_blocking_call_is_no_deadlock():
    import time

    def main():
        ch = Chan()
        g = go(lambda: (time.sleep(0.2), ch.send("woken"))[1])
        return ch.recv(), g.join()

    assert run(main)[0] == "woken"


def test_another_python_thread_is_no_deadlock():
    out = run_ok(
        """
        import golib, threading, time
        ch = golib.Chan()
        threading.Thread(target=lambda: (time.sleep(0.3), ch.send("woken"))).start()
        print(golib.run(ch.recv))
        """
    )
    assert out == "woken\n"


def test_a_deadlock_appears_when_the_last_other_thread_ends():
    result = run_script(
        """
        import golib, threading, time
        threading.Thread(target=time.sleep, args=(0.3,)).start()
        golib.run(golib.Chan().recv)
        """
    )
    assert result.rc == 1
    assert "all goroutines are asleep - deadlock!" in result.err


def test_a_deadlock_in_a_program_ends_it_with_a_traceback():
    result = run_script("import golib; golib.Chan().recv()")
    assert (result.rc, result.out) == (1, "")
    assert "Deadlock: all goroutines are asleep - deadlock!" in result.err


def test_a_deadlock_appears_when_the_last_timer_has_fired():
    def main():
        g = go(golib.sleep, 0.02)
        with pytest.raises(Deadlock):
            Chan().recv()
        g.join()

    run(main)


def held_by_a_scope():
    with golib.scope() as s:
        s.go(Chan().recv)


def cond():
    c = golib.sync.Cond()
    with c:
        c.wait()


REASONS = {
    "wait group": (never_done, "sync.WaitGroup.Wait"),
    "channel": (lambda: Chan().recv(), "chan receive"),
    "cond": (cond, "sync.Cond.Wait"),
    "select": (WAITS["select"], "select"),
    "iteration": (WAITS["iteration"], "chan receive"),
}


@pytest.mark.parametrize("name", list(REASONS))
def test_the_dump_shows_main_as_it_waited(name):
    fn, reason = REASONS[name]
    with pytest.raises(Deadlock) as caught:
        run(lambda: fn())
    header, *lines = caught.value.dump.split("\n\n")[0].splitlines()
    assert header.startswith("goroutine ")
    assert header.endswith(f" [{reason}]: <lambda>")
    assert [line.split('"')[1] for line in lines if line.startswith("  File")] == [__file__] * 2


def test_the_dump_shows_the_main_thread_as_it_waited():
    with pytest.raises(Deadlock) as caught:
        never_done()
    first = caught.value.dump.split("\n\n")[0]
    assert first.startswith("thread MainThread [sync.WaitGroup.Wait]:\n")
    assert first.splitlines()[-1] == "    wg.wait()"
    assert "golib/_" not in first


def test_an_uncaught_deadlock_prints_the_dump_once():
    result = run_script(
        """
        import golib
        def stuck():
            golib.Chan().recv()
        def main():
            golib.go(stuck).join()
        golib.run(main)
        """
    )
    assert result.rc == 1
    for line in (DEADLOCK_LINE, "goroutine 1 [join]: main", "goroutine 2 [chan receive]: stuck"):
        assert result.err.count(line) == 1, result.err


DEADLOCK_LINE = "golib.Deadlock: all goroutines are asleep - deadlock!"


def test_a_deadlock_at_the_end_of_a_scope_has_its_traceback():
    for place in (run, lambda fn: fn()):
        with pytest.raises(ExceptionGroup) as caught:
            place(held_by_a_scope)
        (error,) = caught.value.exceptions
        (frame,) = traceback.extract_tb(error.__traceback__)
        assert isinstance(error, Deadlock)
        assert frame.line == "with golib.scope() as s:"


def test_a_deadlock_in_a_scope_is_printed_with_traceback_and_dump():
    result = run_script(
        """
        import golib
        def main():
            with golib.scope() as s:
                s.go(golib.Chan().recv)
        golib.run(main)
        """
    )
    assert result.rc == 1
    assert result.err.count(DEADLOCK_LINE) == 1
    assert result.err.count("goroutine 1 [sync.WaitGroup.Wait]: main") == 1, result.err
    tail = result.err.split("1 ------")[1]
    assert "in main" in tail.split(DEADLOCK_LINE)[0]

"""run and main: the value, the exception, nesting, several threads, the main thread's identity."""

from __future__ import annotations

import signal
import threading
import traceback

import golib
import pytest
from golib import Chan, go, run

from support import Boom, Thread, eventually, on_thread, parked, run_ok, run_script


def test_run_returns_the_value_of_main(place):
    assert place(run, lambda a, b: a + b, 1, 2) == 3


def test_run_passes_keywords():
    assert run(lambda *a, **k: (a, k), 1, main=2, fn=3) == ((1,), {"main": 2, "fn": 3})


def test_run_raises_the_same_exception_with_its_traceback(place):
    error = Boom("x")

    def fail():
        raise error

    def check():
        with pytest.raises(Boom) as caught:
            run(fail)
        assert caught.value is error
        return [f.name for f in traceback.extract_tb(error.__traceback__)][-1]

    assert place(check) == "fail"
    error.__traceback__ = None


@pytest.mark.parametrize("bad", [None, 1, "f", object()], ids=repr)
def test_run_of_what_is_not_callable_is_a_type_error(bad):
    with pytest.raises(TypeError):
        run(bad)


def test_run_may_be_called_again_and_again():
    assert [run(lambda i=i: i) for i in range(100)] == list(range(100))


def test_a_nested_run_just_calls_main():
    def outer():
        before = golib.num_goroutine(), threading.get_ident()
        return run(lambda: (golib.num_goroutine(), threading.get_ident())) == before

    assert run(outer) is True
    assert go(outer).join() is True


def test_an_exception_crosses_a_nested_run():
    def inner():
        raise Boom

    with pytest.raises(Boom):
        run(lambda: run(inner))


def test_run_works_on_several_threads_at_once():
    ch = Chan()

    def main(k):
        ch.send(k)
        return k

    threads = [Thread(run, main, k) for k in range(5)]
    assert sorted(ch.recv() for _ in range(5)) == list(range(5))
    assert [t.join() for t in threads] == list(range(5))


def test_run_does_not_wait_for_the_others():
    ch = Chan()
    g = run(lambda: go(ch.recv))
    assert not g.done()
    ch.send("daemon")
    assert g.join() == "daemon"


def test_goroutines_go_on_between_and_after_runs():
    ch, out = Chan(), Chan(10)

    def serve():
        for v in ch:
            out.send(v + 1)

    g = run(lambda: go(serve))
    for i in range(3):
        run(ch.send, i)
    ch.close()
    g.join()
    assert [out.recv() for _ in range(3)] == [1, 2, 3]


def test_the_exception_that_the_caller_handles_is_not_the_context_of_mains():
    def fail():
        raise Boom

    with pytest.raises(Boom) as caught:
        run(fail)
    assert caught.value.__context__ is None


# -- the decorator -----------------------------------------------------------------------------


def test_main_wraps_a_function():
    @golib.main
    def program(a, *, b=2):
        """What it does."""
        return a, b, golib.num_goroutine()

    count = golib.num_goroutine()
    assert program(1) == (1, 2, count + 1)
    assert program(1, b=3)[1] == 3
    assert program.__name__ == "program"
    assert program.__doc__ == "What it does."


def test_main_runs_nothing_by_itself():
    ran = []

    @golib.main
    def program():
        ran.append(1)

    assert ran == []
    program()
    assert ran == [1]


def test_main_needs_a_callable():
    with pytest.raises(TypeError):
        golib.main(3)


def test_the_exit_code_of_main_is_that_of_the_program():
    for code, rc in (("3", 3), ("None", 0), ("0", 0)):
        result = run_script(f"import golib, sys; golib.run(lambda: sys.exit({code}))")
        assert result == (rc, "", "")


def test_an_exception_out_of_run_ends_the_program_as_usual():
    result = run_script("import golib; golib.run(lambda: 1 / 0)")
    assert result.rc == 1
    assert result.err.rstrip().endswith("ZeroDivisionError: division by zero")
    assert result.err.count("Traceback") == 1


# -- the main thread's identity ----------------------------------------------------------------


def test_mains_goroutine_is_the_main_thread_for_python():
    def main():
        return (
            threading.current_thread() is threading.main_thread(),
            threading.get_ident(),
            threading.current_thread().name,
        )

    assert run(main) == (True, threading.get_ident(), "MainThread")


def test_it_stays_the_main_thread_after_parking():
    def main():
        ch = Chan()
        for _ in range(20):
            g = go(ch.send, 1)
            ch.recv()
            g.join()
        return threading.current_thread() is threading.main_thread()

    assert run(main) is True


def test_other_goroutines_are_not_the_main_thread():
    def main():
        return go(lambda: threading.current_thread() is threading.main_thread()).join()

    assert run(main) is False


def test_the_main_goroutine_on_another_thread_is_not_the_main_thread():
    assert on_thread(run, lambda: threading.current_thread() is threading.main_thread()) is False


def test_signal_handlers_can_be_set_in_mains_goroutine():
    def main():
        seen = []
        previous = signal.signal(signal.SIGUSR1, lambda *a: seen.append(a[0]))
        try:
            signal.raise_signal(signal.SIGUSR1)
            eventually(lambda: seen)
        finally:
            signal.signal(signal.SIGUSR1, previous)
        return seen

    assert run(main) == [signal.SIGUSR1]


def test_signal_handlers_cannot_be_set_in_another_goroutine():
    def main():
        g = go(signal.signal, signal.SIGUSR1, signal.SIG_DFL)
        return isinstance(g.exception(), ValueError)

    assert run(main) is True


def test_set_wakeup_fd_works_in_mains_goroutine():
    import socket

    def main():
        a, b = socket.socketpair()
        with a, b:
            a.setblocking(False)
            old = signal.set_wakeup_fd(a.fileno())
            previous = signal.signal(signal.SIGUSR1, lambda *_: None)
            try:
                signal.raise_signal(signal.SIGUSR1)
                return b.recv(1) == bytes([signal.SIGUSR1])
            finally:
                signal.signal(signal.SIGUSR1, previous)
                signal.set_wakeup_fd(old)

    assert run(main) is True


def test_a_signal_handler_runs_while_main_is_parked():
    out = run_ok(
        """
        import golib, os, signal, threading
        def main():
            ch = golib.Chan(1)
            seen = []
            def handler(signum, frame):
                seen.append(threading.current_thread() is threading.main_thread())
                ch.try_send("from the handler")
            signal.signal(signal.SIGUSR1, handler)
            golib.go(lambda: (golib.sleep(0.05), os.kill(os.getpid(), signal.SIGUSR1)) and None)
            print(ch.recv(), seen)
        golib.run(main)
        """
    )
    assert out == "from the handler [True]\n"


def test_what_a_signal_handler_raises_is_raised_in_main():
    out = run_ok(
        """
        import golib, os, signal
        def handler(signum, frame):
            raise KeyError("from the handler")
        def main():
            signal.signal(signal.SIGUSR1, handler)
            other = golib.go(golib.Chan().recv, 3600)
            golib.go(lambda: (golib.sleep(0.05), os.kill(os.getpid(), signal.SIGUSR1)) and None)
            try:
                golib.Chan().recv(20)
            except KeyError as error:
                print("main", error, other.done())
        golib.run(main)
        """
    )
    assert out == "main 'from the handler' False\n"


def test_a_signal_handler_runs_in_the_bare_main_threads_blocking_call():
    out = run_ok(
        """
        import golib, os, signal
        ch = golib.Chan()
        signal.signal(signal.SIGALRM, lambda *_: golib.go(ch.send, "x") and None)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        print(ch.recv(20))
        """
    )
    assert out == "x\n"


def test_a_parked_main_does_not_hold_up_the_others():
    def main():
        ch, done = Chan(), Chan()
        g = go(lambda: [ch.recv() for _ in range(100)] and done.send("done"))
        h = go(lambda: [ch.send(i) for i in range(100)] and None)
        assert done.recv() == "done"
        g.join(), h.join()
        return True

    assert run(main) is True


def test_joining_mains_goroutine_from_a_thread():
    handles = Chan(1)

    def main():
        handles.send(next(g for g in golib.runtime.goroutines() if g.status() == "running"))
        golib.sleep(0.05)
        return "value"

    t = Thread(run, main)
    assert handles.recv().join(10) == "value"
    assert t.join() == "value"


def test_a_goroutine_outlives_the_run_that_started_it():
    ch = Chan()
    g = run(lambda: parked(go(ch.recv)))
    run(lambda: None)
    ch.send(1)
    assert g.join() == 1

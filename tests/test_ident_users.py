"""Users of a thread's ident: _current_frames, faulthandler, pthread_kill."""

from __future__ import annotations

import signal
import sys
import threading

import golib
import pytest
from golib import Chan, go, gosched

from support import parked, run_ok, run_script


def test_current_frames_shows_goroutines_under_their_idents():
    idents, gate = Chan(), Chan()

    def parked_in_here():
        idents.send(threading.get_ident())
        gate.recv()

    g = go(parked_in_here)
    ident = idents.recv()
    parked(g, "chan receive")
    assert sys._current_frames()[ident].f_code.co_name == "parked_in_here"
    gate.send(1)
    g.join()


def test_faulthandler_shows_goroutines():
    # In a process of its own: faulthandler prints a hundred threads at most, and idle goroutines'
    # states, kept for the next ones, count.
    result = run_script(
        """
        import faulthandler, sys
        from golib import Chan, go
        from support import parked
        gate = Chan()
        def parked_in_here():
            gate.recv()
        g = parked(go(parked_in_here))
        faulthandler.dump_traceback(sys.stdout, all_threads=True)
        gate.send(1)
        g.join()
        """
    )
    assert "parked_in_here" in result.out, result


@pytest.mark.parametrize("enabled", ["first", "later"])
def test_a_segmentation_fault_in_a_goroutine_reaches_faulthandler(enabled):
    """golib's handler is for stacks that overflow; it leaves other faults alone."""
    result = run_script(
        f"""
        import ctypes, faulthandler, golib
        if {enabled == "later"}:
            golib.go(int).join()
        faulthandler.enable()
        def crash_here():
            ctypes.string_at(0)
        golib.go(crash_here).join()
        """
    )
    assert (result.rc, result.out) == (-signal.SIGSEGV, ""), result
    assert result.err.startswith("Fatal Python error: Segmentation fault\n"), result
    assert "in crash_here" in result.err, result


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
def test_setprofile_all_threads_shows_the_calls_of_goroutines():
    out = run_ok(
        """
        import threading
        from golib import Chan, go
        from support import parked
        seen = []
        def profile(frame, event, arg):
            if frame.f_code.co_name == "called":
                seen.append((event, threading.get_ident()))
        def called():
            return threading.get_ident()
        def task(ch):
            ch.recv()
            return called()
        ch = Chan()
        gs = [parked(go(task, ch), "chan receive") for _ in range(3)]
        threading.setprofile_all_threads(profile)
        for _ in gs:
            ch.send(1)
        idents = [g.join() for g in gs]
        threading.setprofile_all_threads(None)
        print({(e, i) for e, i in seen if e in ("call", "return")}
              == {(e, i) for e in ("call", "return") for i in idents}, len(set(idents)))
        """
    )
    assert out == "True 3\n"


def test_an_asynchronous_exception_reaches_the_goroutine():
    import ctypes

    idents, ch = Chan(1), Chan()

    class Stop(Exception):
        pass

    def task():
        idents.send(threading.get_ident())
        ch.recv()
        while True:
            gosched()

    g = go(task)
    ident = idents.recv()
    set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_async_exc(ctypes.c_ulong(ident), ctypes.py_object(Stop)) == 1
    ch.send(1)
    assert isinstance(g.exception(20), Stop)


def test_pthread_kill_of_a_running_goroutines_ident_reaches_its_thread():
    out = run_ok(
        """
        import golib, signal, threading
        from support import eventually
        def main():
            seen = []
            signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
            def task():
                signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            golib.go(task).join()
            eventually(lambda: seen)
            print(seen)
        golib.run(main)
        """
    )
    assert out == "[1]\n"


def test_pthread_kill_of_a_parked_or_dead_goroutine_is_a_process_lookup_error():
    idents, gate = Chan(), Chan()

    def task():
        idents.send(threading.get_ident())
        gate.recv()

    g = go(task)
    ident = idents.recv()
    parked(g, "chan receive")
    try:
        with pytest.raises(ProcessLookupError):
            signal.pthread_kill(ident, 0)
    finally:
        gate.send(1)
        g.join()


def test_pthread_getcpuclockid_of_a_goroutine_does_not_crash():
    result = run_script(
        """
        import golib, threading, time
        def task():
            clock = time.pthread_getcpuclockid(threading.get_ident())
            return time.clock_gettime(clock) >= 0
        print(golib.go(task).join(), time.pthread_getcpuclockid(threading.get_ident()) != 0)
        """
    )
    assert result == (0, "True True\n", "")


def test_pthread_kill_of_the_main_thread_is_unchanged():
    golib.go(int).join()
    assert signal.pthread_kill(threading.get_ident(), 0) is None


def test_pthread_sigmask_in_a_goroutine_does_no_harm_to_others():
    def task():
        return signal.pthread_sigmask(signal.SIG_BLOCK, []) is not None

    assert all(g.join() for g in [go(task) for _ in range(5)])


def test_threads_can_be_started_and_joined_by_goroutines():
    def task(i):
        seen = []
        thread = threading.Thread(target=seen.append, args=(i,))
        thread.start()
        thread.join()
        return seen == [i]

    assert all(g.join() for g in [go(task, i) for i in range(10)])


def test_a_thread_pool_works_inside_goroutines():
    from concurrent.futures import ThreadPoolExecutor

    def task(i):
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(abs, range(-i, 0)))

    assert [g.join() for g in [go(task, i) for i in range(5)]] == [0, 1, 3, 6, 10]


def test_a_warning_filter_and_a_redirected_stdout_survive_parks(capsys):
    import contextlib
    import io

    def task():
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            print("inside")
        return out.getvalue()

    assert go(task).join() == "inside\n"

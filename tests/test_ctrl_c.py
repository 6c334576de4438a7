"""Ctrl-C: KeyboardInterrupt in the main goroutine of run (or the main thread's call), nowhere else."""

from __future__ import annotations

import signal
import textwrap
import time

import pytest

from support import SLACK, Output, finish, signal_at, start_script, wait_line

#: A goroutine that runs `bystander(wait)` records any exception in its wait.
BYSTANDER = textwrap.dedent("""
    import golib, os, sys, threading, time
    from golib import Chan, go

    disturbed = []

    def bystander(wait):
        try:
            wait()
        except BaseException as error:
            disturbed.append(repr(error))
            raise
    """)

PROGRAM = BYSTANDER + textwrap.dedent("""
    never = Chan()

    def busy():
        while True:
            golib.gosched()

    def wait_in_main():
        {wait}

    def main():
        for wait in (never.recv, lambda: golib.sleep(3600), lambda: golib.select(never, Chan()), busy):
            go(bystander, wait)
        golib.sleep(0.02)
        print("ready", flush=True)
        try:
            wait_in_main()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        golib.sleep(0.05)
        print("disturbed", disturbed, flush=True)
    {start}
    """)

WAITS = {
    "recv": "Chan().recv()",
    "send": "Chan().send(1)",
    "timed recv": "Chan().recv(3600)",
    "nil": "golib.nil.recv()",
    "select": "golib.select(Chan(), Chan())",
    "select of nothing": "golib.select()",
    "prepared select": "golib.Select(golib.recv(Chan())).wait()",
    "sleep": "golib.sleep(3600)",
    "join": "go(Chan().recv).join()",
    "wait group": "wg = golib.sync.WaitGroup(); wg.add(1); wg.wait()",
    "mutex": "m = golib.sync.Mutex(); m.lock(); m.lock()",
    "iteration": "list(Chan())",
    # Not exec("…"): CPython remembers a KeyboardInterrupt that leaves it, and exits with SIGINT.
    "gosched": "for _ in iter(int, 1): golib.gosched()",
    "cpu": "for _ in iter(int, 1): pass",
    "time.sleep": "time.sleep(3600)",
    "lock": "l = threading.Lock(); l.acquire(); l.acquire()",
}


def interrupt(code: str, seconds: float = 20) -> tuple[Output, float]:
    """Starts the script, presses Ctrl-C when it is ready, and returns how it ended and when."""
    process = start_script(code)
    sent = signal_at(process, "ready")
    return finish(process, seconds), time.monotonic() - sent


@pytest.mark.parametrize("start", ["golib.run(main)", "main()"], ids=["run", "main thread"])
@pytest.mark.parametrize("wait", list(WAITS))
def test_ctrl_c_interrupts_main_and_nobody_else(wait, start):
    result, took = interrupt(PROGRAM.format(wait=WAITS[wait], start=start))
    assert result == (0, "interrupted\ndisturbed []\n", "")
    assert took < 5


def test_main_in_a_c_call_that_nothing_interrupts_is_left_behind_within_about_a_second():
    result, took = interrupt(
        BYSTANDER
        + textwrap.dedent("""
        import ctypes
        def ticker():
            while True:
                golib.sleep(0.001)
        def main():
            r, _ = os.pipe()
            for wait in (Chan().recv, ticker, lambda: os.read(r, 1)):
                go(bystander, wait)
            print("ready", flush=True)
            mutex = ctypes.create_string_buffer(64)
            for _ in range(2):  # not even a signal gets it out of the second
                ctypes.CDLL(None).pthread_mutex_lock(mutex)
        try:
            golib.run(main)
        except KeyboardInterrupt:
            print("out of run", flush=True)
        golib.sleep(0.05)
        print("disturbed", disturbed, golib.num_goroutine(), flush=True)
        """)
    )
    assert result == (0, "out of run\ndisturbed [] 4\n", "")
    assert took < 3 * SLACK


def test_an_uncaught_ctrl_c_ends_the_program_as_python_does():
    result, _ = interrupt(
        """
        import golib
        def main():
            print("ready", flush=True)
            golib.Chan().recv(3600)
        golib.run(main)
        """
    )
    assert result.rc == -signal.SIGINT
    assert result.err.rstrip().endswith("KeyboardInterrupt")


def test_an_interrupted_receive_loses_no_value():
    result, _ = interrupt(
        """
        import golib
        def main():
            ch = golib.Chan()
            print("ready", flush=True)
            try:
                ch.recv(3600)
            except KeyboardInterrupt:
                g = golib.go(ch.send, "kept")
                print(ch.recv(), g.join())
        golib.run(main)
        """
    )
    assert result == (0, "kept None\n", "")


def test_an_interrupted_mutex_is_not_held():
    result, _ = interrupt(
        """
        import golib
        def main():
            m = golib.sync.Mutex()
            m.lock()
            print("ready", flush=True)
            try:
                m.acquire(timeout=3600)  # lock() would be a deadlock
            except KeyboardInterrupt:
                m.unlock()
                print(m.try_lock(), m.try_lock())
        golib.run(main)
        """
    )
    assert result == (0, "True False\n", "")


def test_ctrl_c_again_and_again_is_raised_each_time():
    process = start_script(
        """
        import golib
        def main():
            for i in range(5):
                try:
                    print("ready", flush=True)
                    golib.Chan().recv(3600)
                except KeyboardInterrupt:
                    pass
            print("five", flush=True)
        golib.run(main)
        """
    )
    for _ in range(5):
        signal_at(process, "ready")
    assert finish(process) == (0, "five\n", "")


def test_an_ignored_sigint_stays_ignored():
    process = start_script(
        """
        import golib, signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        def main():
            print("ready", flush=True)
            golib.sleep(0.3)
            print("undisturbed", flush=True)
        golib.run(main)
        """
    )
    wait_line(process, "ready")
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "undisturbed\n", "")


def test_a_run_on_another_thread_does_not_see_ctrl_c():
    process = start_script(
        """
        import golib, threading, time
        seen = []
        def main():
            try:
                golib.Chan().recv(1)
            except TimeoutError:
                seen.append("undisturbed")
        t = threading.Thread(target=golib.run, args=(main,))
        t.start()
        print("ready", flush=True)
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            t.join()
            print(seen, flush=True)
        """
    )
    signal_at(process, "ready")
    assert finish(process) == (0, "['undisturbed']\n", "")


def test_a_second_ctrl_c_interrupts_the_clean_up():
    process = start_script(
        """
        import golib, time
        def main():
            try:
                try:
                    print("ready", flush=True)
                    time.sleep(30)
                finally:
                    print("cleaning", flush=True)
                    time.sleep(30)
            except KeyboardInterrupt as error:
                print(type(error.__context__).__name__, flush=True)
            time.sleep(0.05)
            print("once each", flush=True)
        golib.run(main)
        """
    )
    for line in ("ready", "cleaning"):
        signal_at(process, line)
    assert finish(process) == (0, "KeyboardInterrupt\nonce each\n", "")


def test_clean_up_may_take_longer_than_the_patience_with_calls_that_nothing_interrupts():
    process = start_script(
        """
        import golib, time
        def main():
            try:
                print("ready", flush=True)
                time.sleep(30)
            finally:
                time.sleep(1.5)
                print("cleaned", flush=True)
        try:
            golib.run(main)
        except KeyboardInterrupt as error:
            print(error.__traceback__.tb_next is not None)
        """
    )
    signal_at(process, "ready")
    assert finish(process) == (0, "cleaned\nTrue\n", "")

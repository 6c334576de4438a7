"""Executors at exit and in forked children."""

from __future__ import annotations

from support import run_ok, run_script

MAKE = {
    "threads": "from concurrent.futures import ThreadPoolExecutor as Executor",
    "golib": "from golib.aio import Executor",
}


def test_exit_waits_for_what_was_submitted(kind):
    out = run_ok(
        f"""
        import time
        {MAKE[kind]}
        executor = Executor(1)
        for i in range(3):
            executor.submit(lambda i=i: (time.sleep(0.02), print(i)))
        print("end")
        """
    )
    assert out == "end\n0\n1\n2\n"


def test_nothing_can_be_submitted_while_the_interpreter_exits(kind):
    out = run_ok(
        f"""
        import atexit, time
        {MAKE[kind]}
        executor = Executor(2)
        def submit_until_refused():
            try:
                while True:
                    executor.submit(int)
                    time.sleep(0.001)
            except RuntimeError as error:
                print(error)
        atexit.register(submit_until_refused)
        executor.submit(submit_until_refused)
        """
    )
    # "interpreter shutdown" unless the executor has been shut down by it before.
    assert [line.partition(" after ")[0] for line in out.splitlines()] == [
        "cannot schedule new futures"
    ] * 2


def test_exit_keeps_the_status(kind):
    result = run_script(
        f"""
        import sys
        {MAKE[kind]}
        Executor().submit(int)
        sys.exit(7)
        """
    )
    assert result == (7, "", "")


def test_a_forked_child_ends_without_waiting_for_the_parents_calls(kind):
    out = run_ok(
        f"""
        import os, threading, warnings
        {MAKE[kind]}
        warnings.simplefilter("ignore")  # CPython warns of a fork beside threads
        executor, event = Executor(1), threading.Event()
        first = executor.submit(event.wait)
        if (pid := os.fork()) == 0:
            raise SystemExit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        event.set()
        print(first.result())
        """
    )
    assert out == "5\nTrue\n"

"""GOLIB_DEBUG, and Python's own debugging switches."""

from __future__ import annotations

import os
import re

import pytest

from support import measuring, run_ok, run_script


@pytest.mark.parametrize("variable", ["GOLIB_DEBUG", "GODEBUG"])
def test_schedtrace_prints_a_line_every_so_often_also_while_nothing_runs(variable):
    result = run_script(
        "import golib; golib.run(lambda: golib.sleep(0.2)); print('ok')",
        env={variable: "schedtrace=10", "GOMAXPROCS": "2"},
    )
    assert (result.rc, result.out) == (0, "ok\n")
    lines = result.err.splitlines()
    form = (
        r"SCHED \d+ms: gomaxprocs=2 idleprocs=\d threads=\d+ spinningthreads=\d idlethreads=\d+ "
        r"runqueue=\d+ \[\d+ \d+\] hostqueue=\d+"
    )
    assert len(lines) >= 5, lines
    assert all(re.fullmatch(form, line) for line in lines), lines


def test_schedtrace_does_not_hide_a_deadlock():
    result = run_script(
        """
        import golib
        try:
            golib.run(golib.Chan().recv)
        except golib.Deadlock:
            print('deadlock')
        """,
        env={"GOLIB_DEBUG": "schedtrace=5"},
    )
    assert result.out == "deadlock\n"


def test_schedtrace_does_not_hide_a_deadlock_that_another_threads_end_makes():
    """Nothing tells sysmon of that end, so it looks again and again, even if a line is due earlier."""
    result = run_script(
        """
        import golib, threading
        threading.Timer(0.1, int).start()
        try:
            golib.run(golib.Chan().recv)
        except golib.Deadlock:
            print('deadlock')
        """,
        env={"GOLIB_DEBUG": "schedtrace=5"},
        timeout=20,
    )
    assert result.out == "deadlock\n"


def started_with(**env):
    result = run_script("import golib; print(golib.go(int).join())", env=env)
    assert (result.rc, result.out) == (0, "0\n")
    return result.err


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("nonsense", "the switches are blocked, schedtrace and migrate"),
        ("a=b", "the switches are blocked, schedtrace and migrate"),
        ("migrate=2x", "it is 0 or 1"),
        ("schedtrace=", "it takes a number of milliseconds, such as 1000"),
        ("schedtrace=1s", "it takes a number of milliseconds, such as 1000"),
    ],
)
def test_a_debug_switch_that_is_not_understood_is_named_and_ignored(value, wanted):
    said = f"go-lib: GOLIB_DEBUG: {value} is ignored: {wanted}\n"
    assert started_with(GOLIB_DEBUG=f"migrate=0, {value}") == said


@pytest.mark.parametrize("value", ["", ",,,", "migrate=0"])
def test_nothing_is_said_of_good_switches(value):
    assert started_with(GOLIB_DEBUG=value) == ""


def test_other_switches_in_godebug_are_gos():
    assert started_with(GODEBUG="gctrace=1,http2client=0") == ""


def test_python_dev_mode_finds_nothing():
    result = run_script(
        measuring(
            """
            def main():
                ch = Chan()
                gs = [go(ch.send, i) for i in range(50)]
                total = sum(ch.recv() for _ in range(50))
                for g in gs:
                    g.join()
                for g in [go(time.sleep, 0.01) for _ in range(5)]:
                    g.join()
                return total
            print(golib.run(main))
            """
        ),
        env={"PYTHONDEVMODE": "1", "PYTHONMALLOC": "debug"},
    )
    assert result == (0, "1225\n", "")


def test_the_allocator_of_the_system_works_too():
    out = run_ok(
        "import golib; print(golib.run(lambda: golib.go(int).join()))",
        env={
            "PYTHONMALLOC": "malloc",
            "MALLOC_PERTURB_": "90",
            "LANG": os.environ.get("LANG", "C"),
        },
    )
    assert out == "0\n"

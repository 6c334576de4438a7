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


@pytest.mark.parametrize("value", ["", "nonsense", "migrate=2x", "a=b,c", ",,,", "schedtrace="])
def test_an_unknown_debug_switch_is_ignored(value):
    result = run_script("import golib; print(golib.go(int).join())", env={"GOLIB_DEBUG": value})
    assert (result.rc, result.out) == (0, "0\n")


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

"""GOLIB_DEBUG=blocked=…: which Python line keeps the GIL, or an OS thread, for so long."""

from __future__ import annotations

import re
import textwrap

import pytest

from support import SLACK, run_script

#: What a goroutine may do for 0.3 seconds without a wait in golib; each on a line of its own.
HOLD = """\
import ctypes, time
import golib
from golib import go, spawn

keeps_gil = ctypes.PyDLL(None).usleep  # called with the GIL held
spin = '''
def computes():
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
'''
exec(compile(spin, "spin.py", "exec"))

def holds():
    keeps_gil(300_000)

def calls():
    time.sleep(0.3)
"""


def report(code, switch="blocked=50ms", variable="GOLIB_DEBUG", **options):
    """(the lines that begin with "golib:", stderr) of a program."""
    result = run_script(HOLD + textwrap.dedent(code), env={variable: switch}, **options)
    assert result.rc == 0, result
    return [line for line in result.err.splitlines() if line.startswith("golib: ")], result.err


def line_of(text):
    return HOLD[: HOLD.index(text)].count("\n") + 1


KINDS = {
    "holds": ("held the GIL", rf"<string>:{line_of('    keeps_gil(')} in holds"),
    "computes": ("(held the GIL|been computing)", r"spin\.py:[345] in computes"),
    "calls": (
        "been in a call that released the GIL",
        rf"<string>:{line_of('    time.sleep(')} in calls",
    ),
}
STARTS = {
    "go": "go({}).join()",
    "run": "golib.run({})",
    "spawn": "spawn({}, name='worker').join()",
    "scope": "with golib.scope() as s: s.go({})",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_line_that_keeps_its_thread_is_reported(kind, start):
    lines, err = report(STARTS[start].format(kind))
    what, place = KINDS[kind]
    name = "worker" if start == "spawn" else kind
    assert len(lines) == 1, err
    assert re.fullmatch(
        rf"golib: goroutine \d+ \({name}\) has {what} for \d+ ms: {place}", lines[0]
    )
    assert re.search(r'^  File ".*", line \d+, in ' + kind + "$", err, re.MULTILINE)


def test_the_callers_are_shown_the_newest_last():
    code = """
    def leaf():
        time.sleep(0.3)
    def branch():
        leaf()
    go(branch).join()
    """
    _, err = report(code)
    assert re.search(r"in branch\n  File .* in leaf\n", err), err


def test_deep_stacks_are_cut_at_their_old_end():
    code = """
    def deeper(n):
        if n: deeper(n - 1)
        else: time.sleep(0.3)
    go(deeper, 50).join()
    """
    lines, err = report(code)
    assert len(lines) == 1
    assert "\n  ...\n" in err
    assert err.count("in deeper\n") == 13  # twelve frames and the headline


def test_each_place_is_reported_once():
    code = """
    for _ in range(3):
        go(calls).join()
    gs = [go(calls) for _ in range(20)]
    for g in gs: g.join()
    go(holds).join()
    """
    lines, err = report(code)
    assert len(lines) == 2, err


def test_two_callers_of_one_function_are_two_places():
    code = """
    def first():
        calls()
    def second():
        calls()
    go(first).join()
    go(second).join()
    """
    assert len(report(code)[0]) == 2


#: How long is too long where nothing must be reported: a busy machine may keep a thread from its CPU for a while.
LONG = 0.1 * SLACK

WAITS = f"""
from golib.sync import Event
LONG = {3 * LONG}
begin = Event()
def locked():
    with golib.runtime.lock_os_thread():
        golib.sleep(LONG)
def below_c():
    sorted([1, 2], key=lambda n: golib.sleep(LONG / 2) or n)
def yields():
    begin.wait()
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        golib.gosched()
def times_out(wait):
    try: wait(timeout=LONG)
    except TimeoutError: pass
"""


@pytest.mark.parametrize(
    "waits",
    [
        "go(golib.sleep, LONG)",
        "go(locked)",
        "go(below_c)",
        "go(yields), go(yields)",
        "go(times_out, golib.Chan().recv)",
        "go(times_out, Event().wait)",
        "golib.time.after_func(LONG, int), golib.sleep(LONG)",
    ],
)
def test_waits_in_golib_are_not_reported(waits):
    code = f"""
        gs = [{waits}]
        begin.set()
        for g in gs:
            if isinstance(g, golib.Goroutine): g.join()
        """
    lines, err = report(WAITS + textwrap.dedent(code), f"blocked={int(1000 * LONG)}ms")
    assert lines == [], err


def test_a_patched_sleep_is_not_reported():
    assert report("golib.patch()\ngo(calls).join()\n")[0] == []


def test_only_the_holder_of_the_gil_is_blamed_while_others_wait_for_it():
    code = """
    def naps():
        for _ in range(60):
            time.sleep(0.005)
    others = [go(naps) for _ in range(3)]
    golib.sleep(0.02)
    go(keeps_gil, 300_000).join()
    for g in others: g.cancel()
    """
    lines, _ = report(code.replace("go(keeps_gil, 300_000)", "go(holds)"), "blocked=150ms")
    assert any(" (holds) has held the GIL for " in line for line in lines)
    assert not any("(holds)" not in line and "held the GIL" in line for line in lines), lines


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_thread_that_keeps_the_gil_from_goroutines_is_reported(where):
    call = (
        "holds()" if where == "main" else "t = threading.Thread(target=holds); t.start(); t.join()"
    )
    code = f"""
    import threading
    def ticks():
        while True: golib.sleep(0.001)
    g = go(ticks)
    golib.sleep(0.02)
    {call}
    golib.sleep(0.02)
    """
    (line,), err = report(code)
    who = "the main thread" if where == "main" else "a thread"
    place = KINDS["holds"][1]
    assert re.fullmatch(rf"golib: {who} has held the GIL for \d+ ms: {place}", line), err


def test_a_thread_that_nobody_waits_for_is_not_reported():
    code = """
    g = go(golib.Chan().recv)
    golib.sleep(0.01)
    holds()
    g.cancel()
    """
    assert report(code)[0] == []


def test_nothing_is_reported_below_the_limit_or_without_the_switch():
    assert report("go(calls).join()", "blocked=10s")[0] == []
    assert report("go(calls).join()", "")[0] == []


@pytest.mark.parametrize("variable", ["GODEBUG", "GOLIB_DEBUG"])
def test_it_goes_with_other_switches(variable):
    lines, err = report("go(calls).join()", "schedtrace=10,blocked=50ms", variable)
    assert len(lines) == 1
    assert err.count("SCHED ") > 5


@pytest.mark.parametrize(
    "switch", ["blocked", "blocked=", "blocked=100", "blocked=soon", "blocked=-5ms", "blocked=0s"]
)
def test_a_bad_time_is_refused_in_words(switch):
    lines, err = report("go(calls).join()", switch)
    assert lines == []
    assert f"GOLIB_DEBUG: {switch} is ignored: it takes a time, such as 100ms or 2s" in err


def test_names_and_files_that_are_not_ascii():
    code = """
    exec(compile("def größe():\\n    time.sleep(0.3)", "größe/日本.py", "exec"))
    spawn(größe, name="𝄞").join()
    """
    (line,), _ = report(code)
    assert line.endswith(" ms: größe/日本.py:2 in größe")
    assert "(𝄞)" in line


def test_it_does_not_hide_a_deadlock():
    code = """
    try: golib.run(golib.Chan().recv)
    except golib.Deadlock: print("deadlock")
    """
    assert report(code)[0] == []


def test_a_forked_child_reports_anew():
    code = """
    import os
    go(calls).join()
    child = os.fork()
    go(calls).join()
    if child: assert os.waitpid(child, 0)[1] == 0
    """
    assert len(report(code)[0]) == 2


def test_a_program_may_end_while_something_is_blocked():
    code = """
    go(time.sleep, 60)
    go(calls)
    golib.sleep(0.2)
    """
    lines, _ = report(code)
    assert len(lines) == 2


def test_interrupted_calls_and_storms_survive_the_looks():
    code = """
    import hashlib, re
    data = b"x" * 2_000_000
    def work(i):
        for _ in range(20):
            hashlib.sha256(data).digest()
            sorted(range(20_000), key=lambda n: -n)
            re.sub("a|b", "c", "abcd" * 5000)
            time.sleep(0.002)
        return i
    gs = [go(work, i) for i in range(8)]
    assert sum(g.join() for g in gs) == 28
    print("whole")
    """
    script = HOLD + textwrap.dedent(code)
    result = run_script(script, env={"GOLIB_DEBUG": "blocked=1ms"}, timeout=120)
    assert (result.rc, result.out) == (0, "whole\n"), result

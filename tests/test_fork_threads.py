"""Children that an ordinary thread forked, or a signal handler beside `run`'s main goroutine; warnings of a fork."""

from __future__ import annotations

import sys
import textwrap

import pytest

from support import FORK_SCRIPT, SLACK, run_ok, run_script

pytestmark = pytest.mark.hang(240 * SLACK)

HEAD = (
    """
import atexit, ctypes, golib, os, signal, sys, threading, time
from golib import Chan, go
"""
    + FORK_SCRIPT
).replace("TIMEOUT", str(10 * SLACK))

#: What a child may do with golib before its thread ends.
USES = {
    "nothing": "pass",
    "go": "go(int).join()",
    "a goroutine that may not have begun": "go(Chan().recv)",
    "a goroutine that waits for ever": "go(Chan().recv); golib.sleep(0.001)",
    "a goroutine that computes": "go(spin); golib.sleep(0.001)",
    "a goroutine blocked in C": "go(time.sleep, 99); golib.sleep(0.001)",
    "run": "golib.run(golib.sleep, 0.001)",
    "sleep": "golib.sleep(0.001)",
    "another thread uses it": "t = threading.Thread(target=lambda: go(int).join()); t.start(); t.join()",
}


def forked_by_a_thread(child: str, before: str = "go(int).join()", after: str = "") -> str:
    return f"""{HEAD}
def spin():
    while True:
        pass
def child():
{textwrap.indent(textwrap.dedent(child), "    ")}
def program():
    pid = os.fork()
    if pid == 0:
        return child()
    say("status", wait(pid))
{before}
thread = threading.Thread(target=program)
thread.start()
thread.join()
{after}
"""


# -- children of ordinary threads ---------------------------------------------------------------------


@pytest.mark.parametrize("use", list(USES))
def test_a_child_of_a_thread_ends_with_that_thread(use):
    assert run_ok(forked_by_a_thread(USES[use])) == "status 0\n"


@pytest.mark.parametrize(
    "use", ["go", "run", "a goroutine that may not have begun", "another thread uses it"]
)
def test_a_child_forked_before_golib_was_used_ends_with_its_thread(use):
    # Golib's warnings filter is not there yet, and the main thread is a second one.
    env = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}
    assert run_ok(forked_by_a_thread(USES[use], before=""), env=env) == "status 0\n"


def test_a_child_of_a_thread_waits_for_its_other_threads_and_runs_no_exit_handlers():
    child = """
        gate = Chan()
        def late(daemon):
            gate.recv()
            time.sleep(0.05)
            say("late", daemon)
        for daemon in (False, True):
            threading.Thread(target=late, args=(daemon,), daemon=daemon).start()
        atexit.register(say, "exit handler")
        go(gate.send, 1)
        go(gate.send, 2)
        """
    *lines, status = run_ok(forked_by_a_thread(child)).splitlines()
    assert sorted(lines) == ["late False", "late True"]
    assert status == "status 0"


def test_streams_of_c_are_written_before_the_child_of_a_thread_ends():
    child = """
        c = ctypes.CDLL(None)
        c.printf(b"of C\\n")
        go(int).join()
        """
    assert run_ok(forked_by_a_thread(child)) == "of C\nstatus 0\n"


@pytest.mark.parametrize("end", ["1 / 0", "sys.exit(3)", "_thread.exit()"])
def test_however_the_thread_ends_the_status_is_0(end):
    result = run_script(forked_by_a_thread(f"import _thread\ngo(int).join()\n{end}"))
    assert (result.rc, result.out) == (0, "status 0\n")
    assert ("ZeroDivisionError" in result.err) == (end == "1 / 0")


def test_a_child_of_a_threads_child_ends_too():
    child = """
        go(int).join()
        pid = os.fork()
        if pid == 0:
            go(int).join()
            return
        say("grandchild", wait(pid))
        g = go(os.fork)
        pid = g.join()
        say("of a goroutine", wait(pid))
        """
    out = run_ok(forked_by_a_thread(child))
    assert out == "grandchild 0\nof a goroutine 0\nstatus 0\n"


def test_the_end_of_the_main_thread_still_ends_the_program():
    after = 'go(Chan().recv)\ngo(time.sleep, 99)\ngolib.sleep(0.001)\natexit.register(say, "exit handler")'
    assert run_ok(forked_by_a_thread("pass", after=after)) == "status 0\nexit handler\n"


# -- children of a signal handler ---------------------------------------------------------------------


def test_run_raises_deadlock_in_a_child_that_a_handler_forked_beside_its_main_goroutine():
    """Main is in a call that nothing interrupts, so the handler runs on the thread that waits in run."""
    out = run_ok(
        HEAD
        + """
mutex = ctypes.create_string_buffer(64)
c = ctypes.CDLL(None)
pids = []
def handler(number, frame):
    pids.append(os.fork())
    if pids[0]:
        c.pthread_mutex_unlock(mutex)
def main():
    signal.signal(signal.SIGALRM, handler)
    c.pthread_mutex_lock(mutex)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    c.pthread_mutex_lock(mutex)
    say("status", wait(pids[0]))
try:
    golib.run(main)
except golib.Deadlock:
    say("deadlock", go(int).join(), golib.run(int))
    sys.exit(5)
"""
    )
    assert out == "deadlock 0 0\nstatus 5\n"


@pytest.mark.parametrize("wait", ["golib.sleep(0.3)", "time.sleep(0.3)", "spin(0.3)"])
def test_a_child_that_a_handler_forked_in_the_main_goroutine_ends_with_that(wait):
    out = run_ok(
        HEAD
        + f"""
pids = []
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
def main():
    signal.signal(signal.SIGALRM, lambda *_: pids.append(os.fork()))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    {wait}
    if pids[0]:
        say("status", wait(pids[0]))
golib.run(main)
if not pids[0]:
    say("run has returned in the child")
"""
    )
    assert out == "status 0\n"


# -- CPython's warning of a fork beside threads ---------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython warns since 3.12")
@pytest.mark.parametrize(
    "use",
    [
        "golib.net.listen('127.0.0.1:0').close()",
        "golib.net.listen_packet('127.0.0.1:0').close()",
        "time_out(golib.net.wait_readable, os.pipe()[0], 0.001)",
        "time_out(Chan().recv, 0.001)",
        "golib.sleep(0.001)",
        "golib.time.after(0.001).recv()",
        "golib.gomaxprocs(3)",
        "golib.patch()",
        "go(int).join()",
    ],
)
def test_no_fork_beside_golibs_threads_warns(use):
    run_ok(
        HEAD
        + f"""
import golib.net
def time_out(wait, *args):
    try:
        wait(*args)
    except TimeoutError:
        return
{use}
if os.fork() == 0:
    os._exit(0)
os.wait()
""",
        env={"PYTHONWARNINGS": "error::DeprecationWarning"},
    )

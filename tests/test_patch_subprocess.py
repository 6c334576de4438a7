"""golib.patch("subprocess"): waiting for child processes on goroutines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import golib
import pytest

from measures import threads
from support import on_thread, parked, start_poller

start_poller()


@pytest.fixture(autouse=True)
def patched():
    golib.patch("subprocess", "lock")
    yield
    golib.unpatch()


def sleeper(seconds="60"):
    return subprocess.Popen(["sleep", seconds])


def end(process):
    process.kill()
    process.wait()


WAITS = {
    "waitpid": lambda pid: os.waitpid(pid, 0)[1],
    "wait4": lambda pid: os.wait4(pid, 0)[1],
    "waitid": lambda pid: os.waitid(os.P_PID, pid, os.WEXITED).si_status,
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_a_goroutine_parks_until_the_child_ends(wait):
    process = sleeper()
    g = parked(golib.go(wait, process.pid), "IO wait")
    process.send_signal(signal.SIGTERM)
    assert g.join(timeout=20) & 0x7F == signal.SIGTERM
    assert isinstance(golib.go(process.wait).join(), int)


def test_many_waits_need_no_threads():
    before = threads()
    processes = [sleeper() for _ in range(100)]
    gs = [golib.go(p.wait) for p in processes]
    for g in gs:
        parked(g, "IO wait")
    assert threads() < before + 60
    for p in processes:
        p.terminate()
    assert {g.join() for g in gs} == {-signal.SIGTERM}


def test_run_returns_what_it_returns_on_a_thread():
    def run(i):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; print({i}); sys.exit({i})"],
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout

    gs = [golib.go(run, i) for i in range(10)]
    assert [g.join() for g in gs] == [(i, f"{i}\n") for i in range(10)]


def test_a_wait_is_left_by_cancellation_and_the_child_can_be_waited_for():
    process = sleeper()
    g = parked(golib.go(process.wait), "IO wait")
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join()
    assert process.poll() is None
    end(process)
    assert process.returncode == -signal.SIGKILL


def test_a_timeout_of_wait_is_the_standard_librarys():
    process = sleeper()

    def wait():
        began = time.monotonic()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        return time.monotonic() - began

    assert golib.go(wait).join() >= 0.05
    end(process)


@pytest.mark.parametrize(
    "call",
    [
        lambda: os.waitpid(1, 0),
        lambda: os.waitpid(2**40, 0),
        lambda: os.waitpid("x", 0),
        lambda: os.waitpid(1),
        lambda: os.wait4(1, 0),
        lambda: os.waitid(os.P_PID, 1, os.WEXITED),
        lambda: os.waitid(os.P_PID, 1, 0),
        lambda: os.waitpid(os.getpid(), 0),
    ],
)
def test_wrong_calls_raise_what_they_raise_on_a_thread(call):
    def outcome():
        try:
            return call()
        except Exception as error:
            return type(error), str(error)

    assert golib.go(outcome).join() == on_thread(outcome)


def test_no_hang_is_untouched():
    process = sleeper()
    assert golib.go(os.waitpid, process.pid, os.WNOHANG).join() == (0, 0)
    end(process)


def test_two_waiters_of_one_child_end():
    process = sleeper()
    gs = [parked(golib.go(process.wait)) for _ in range(5)]
    process.terminate()
    assert [g.join(timeout=20) for g in gs] == [-signal.SIGTERM] * 5


def test_no_descriptor_is_left_over():
    def wait():
        subprocess.run(["true"], check=True)

    golib.go(wait).join()
    before = len(os.listdir("/proc/self/fd"))
    for g in [golib.go(wait) for _ in range(20)]:
        g.join()
    assert len(os.listdir("/proc/self/fd")) == before

"""golib.patch("subprocess"): waiting for child processes on goroutines, and os.system."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import golib
import pytest

from measures import threads
from support import eventually, on_thread, parked, run_ok, start_poller

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


#: They wait for any child, or for one of a group: in scripts, which have no others.
ANY = {
    "wait": "os.wait()[0]",
    "waitpid -1": "os.waitpid(-1, 0)[0]",
    "waitpid 0": "os.waitpid(0, 0)[0]",
    "wait3": "os.wait3(0)[0]",
    "wait4": "os.wait4(-1, 0)[0]",
    "waitid": "os.waitid(os.P_ALL, 0, os.WEXITED).si_pid",
    "waitid of a group": "os.waitid(os.P_PGID, os.getpgrp(), os.WEXITED).si_pid",
}


@pytest.mark.parametrize("way", ANY)
def test_waits_for_any_child_park_and_share_one_thread(way: str) -> None:
    run_ok(
        """
        import errno, os, subprocess, sys, golib
        golib.patch()
        reap = lambda: eval(sys.argv[1])
        try:
            golib.go(reap).join()
        except ChildProcessError as error:
            assert error.errno == errno.ECHILD

        def main():
            ends, kids = [], []
            for _ in range(20):
                r, w = os.pipe()
                if (pid := os.fork()) == 0:
                    os.close(w)
                    os.read(r, 1)  # until the parent closes its end
                    os._exit(0)
                os.close(r)
                ends.append(w); kids.append(pid)
            before = golib.runtime.stats()["threads"]
            gs = [golib.go(reap) for _ in kids]
            for g in gs:
                while g.status() != "IO wait": golib.sleep(0.001)
            assert golib.runtime.stats()["threads"] <= before + 3, golib.runtime.stats()
            try:
                with golib.timeout(0.01): reap()
                raise AssertionError
            except TimeoutError:
                pass
            for w in ends: os.close(w)  # a child has the ends of those before it: the last one ends first
            assert sorted(g.join(20) for g in gs) == sorted(kids)
            try:
                reap()
                raise AssertionError
            except ChildProcessError as error:
                assert error.errno == errno.ECHILD
        golib.run(main)
        """,
        ANY[way],
    )


def test_a_wait_for_a_stop_parks() -> None:
    run_ok("""
        import os, signal, golib
        golib.patch()
        def main():
            r, w = os.pipe()
            if (pid := os.fork()) == 0:
                os.close(w); os.read(r, 1); os._exit(3)
            g = golib.go(os.waitpid, pid, os.WUNTRACED)
            while g.status() != "IO wait": golib.sleep(0.001)
            os.kill(pid, signal.SIGSTOP)
            assert os.WIFSTOPPED(g.join(20)[1])
            g = golib.go(os.waitid, os.P_PID, pid, os.WCONTINUED)
            while g.status() != "IO wait": golib.sleep(0.001)
            os.kill(pid, signal.SIGCONT)
            assert g.join(20).si_code == os.CLD_CONTINUED
            g = golib.go(os.waitpid, pid, os.WUNTRACED)
            os.close(w)
            assert os.waitstatus_to_exitcode(g.join(20)[1]) == 3
        golib.run(main)
        """)


def test_waits_beside_popen_take_nothing_of_its() -> None:
    """As beside threads: Popen finds its child gone, or not."""
    run_ok("""
        import os, subprocess, sys, golib
        golib.patch()
        def main():
            group = [subprocess.Popen([sys.executable, "-S", "-c", "pass"], process_group=0) for _ in range(5)]
            g = golib.go(os.waitpid, 0, 0)  # of our group, in which there is none yet
            try:
                g.join(0.05)
            except (TimeoutError, ChildProcessError):
                pass
            assert [p.wait() for p in group] == [0] * 5
        golib.run(main)
        """)


def test_os_system_can_be_left(tmp_path: pathlib.Path) -> None:
    def body() -> int:
        with pytest.raises(TimeoutError), golib.timeout(0.05):
            os.system(f"sleep 0.3; echo left > {tmp_path / 'left'}")
        return os.waitstatus_to_exitcode(os.system("exit 7"))

    assert golib.go(body).join(20) == 7
    assert eventually((tmp_path / "left").exists)

"""Calls that block in C with the GIL released, and code that never releases it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
import zlib

import golib
import pytest
from golib import Chan, go, gosched

from measures import longest_gap
from support import CALL_SECONDS, SLACK, Thread, run_ok, under_run

pytestmark = pytest.mark.hang(240 * SLACK)


def gap_beside(other):
    """The longest gap between two ticks of a 1 ms ticker while `other()` runs in a goroutine."""

    def call():
        task = go(other)
        golib.sleep(CALL_SECONDS + 0.2)
        task.join()

    return under_run(longest_gap, call)


def test_two_hundred_goroutines_in_time_sleep_take_about_a_second():
    start = time.monotonic()
    for g in [go(time.sleep, 1) for _ in range(200)]:
        g.join()
    assert 1 <= time.monotonic() - start < 1 + 2 * SLACK


def test_a_c_call_does_not_hold_up_a_ticker():
    import ctypes

    usleep = ctypes.CDLL(None).usleep
    assert gap_beside(lambda: usleep(int(1e6 * CALL_SECONDS))) < 0.1 * SLACK


BLOCK = bytes(20_000_000)

BLOCKING = {
    "time.sleep": lambda: time.sleep(CALL_SECONDS),
    "subprocess": lambda: subprocess.run(["sleep", str(CALL_SECONDS)], check=True),
    "select": lambda: __import__("select").select([], [], [], CALL_SECONDS),
    "os.read": lambda: _read_from_a_slow_pipe(),
    "socket": lambda: _read_from_a_slow_socket(),
    "sha256": lambda: [hashlib.sha256(BLOCK).digest() for _ in range(int(12 * SLACK))],
    "zlib": lambda: zlib.compress(os.urandom(int(8e6 * SLACK)), 9),
    "lock": lambda: _wait_for_a_lock(),
}


def _read_from_a_slow_pipe():
    r, w = os.pipe()
    t = Thread(lambda: (time.sleep(CALL_SECONDS), os.write(w, b"x")))
    assert os.read(r, 1) == b"x"
    t.join()
    os.close(r), os.close(w)


def _read_from_a_slow_socket():
    a, b = socket.socketpair()
    with a, b:
        t = Thread(lambda: (time.sleep(CALL_SECONDS), a.send(b"x")))
        assert b.recv(1) == b"x"
        t.join()


def _wait_for_a_lock():
    import threading

    lock = threading.Lock()
    lock.acquire()
    t = Thread(lambda: (time.sleep(CALL_SECONDS), lock.release()))
    with lock:
        t.join()


@pytest.mark.parametrize("name", list(BLOCKING))
def test_a_blocking_call_blocks_only_its_own_thread(name):
    assert gap_beside(BLOCKING[name]) < 0.15 * SLACK


def test_a_cpu_bound_goroutine_is_preempted():
    def hog():
        end = time.monotonic() + 0.4 * SLACK
        while time.monotonic() < end:
            pass

    assert gap_beside(hog) < 0.1 * SLACK


def test_several_cpu_bound_goroutines_share_the_interpreter():
    def main():
        counts, stop = [0] * 3, []

        def hog(k):
            while not stop:
                counts[k] += 1

        hogs = [go(hog, k) for k in range(3)]
        golib.sleep(0.5)
        stop.append(1)
        for g in hogs:
            g.join()
        return counts

    counts = under_run(main)
    assert min(counts) > max(counts) / 20, counts


def test_a_hog_in_one_long_bytecode_does_not_starve_the_others_for_ever():
    g = go(lambda: sorted(range(400_000, 0, -1), key=lambda x: x % 1000))
    h = go(lambda: [gosched() for _ in range(100)])
    h.join(60)
    g.join(60)


def test_a_goroutine_returning_from_a_long_call_goes_on_and_communicates():
    ch = Chan()

    def task(i):
        time.sleep(0.05)
        ch.send(i)
        time.sleep(0.05)
        return i

    gs = [go(task, i) for i in range(20)]
    assert sorted(ch.recv() for _ in range(20)) == list(range(20))
    assert [g.join() for g in gs] == list(range(20))


def test_a_call_that_blocks_again_and_again_keeps_few_threads():
    out = run_ok(
        """
        import golib, os, time
        def task():
            for _ in range(40):
                time.sleep(0.002)
        for g in [golib.go(task) for _ in range(20)]:
            g.join()
        print(len(os.listdir("/proc/self/task")) < 60)
        """
    )
    assert out == "True\n"


def test_a_thousand_blocked_in_c_all_return():
    out = run_ok(
        """
        import golib, time
        start = time.monotonic()
        for g in [golib.go(time.sleep, 1) for _ in range(1000)]:
            assert g.join() is None
        print(time.monotonic() - start)
        """,
        timeout=120,
    )
    assert 1 <= float(out) < 1 + 20 * SLACK  # in turn they would take a thousand seconds


def test_two_hash_in_parallel():
    block = b"x" * 30_000_000

    def hashing():
        start = time.monotonic()
        hashlib.sha256(block).digest()
        return start, time.monotonic()

    def overlap():
        (start, end), (other_start, other_end) = [g.join() for g in [go(hashing), go(hashing)]]
        both = min(end, other_end) - max(start, other_start)
        return both / min(end - start, other_end - other_start)

    # One after the other it would be below 0; how much faster it is, the benches say.
    assert max(overlap() for _ in range(5)) > 0.5


def test_an_ordinary_python_thread_beside_busy_goroutines_gets_its_turn():
    def main():
        stop, late = [], []

        def sleeper():
            for _ in range(50):
                start = time.perf_counter()
                time.sleep(0.001)
                late.append(time.perf_counter() - start)

        def busy():
            while not stop:
                gosched()

        gs = [go(busy), go(busy)]
        Thread(sleeper).join()
        stop.append(1)
        for g in gs:
            g.join()
        return sorted(late)

    late = under_run(main)
    assert late[len(late) // 2] < 0.03 * SLACK, late
    assert late[-1] < 0.3 * SLACK, late


def test_the_switch_interval_is_left_alone():
    before = sys.getswitchinterval()
    go(int).join()
    assert sys.getswitchinterval() == before

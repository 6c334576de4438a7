"""Which native frames let a goroutine move, and how that is found out."""

from __future__ import annotations

import pathlib
import sys
import sysconfig

import pytest

from support import MIGRATE, finish, run_ok, start


def test_the_first_walk_over_native_frames_runs_no_python_code() -> None:
    # Below sorted() there are frames to walk. In the middle of the park the channel is locked: a thread that gets the
    # GIL there spins for the lock forever.
    out = run_ok(
        """
import builtins, threading
import golib

original, names = builtins.__import__, []

def slow(name, *args, **kwargs):
    names.append(name)
    sum(range(3_000_000))  # long enough for another thread to get the GIL
    return original(name, *args, **kwargs)

def knock():
    while not stop.is_set():
        ch.try_send("x")

def first():
    before = len(names)
    values = sorted([1, 2], key=lambda _: ch.recv())
    return values, names[before:]

ch, stop = golib.Chan(), threading.Event()
builtins.__import__ = slow
g = golib.go(first)
thread = threading.Thread(target=knock)
thread.start()
print(g.join(timeout=20))
stop.set()
thread.join()
""",
        timeout=30,
    )
    assert out == "([1, 2], [])\n"


def test_a_wait_in_a_python_function_is_decided_without_a_walk() -> None:
    # The first one is walked: it tells where the outermost eval loop lies in the stack.
    run_ok(
        """
import golib

def nested(ch, depth):
    return nested(ch, depth - 1) if depth else ch.recv()

def body(ch):
    for _ in range(100):
        nested(ch, 0)
        nested(ch, 20)
        with golib.sync.Mutex():
            ch.recv(timeout=60)
        next(ch)

ch = golib.Chan()
g = golib.go(body, ch)
for i in range(400): ch.send(i)
g.join()
stats = golib.runtime.stats()
assert stats["parks_movable"] > 100 and stats["parks_movable_after_walk"] < 3, stats
assert stats["parks_pinned"] == 0, stats
"""
    )


WAITERS = """
import sys
import golib

def waiter(ch):
    return ch.recv() + next(iter(ch))

def wait(n):
    ch = golib.Chan()
    gs = [golib.go(waiter, ch) for _ in range(n)]
    for _ in range(2 * n): ch.send(1)
    return sum(g.join() for g in gs)

def check():
    assert wait(100) == 200
    stats = golib.runtime.stats()
    assert stats["parks_pinned"] == 0 and stats["parks_movable"] > 100, stats
"""


needs_trampolines = pytest.mark.skipif(
    not sysconfig.get_config_var("PY_HAVE_PERF_TRAMPOLINE"),
    reason="this CPython has no stack trampolines (3.12, not for every system)",
)


@needs_trampolines
@pytest.mark.parametrize("switch", ["perf", "perf_jit"])
def test_waits_under_x_perf_move(switch: str, tmp_path: pathlib.Path) -> None:
    if switch == "perf_jit" and sys.version_info < (3, 13):
        pytest.skip("new in 3.13")
    script = tmp_path / "waiters.py"
    script.write_text(WAITERS + "check()")
    # perf's file of symbols is written where perf looks for it.
    command = [sys.executable, "-X", switch, str(script)]
    process = start(command)
    result = finish(process)
    for name in (f"perf-{process.pid}.map", f"jit-{process.pid}.dump"):
        pathlib.Path("/tmp", name).unlink(missing_ok=True)
    assert (result.rc, result.err) == (0, ""), result


@needs_trampolines
def test_waits_move_while_stack_trampolines_come_and_go() -> None:
    run_ok(
        WAITERS
        + """
import os
check()
for _ in range(3):
    sys.activate_stack_trampoline("perf")
    check()
    sys.deactivate_stack_trampoline()
    check()
os.unlink(f"/tmp/perf-{os.getpid()}.map")
"""
    )


ODD_TIMEOUTS = """
import ctypes
import golib
from support import moves, stays

class Timeout:
    # A timeout whose conversion waits in golib itself, or uses golib without waiting.
    conversions = 0
    def __init__(self, *, parks): self.parks = parks
    def __float__(self):
        Timeout.conversions += 1
        if self.parks: golib.gosched()
        else: full.send(1), full.recv()
        return 0.0001

full, never, mutex, event = golib.Chan(1), golib.Chan(), golib.sync.Mutex(), golib.sync.Event()
held = golib.sync.Mutex()
held.lock()
semaphore, group = golib.sync.Semaphore(1), golib.sync.WaitGroup()
semaphore.acquire()
group.add(1)
sleeper = golib.go(never.recv)

def waits(parks):
    timeout = Timeout(parks=parks)
    for wait in (
        lambda: never.recv(timeout), lambda: never.send(1, timeout), lambda: golib.nil.recv(timeout),
        lambda: golib.select(golib.recv(never), timeout=timeout), lambda: golib.select(timeout=timeout),
        lambda: held.lock(timeout), lambda: held.acquire(timeout=timeout), lambda: semaphore.acquire(1, timeout),
        lambda: event.wait(timeout), lambda: group.wait(timeout), lambda: sleeper.join(timeout),
    ):
        try:
            wait()
        except TimeoutError:
            pass
    golib.sleep(timeout)
"""


@pytest.mark.parametrize("parks", [True, False])
def test_a_wait_after_python_code_of_its_own_is_as_movable_as_any(parks: bool) -> None:
    run_ok(
        ODD_TIMEOUTS
        + f"""
def body():
    for _ in range(20): waits({parks})
gs = [golib.go(body) for _ in range(5)]
for g in gs: g.join()
stats = golib.runtime.stats()
# Below a __float__ that golib calls, golib's own frames keep the thread.
conversions = Timeout.conversions if {parks} else 0
assert stats["parks_pinned"] <= conversions and stats["parks_movable"] > 500, (stats, conversions)
""",
        env=MIGRATE,
    )


@pytest.mark.parametrize("parks", [True, False])
def test_below_foreign_frames_it_keeps_the_thread(parks: bool) -> None:
    run_ok(
        ODD_TIMEOUTS
        + f"""
import threading
call = ctypes.CFUNCTYPE(None, ctypes.py_object)
def inside(failed):
    here = threading.get_native_id()
    waits({parks})
    if threading.get_native_id() != here: failed.append("moved")
def body():
    failed = []
    for _ in range(20):
        call(inside)(failed)
        golib.gosched()
    return failed
gs = [golib.go(body) for _ in range(20)]
assert [g.join() for g in gs] == [[]] * 20
""",
        env=MIGRATE,
    )

"""Which native frames let a goroutine move, and how that is found out."""

from __future__ import annotations

from support import run_ok


def test_the_first_walk_over_native_frames_runs_no_python_code() -> None:
    # Below sorted() there are frames to walk. In the middle of the park the channel is locked: a thread that gets the GIL
    # there spins for the lock for ever.
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

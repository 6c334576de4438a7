"""Where Python's frames lie: the cost of calls at any depth, and of deep goroutines that wait."""

from __future__ import annotations

import pytest

from support import run_ok

CALLS = """
    import resource, golib

    def leaf(a, b, c):
        return a

    def calls(n):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for i in range(n):
            leaf(i, 2, 3)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def deep(d, n):
        return calls(n) if d == 0 else deep(d - 1, n)

    def many(d, n):
        deep(d, n)  # what the first time touches
        return deep(d, n)
"""


@pytest.mark.parametrize("depths", ["range(60)", "range(60, 900, 7)"], ids=["near", "deep"])
def test_no_depth_makes_calls_map_and_unmap_memory(depths):
    # A chunk of frames that is mapped anew has to be touched anew: a page fault for each call.
    run_ok(
        CALLS
        + f"""
    faults = {{d: golib.go(many, d, 500).join() for d in {depths}}}
    cliffs = {{d: n for d, n in faults.items() if n > 100}}
    assert not cliffs, cliffs
    """
    )


def test_no_depth_makes_a_threads_calls_map_and_unmap_memory_either():
    run_ok(
        CALLS
        + """
    import threading
    golib.go(int).join()
    faults = []
    threads = threading.Thread(
        target=lambda: faults.extend((d, many(d, 300)) for d in range(0, 900, 3)))
    threads.start()
    threads.join()
    assert len(faults) == 300 and not [f for f in faults if f[1] > 100], faults
    """
    )


def test_recursion_over_many_chunks_goes_on_and_comes_back():
    run_ok(
        """
        import sys, threading, golib
        sys.setrecursionlimit(30_000)
        def deep(n):
            if n % 1000 == 0:
                golib.gosched()
            return 0 if n == 0 else 1 + deep(n - 1)
        def body():
            return [deep(n) for n in (20_000, 10, 20_000)]
        gs = [golib.go(body) for _ in range(8)]
        out = []
        thread = threading.Thread(target=lambda: out.append(body()))
        thread.start()
        assert all(g.join() == [20_000, 10, 20_000] for g in gs)
        thread.join()
        assert out == [[20_000, 10, 20_000]]
        """
    )


def test_another_allocator_of_arenas_may_come_before_and_after():
    run_ok(
        """
        import ctypes, mmap
        class Allocator(ctypes.Structure):
            _fields_ = [("ctx", ctypes.c_void_p), ("alloc", ctypes.c_void_p), ("free", ctypes.c_void_p)]
        api = ctypes.pythonapi
        ALLOC = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        FREE = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        import golib
        def deep(n):
            return 0 if n == 0 else 1 + deep(n - 1)
        kinds = []
        def get():
            a = Allocator()
            api.PyObject_GetArenaAllocator(ctypes.byref(a))
            return a.alloc, a.free
        first = get()
        assert golib.go(deep, 500).join() == 500
        ours = get()
        assert ours != first
        before = Allocator(None, *first)
        api.PyObject_SetArenaAllocator(ctypes.byref(before))  # as a tool that puts back what it found
        assert golib.go(deep, 900).join() == 900
        again = Allocator(None, *ours)
        api.PyObject_SetArenaAllocator(ctypes.byref(again))
        assert golib.go(deep, 900).join() == 900
        """
    )


WAITING = """
    import sys, golib

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    def down(depth, ch):
        return ch.recv() if depth == 0 else down(depth - 1, ch)

    def up(depth):
        if depth:
            up(depth - 1)

    def bytes_of(fn, *args, n=2000):
        ch = golib.Chan()
        before = resident()
        gs = [golib.go(fn, *args, ch) for _ in range(n)]
        while any(g.status() != "chan receive" for g in gs):
            golib.gosched()
        after = resident()
        for _ in gs:
            ch.send(None)
        for g in gs:
            g.join()
        return (after - before) / n

    def came_back(depth, ch):
        up(depth)
        ch.recv()
"""


@pytest.mark.parametrize(
    ("call", "most"),
    [
        ("down, 0", 7_000),
        ("down, 7", 7_000),
        ("down, 15", 10_900),
        ("down, 40", 15_000),
    ],
)
def test_a_waiting_goroutine_costs_as_many_pages_as_its_frames_fill(call, most):
    run_ok(WAITING + f"\n    b = bytes_of({call})\n    assert b < {most}, b")


@pytest.mark.parametrize("depth", [15, 60, 400])
def test_what_deep_calls_took_comes_back_when_they_return(depth):
    run_ok(
        WAITING
        + f"""
    b = bytes_of(came_back, {depth})
    kept = 16384 if sys.version_info >= (3, 14) else 0
    assert b < 7_000 + kept, b  # newer releases of CPython keep a chunk in each state
    """
    )


def test_what_deep_calls_took_is_not_kept_by_goroutines_that_ended():
    run_ok(
        WAITING
        + """
    def round_of_many(n=2000):
        gate = golib.sync.Event()
        gs = [golib.go(lambda: (up(200), gate.wait())) for _ in range(n)]
        while any(g.status() != "event wait" for g in gs):
            golib.gosched()
        gate.set()
        for g in gs:
            g.join()
    round_of_many(100)
    before = resident()
    round_of_many()
    per = (resident() - before) / 2000
    assert per < 7_000, per
    """
    )

"""Costs of single operations beside those of comparable ones: in one process, the sides taking turns.

    .venv/bin/python benches/python/costs.py [--smoke]

Each figure is the best of nine loops, less the empty loop; the sides of a row alternate, so that a slow moment of the
machine hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Callable

import golib
from golib import context

TURNS = 9
N = 20_000
MEMBERS = 10

Loop = Callable[[int], object]


def empty(n: int) -> None:
    for _ in range(n):
        pass


class _Object:
    def method(self) -> None:
        pass


def method_call(n: int) -> None:
    obj = _Object()
    for _ in range(n):
        obj.method()


def lock_unlock(n: int) -> None:
    mutex = golib.sync.Mutex()
    for _ in range(n):
        mutex.lock()
        mutex.unlock()


def timeout_block(n: int) -> None:
    for _ in range(n):
        with golib.timeout(5):
            pass


def shield_block(n: int) -> None:
    for _ in range(n):
        with golib.shield():
            pass


def with_cancel(n: int) -> None:
    root = context.background()
    for _ in range(n):
        _, cancel = context.with_cancel(root)
        cancel()


def with_timeout(n: int) -> None:
    root = context.background()
    for _ in range(n):
        _, cancel = context.with_timeout(root, 5)
        cancel()


def after_func(n: int) -> None:
    ctx, _ = context.with_cancel(context.background())
    for _ in range(n):
        context.after_func(ctx, empty)()


def timer(n: int) -> None:
    for _ in range(n):
        golib.time.Timer(5).stop()


def scope_of_ten(n: int) -> None:
    for _ in range(n // MEMBERS):
        with golib.scope() as s:
            for _ in range(MEMBERS):
                s.go(empty, 0)


def wait_group_of_ten(n: int) -> None:
    for _ in range(n // MEMBERS):
        wg = golib.sync.WaitGroup()
        for _ in range(MEMBERS):
            wg.go(empty, 0)
        wg.wait()


def cancel_parked(n: int) -> None:
    """Cancels and joins goroutines that wait, made beforehand as part of the cost."""
    ch = golib.Chan[int]()
    gs = [golib.go(ch.recv) for _ in range(n)]
    golib.gosched()
    for g in gs:
        g.cancel()
    for g in gs:
        g.exception()


def async_ping(n: int) -> None:
    """A task and a goroutine, back and forth: two waits of the task in a round."""

    def echo(there: golib.Chan[int], back: golib.Chan[int]) -> None:
        for x in there:
            back.send(x)

    async def main() -> None:
        there, back = golib.Chan[int](), golib.Chan[int]()
        golib.go(echo, there, back)
        for i in range(n // MEMBERS):
            await there.asend(i)
            await back.arecv()
        there.close()

    asyncio.run(main())


def thread_ping(n: int) -> None:
    """The same between a task and a thread, by the standard library's means."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for i in range(n // MEMBERS):
            await loop.run_in_executor(None, abs, i)

    asyncio.run(main())


#: (row, operation, per how many of n, compared operation, target: at most this ratio, or microseconds).
ROWS: list[tuple[str, Loop, int, tuple[str, Loop] | None, float | None]] = [
    ("lock + unlock", lock_unlock, 1, ("a method call", method_call), 2.0),
    ("timeout block", timeout_block, 1, None, 1.0),
    ("shield block", shield_block, 1, None, None),
    ("with_cancel + cancel", with_cancel, 1, None, None),
    ("with_timeout + cancel", with_timeout, 1, None, 1.5),
    ("after_func + stop", after_func, 1, None, 1.5),
    ("Timer + stop", timer, 1, None, None),
    ("scope of 10", scope_of_ten, MEMBERS, ("WaitGroup of 10", wait_group_of_ten), 1.2),
    ("go + cancel + join", cancel_parked, 1, None, None),
    ("asend + arecv", async_ping, MEMBERS, ("run_in_executor", thread_ping), None),
]


def timed(loop: Loop, n: int) -> float:
    begin = time.perf_counter()
    loop(n)
    return (time.perf_counter() - begin) / n * 1e6


def measure(n: int, turns: int) -> bool:
    """Prints the table; true if every target is met."""
    met = True
    print(f"CPython {sys.version.split()[0]}, µs, best of {turns}")
    print("| operation | µs | beside | µs | ratio | target |\n|---|---|---|---|---|---|")
    for name, loop, per, beside, target in ROWS:
        sides = [empty, loop] + ([beside[1]] if beside else [])
        turn_by_turn = ([timed(s, n) for s in sides] for _ in range(turns))
        best = [min(figures) for figures in zip(*turn_by_turn, strict=True)]
        ours, *theirs = [(figure - best[0]) * per for figure in best[1:]]
        cells = [name, f"{ours:.3f}", "", "", "", ""]
        figure = ours
        if beside:
            figure = ours / theirs[0]
            cells[2:5] = [beside[0], f"{theirs[0]:.3f}", f"{figure:.2f} ×"]
        if target is not None:
            good = figure <= target
            met = met and good
            cells[5] = f"≤ {target}{' ×' if beside else ' µs'} {'met' if good else 'missed'}"
        print("| " + " | ".join(cells) + " |", flush=True)
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="only that it runs")
    parser.add_argument(
        "--thread", action="store_true", help="on a plain thread, not in a goroutine"
    )
    options = parser.parse_args()
    size = (200, 1) if options.smoke else (N, TURNS)
    if options.thread:
        thread = threading.Thread(target=measure, args=size)
        thread.start()
        thread.join()
    else:
        golib.run(measure, *size)


if __name__ == "__main__":
    main()

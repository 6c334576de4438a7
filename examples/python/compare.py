"""The same work in one loop, in threads, in asyncio and in goroutines, side by side, with times. Takes half a minute.

    compare.py [--quick] [--json FILE]

Each figure is measured in a process of its own. Nothing but the standard library and golib is needed; if rich is
installed, a bar shows the progress. `--quick` does a tenth of the work, to see that it runs: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import golib
from golib import Chan, go

PEERS = ["one loop", "threads", "asyncio", "golib"]
QUICK = "--quick" in sys.argv
SCALE = 0.1 if QUICK else 1.0

CALLS, CALL_SECONDS = int(100 * SCALE), 0.05
BLOCK_SECONDS, TICK_SECONDS = 0.5 * SCALE, 0.001
TASKS = int(10_000 * SCALE)
MESSAGES = int(100_000 * SCALE)
BLOCK = bytes(int(64e6 * SCALE))
LOOPS = int(2_000_000 * SCALE)
#: How many tasks share the work that the CPU bounds.
WORKERS = 4

Measure = Callable[[], float]


class Row(NamedTuple):
    """One kind of work: what it is called, and how each peer does it. The figures are seconds."""

    title: str
    peers: dict[str, Measure]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def one_by_one(function: Callable[..., object], *arguments: tuple[object, ...]) -> None:
    for a in arguments:
        function(*a)


def in_threads(function: Callable[..., object], *arguments: tuple[object, ...]) -> None:
    threads = [threading.Thread(target=function, args=a) for a in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_goroutines(function: Callable[..., object], *arguments: tuple[object, ...]) -> None:
    with golib.scope() as scope:
        for a in arguments:
            scope.go(function, *a)


# ---- calls that block: time.sleep stands for a driver, a file, an HTTP library ---------------------------------------


def calls_in_a_loop() -> float:
    return seconds(lambda: one_by_one(time.sleep, *[(CALL_SECONDS,)] * CALLS))


def calls_in_threads() -> float:
    return seconds(lambda: in_threads(time.sleep, *[(CALL_SECONDS,)] * CALLS))


def calls_in_asyncio() -> float:
    async def call() -> None:
        time.sleep(CALL_SECONDS)  # as a library does that knows nothing of asyncio

    async def main() -> None:
        await asyncio.gather(*(call() for _ in range(CALLS)))

    return seconds(lambda: asyncio.run(main()))


def calls_in_goroutines() -> float:
    return seconds(lambda: in_goroutines(time.sleep, *[(CALL_SECONDS,)] * CALLS))


# ---- how long a ticker waits while another task blocks ---------------------------------------------------------------


class Ticker:
    """The longest time between two of its ticks, of which there should be one each millisecond."""

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.longest = 0.0

    def tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self.last)
        self.last = now


def gap_in_threads() -> float:
    ticker, over = Ticker(), threading.Event()

    def tick() -> None:
        while not over.wait(TICK_SECONDS):
            ticker.tick()

    thread = threading.Thread(target=tick)
    thread.start()
    time.sleep(BLOCK_SECONDS)
    over.set()
    thread.join()
    return ticker.longest


def gap_in_asyncio() -> float:
    ticker = Ticker()

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            ticker.tick()

    async def main() -> None:
        task = asyncio.create_task(tick())
        await asyncio.sleep(10 * TICK_SECONDS)
        time.sleep(BLOCK_SECONDS)  # somebody forgot to_thread
        await asyncio.sleep(10 * TICK_SECONDS)
        task.cancel()

    asyncio.run(main())
    return ticker.longest


def gap_in_goroutines() -> float:
    ticker = Ticker()

    def tick() -> None:
        while True:
            golib.sleep(TICK_SECONDS)
            ticker.tick()

    with golib.scope() as scope:
        scope.go(tick)
        golib.sleep(10 * TICK_SECONDS)
        time.sleep(BLOCK_SECONDS)
        scope.cancel()
    return ticker.longest


# ---- many tasks that wait at once ------------------------------------------------------------------------------------


def tasks_in_threads() -> float:
    over = threading.Event()

    def work() -> None:
        threads = []
        try:
            for _ in range(TASKS):
                thread = threading.Thread(target=over.wait)
                thread.start()
                threads.append(thread)
        finally:
            over.set()
        for thread in threads:
            thread.join()

    return seconds(work)


def tasks_in_asyncio() -> float:
    async def main() -> None:
        over = asyncio.Event()
        tasks = [asyncio.create_task(over.wait()) for _ in range(TASKS)]
        await asyncio.sleep(0)  # now all of them wait
        over.set()
        await asyncio.gather(*tasks)

    return seconds(lambda: asyncio.run(main()))


def tasks_in_goroutines() -> float:
    over = golib.sync.Event()

    def work() -> None:
        tasks = [go(over.wait) for _ in range(TASKS)]
        golib.gosched()
        over.set()
        for task in tasks:
            task.join()

    return seconds(work)


# ---- values handed from one task to another --------------------------------------------------------------------------


def messages_in_threads() -> float:
    messages: queue.Queue[int | None] = queue.Queue(1)

    def produce() -> None:
        for i in range(MESSAGES):
            messages.put(i)
        messages.put(None)

    def work() -> None:
        threading.Thread(target=produce).start()
        while messages.get() is not None:
            pass

    return seconds(work)


def messages_in_asyncio() -> float:
    async def main() -> None:
        messages: asyncio.Queue[int | None] = asyncio.Queue(1)

        async def produce() -> None:
            for i in range(MESSAGES):
                await messages.put(i)
            await messages.put(None)

        task = asyncio.create_task(produce())
        while await messages.get() is not None:
            pass
        await task

    return seconds(lambda: asyncio.run(main()))


def messages_in_goroutines() -> float:
    messages = Chan[int](1)

    def produce() -> None:
        with messages:
            for i in range(MESSAGES):
                messages.send(i)

    def work() -> None:
        go(produce)
        for _ in messages:
            pass

    return seconds(work)


# ---- C code that has released the GIL, and Python code, which never does ---------------------------------------------


def digest() -> None:
    hashlib.sha256(BLOCK)


def count() -> None:
    total = 0
    for i in range(LOOPS):
        total += i


def cpu_bound(work: Callable[[], None]) -> dict[str, Measure]:
    async def call() -> None:
        work()

    async def main() -> None:
        await asyncio.gather(*(call() for _ in range(WORKERS)))

    return {
        "one loop": lambda: seconds(lambda: one_by_one(work, *[()] * WORKERS)),
        "threads": lambda: seconds(lambda: in_threads(work, *[()] * WORKERS)),
        "asyncio": lambda: seconds(lambda: asyncio.run(main())),
        "golib": lambda: seconds(lambda: in_goroutines(work, *[()] * WORKERS)),
    }


def by_peer(*measures: Measure) -> dict[str, Measure]:
    """The measures of PEERS, of which a loop may have none."""
    return dict(zip(PEERS[-len(measures) :], measures, strict=True))


ROWS = [
    Row(
        f"{CALLS} calls that block for {CALL_SECONDS * 1000:.0f} ms",
        by_peer(calls_in_a_loop, calls_in_threads, calls_in_asyncio, calls_in_goroutines),
    ),
    Row(
        f"a 1 ms ticker's longest gap beside a call of {BLOCK_SECONDS * 1000:.0f} ms",
        by_peer(gap_in_threads, gap_in_asyncio, gap_in_goroutines),
    ),
    Row(
        f"{TASKS:,} tasks: started, all waiting, ended",
        by_peer(tasks_in_threads, tasks_in_asyncio, tasks_in_goroutines),
    ),
    Row(
        f"{MESSAGES:,} values from one task to another",
        by_peer(messages_in_threads, messages_in_asyncio, messages_in_goroutines),
    ),
    Row(f"{WORKERS} hashes of {len(BLOCK) / 1e6:.0f} MB, in C", cpu_bound(digest)),
    Row(f"{WORKERS} loops of {LOOPS / 1e6:.1f} million, in Python", cpu_bound(count)),
]


# ---- the table -------------------------------------------------------------------------------------------------------


def measure_apart(row: int, peer: str) -> float | str:
    """A figure from a process of its own; why there is none."""
    command = [sys.executable, __file__, "--cell", str(row), peer, *(["--quick"] if QUICK else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "> 120 s"
    if done.returncode == 0:
        return float(done.stdout)
    return done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"


@contextlib.contextmanager
def progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A function that tells of one more step, by a bar if there is a terminal and rich."""
    try:
        bars = importlib.import_module("rich.progress")
    except ImportError:
        bars = None
    if bars is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    console = importlib.import_module("rich.console").Console(stderr=True)
    with bars.Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=steps)
        bar.update(task, completed=0)
        yield lambda what: bar.update(task, advance=1, description=what)


def cell(figure: float | str | None) -> str:
    if figure is None:
        return "-"
    return (
        figure
        if isinstance(figure, str)
        else f"{figure:.3f} s"
        if figure < 1
        else f"{figure:.2f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description="The same work in a loop, threads, asyncio and golib."
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--cell", nargs=2, metavar=("ROW", "PEER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        row, peer = arguments.cell
        measure = ROWS[int(row)].peers[peer]
        print(golib.run(measure) if peer == "golib" else measure())
        return 0

    figures: dict[str, dict[str, float | str]] = {row.title: {} for row in ROWS}
    with progress(sum(len(row.peers) for row in ROWS)) as step:
        for number, row in enumerate(ROWS):
            for peer in row.peers:
                figures[row.title][peer] = measure_apart(number, peer)
                step(f"{peer}: {row.title}")
    width = max(len(title) for title in figures)
    print(" " * width, *(f"{peer:>10}" for peer in PEERS))
    for title, of_peers in figures.items():
        print(f"{title:{width}}", *(f"{cell(of_peers.get(peer)):>10}" for peer in PEERS))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measurements that tests share with the scripts that they start. It imports little, because scripts load it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Thread
from typing import Any

import golib


def rss() -> int:
    """The bytes of memory that the process has."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def threads() -> int:
    """The runtime's OS threads. Idle ones stay for some seconds, so a test compares with what it finds."""
    return golib.runtime.stats()["threads"]


def longest_gap(fn: Callable[[], Any]) -> float:
    """Calls `fn` beside a goroutine that ticks every millisecond; the longest time between two ticks."""
    gaps: list[float] = []
    stop: list[int] = []

    def ticker() -> None:
        last = time.perf_counter()
        while not stop:
            golib.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    tick = golib.go(ticker)
    golib.sleep(0.02)
    fn()
    stop.append(1)
    tick.join()
    return max(gaps)


def most_inside(
    lock: AbstractContextManager[Any],
    goroutines: int = 10,
    rounds: int = 20,
    depth: int = 1,
    threads: int = 0,
) -> int:
    """How many goroutines and threads were ever inside `with lock` at once; they give way there."""
    inside = most = 0

    def enter(levels: int) -> None:
        nonlocal inside, most
        if levels:
            with lock:
                enter(levels - 1)
            return
        inside += 1
        most = max(most, inside)
        golib.gosched()
        time.sleep(0)
        inside -= 1

    def task() -> None:
        for _ in range(rounds):
            enter(depth)

    gs = [golib.go(task) for _ in range(goroutines)]
    ts = [Thread(target=task) for _ in range(threads)]
    for t in ts:
        t.start()
    for each in gs + ts:
        each.join()
    return most

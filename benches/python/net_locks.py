"""Locks, events and queues of the standard library under golib.patch(): `net_locks.py uncontended` or `switches PEER`.

`uncontended` prints what one operation takes on an ordinary thread without the patch, on one with it, and in a
goroutine with it; best of its turns, less the empty loop, in ns. `switches` prints what a round trip of two goroutines
(of two greenlets under gevent's monkey patch) takes, in ns: each passes two waits.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

N = 20_000
TURNS = 7
ROUND_TRIPS = 20_000

Loop = Callable[[int], None]


# -- uncontended -----------------------------------------------------------------------------------


def loops() -> dict[str, Loop]:
    import queue
    import socket
    import threading

    lock, rlock, event = threading.Lock(), threading.RLock(), threading.Event()
    jobs: queue.Queue[int] = queue.Queue()
    simple: queue.SimpleQueue[int] = queue.SimpleQueue()
    a, b = socket.socketpair()
    event.set()

    def empty(n: int) -> None:
        for _ in range(n):
            pass

    def with_lock(n: int) -> None:
        for _ in range(n):
            with lock:
                pass

    def with_rlock(n: int) -> None:
        for _ in range(n):
            with rlock:
                pass

    def event_wait(n: int) -> None:
        for _ in range(n):
            event.wait()

    def queue_put_get(n: int) -> None:
        for i in range(n):
            jobs.put(i)
            jobs.get()

    def simple_put_get(n: int) -> None:
        for i in range(n):
            simple.put(i)
            simple.get()

    def send_recv(n: int) -> None:
        for _ in range(n):
            a.send(b"x")
            b.recv(10)

    return {
        "empty": empty,
        "with Lock": with_lock,
        "with RLock": with_rlock,
        "Event.wait": event_wait,
        "Queue.put, get": queue_put_get,
        "SimpleQueue.put, get": simple_put_get,
        "socket.send, recv": send_recv,
    }


def timed(loop: Loop, n: int) -> float:
    begin = time.perf_counter()
    loop(n)
    return (time.perf_counter() - begin) / n * 1e9


def on_a_thread(function: Callable[[], Any]) -> Any:
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def uncontended(n: int, turns: int) -> dict[str, dict[str, float]]:
    import golib

    every = loops()

    def once() -> dict[str, float]:
        took = {name: timed(loop, n) for name, loop in every.items()}
        return {name: ns - took["empty"] for name, ns in took.items() if name != "empty"}

    sides: dict[str, list[dict[str, float]]] = {"thread": [], "patched thread": [], "goroutine": []}
    for _ in range(turns):
        sides["thread"].append(on_a_thread(once))
        golib.patch()
        sides["patched thread"].append(on_a_thread(once))
        sides["goroutine"].append(golib.run(lambda: golib.go(once).join()))
        golib.unpatch()
    return {
        name: {side: min(turn[name] for turn in all_turns) for side, all_turns in sides.items()}
        for name in sides["thread"][0]
    }


# -- switches --------------------------------------------------------------------------------------


def by_releases(ping: Any, pong: Any) -> tuple[Loop, Loop]:
    """By two locks or semaphores that nobody can take yet."""

    def one(n: int) -> None:
        for _ in range(n):
            ping.release()
            pong.acquire()

    def other(n: int) -> None:
        for _ in range(n):
            ping.acquire()
            pong.release()

    return one, other


def by_locks() -> tuple[Loop, Loop]:
    import threading

    ping, pong = threading.Lock(), threading.Lock()
    ping.acquire()
    pong.acquire()
    return by_releases(ping, pong)


def by_semaphores() -> tuple[Loop, Loop]:
    import threading

    return by_releases(threading.Semaphore(0), threading.Semaphore(0))


def by_events() -> tuple[Loop, Loop]:
    import threading

    ping, pong = threading.Event(), threading.Event()

    def one(n: int) -> None:
        for _ in range(n):
            ping.set()
            pong.wait()
            pong.clear()

    def other(n: int) -> None:
        for _ in range(n):
            ping.wait()
            ping.clear()
            pong.set()

    return one, other


def by_condition() -> tuple[Loop, Loop]:
    import threading

    turn, condition = [0], threading.Condition()

    def side(me: int) -> Loop:
        def loop(n: int) -> None:
            for _ in range(n):
                with condition:
                    while turn[0] != me:
                        condition.wait()
                    turn[0] = 1 - me
                    condition.notify()

        return loop

    return side(0), side(1)


def by_queues(make: Callable[[], Any]) -> tuple[Loop, Loop]:
    there, back = make(), make()

    def one(n: int) -> None:
        for i in range(n):
            there.put(i)
            back.get()

    def other(n: int) -> None:
        for _ in range(n):
            back.put(there.get())

    return one, other


def pairs() -> dict[str, Callable[[], tuple[Loop, Loop]]]:
    import queue

    return {
        "Lock": by_locks,
        "Semaphore": by_semaphores,
        "Condition": by_condition,
        "Event": by_events,
        "Queue": lambda: by_queues(queue.Queue),
        "SimpleQueue": lambda: by_queues(queue.SimpleQueue),
    }


def switches(start: Callable[[Loop, int], Any], n: int, turns: int) -> dict[str, float]:
    figures = {}
    for name, make in pairs().items():
        best = float("inf")
        for _ in range(turns):
            one, other = make()
            begin = time.perf_counter()
            handles = [start(other, n), start(one, n)]
            for handle in handles:
                handle.join()
            best = min(best, (time.perf_counter() - begin) / n * 1e9)
        figures[name] = best
    return figures


def main(what: str, peer: str, divisor: int) -> Any:
    n, round_trips = N // divisor, ROUND_TRIPS // divisor
    turns = TURNS if divisor == 1 else 1
    if what == "uncontended":
        return uncontended(n, turns)
    if peer == "gevent":
        from gevent import monkey, spawn

        monkey.patch_all()
        return switches(spawn, round_trips, turns)
    import golib

    golib.patch()
    return golib.run(switches, golib.go, round_trips, turns)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))), flush=True)
    os._exit(0)

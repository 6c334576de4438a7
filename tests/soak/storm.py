"""Runs one soak scenario: hundreds of goroutines that park at every step of something delicate.

    python storm.py SCENARIO [--seed S] [--goroutines N] [--rounds N]

Started with GOLIB_DEBUG=migrate=1, the scheduler moves every movable goroutine to another OS thread
at every park. After each park the goroutine checks that it is still itself for CPython: the same ident,
and one thread state for PyGILState and for the interpreter. After each round nothing may be left, and
from round to round the number of allocated blocks may not grow. Prints "ok" and exits with 0, or dies
with a traceback.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import importlib
import os
import pathlib
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import golib

Park = Callable[[], None]
Body = Callable[[Park, int, random.Random], None]

#: Scenario modules beside this file; `@scenario` registers what they define. Only the one with the
#: scenario asked for is imported: some need half of the standard library.
MODULES = (
    "python_state",
    "native_frames",
    "libraries",
    "locks_and_identity",
    "thread_keyed",
    "cancellation",
)

SCENARIOS: dict[str, Scenario] = {}


class Scenario:
    """A body that every goroutine of a storm runs."""

    def __init__(self, body: Body, goroutines: int, rounds: int, tolerance: int) -> None:
        self.body, self.goroutines, self.rounds = body, goroutines, rounds
        self.tolerance = tolerance


def take_twice(mine: Any, park: Park) -> None:
    """Takes a recursive lock at two depths and parks wherever it may hurt; another goroutine never gets it."""
    with mine:
        park()
        with mine:
            park()
            assert golib.go(mine.acquire, False).join() is False
        park()


#: Rounds that are not counted between the blocks before (the most of rounds 3 and 4) and after (the least of
#: the last two).
UNCOUNTED_ROUNDS = 5

#: Blocks that the interpreter's free lists and new thread states may keep: they fill in the first rounds,
#: but when depends on how the goroutines meet.
KEPT_FOR_REUSE = 300


def scenario(
    *, goroutines: int = 200, rounds: int | None = None, tolerance: int | None = None
) -> Callable[[Body], Body]:
    """Registers a body; `tolerance` is how many blocks may be allocated more after the last rounds.

    The rounds suffice for a leak of one block per goroutine to show as twice `KEPT_FOR_REUSE`.
    """
    rounds = rounds or max(8, UNCOUNTED_ROUNDS + 2 * KEPT_FOR_REUSE // goroutines)
    tolerance = KEPT_FOR_REUSE if tolerance is None else tolerance

    def register(body: Body) -> Body:
        SCENARIOS[body.__name__] = Scenario(body, goroutines, rounds, tolerance)
        return body

    return register


_api = ctypes.pythonapi
_api.PyGILState_GetThisThreadState.restype = ctypes.c_void_p
_api.PyThreadState_Get.restype = ctypes.c_void_p

#: Some of the OS threads on which goroutines were seen.
_os_threads: set[int] = set()
_requests: Any = golib.Chan()
_never: Any = golib.Chan()
_mutex = golib.sync.Mutex()


def check_identity(ident: int) -> None:
    """Asserts that CPython sees the goroutine `ident` on this OS thread."""
    assert threading.get_ident() == ident, "get_ident() changed"
    current, gilstate = _api.PyThreadState_Get(), _api.PyGILState_GetThisThreadState()
    assert current == gilstate, f"PyGILState {gilstate:#x} is not the current state {current:#x}"
    assert _api.PyGILState_Check() == 1
    if len(_os_threads) < 16:
        _os_threads.add(threading.get_native_id())


def _echo() -> None:
    for reply in _requests:
        reply.send(reply)


def _rendezvous() -> None:
    reply = golib.Chan()
    _requests.send(reply)
    assert reply.recv() is reply


def _select() -> None:
    reply = golib.Chan()
    _requests.send(reply)
    assert golib.select(_never, reply, None) == (1, reply, True)


def _time_out() -> None:
    try:
        golib.Chan().recv(0.0005)
    except TimeoutError:
        return
    raise AssertionError("no timeout")


def _locked() -> None:
    with _mutex:
        golib.gosched()


PARKS = [
    golib.gosched,
    golib.gosched,
    golib.gosched,
    lambda: golib.sleep(0),
    lambda: golib.sleep(0.0002),
    _rendezvous,
    _rendezvous,
    _select,
    _time_out,
    _locked,
]


def make_park(rng: random.Random) -> Park:
    """A park at random that checks the goroutine's identity on both sides."""
    ident = threading.get_ident()
    check_identity(ident)

    def park() -> None:
        rng.choice(PARKS)()
        check_identity(ident)

    return park


def park_anywhere() -> None:
    """A park for code of which nobody knows in which goroutine it runs (a collector's finalizer)."""
    ident = threading.get_ident()
    check_identity(ident)
    golib.gosched()
    check_identity(ident)


def _task(body: Body, i: int, seed: int) -> None:
    rng = random.Random(seed)
    body(make_park(rng), i, rng)


def _run(s: Scenario, rng: random.Random) -> list[int]:
    blocks = []
    servers = [golib.go(_echo) for _ in range(4)]
    alone = golib.num_goroutine()
    for _ in range(s.rounds):
        gs = [golib.go(_task, s.body, i, rng.getrandbits(64)) for i in range(s.goroutines)]
        failures = [e for e in (g.exception() for g in gs) if e is not None]
        if failures:
            print(f"{len(failures)} of {len(gs)} goroutines failed; the first:", file=sys.stderr)
            raise failures[0]
        del gs, failures
        deadline = time.monotonic() + 20
        while golib.num_goroutine() > alone:
            assert time.monotonic() < deadline, golib.runtime.stack(all=True)
            golib.sleep(0.001)
        gc.collect()
        # The cache of attributes keeps the names that C code made for one look-up: asyncio's "result".
        _api.PyType_ClearCache()
        blocks.append(sys.getallocatedblocks())
    _requests.close()
    for g in servers:
        g.join()
    return blocks


def find(name: str) -> Scenario:
    """The scenario called `name`; imports the module that defines it."""
    here = pathlib.Path(__file__).parent
    for module in MODULES:
        if f"def {name}(" in (here / f"{module}.py").read_text():
            importlib.import_module(module)
            return SCENARIOS[name]
    raise SystemExit(f"no scenario is called {name}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--goroutines", type=int)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    faulthandler.enable()
    s = find(options.scenario)
    s.goroutines = options.goroutines or s.goroutines
    s.rounds = options.rounds or s.rounds
    print("seed", options.seed, flush=True)
    blocks = golib.run(_run, s, random.Random(options.seed))
    if "migrate=1" in os.environ.get("GOLIB_DEBUG", ""):
        assert len(_os_threads) > 1, "no goroutine ever moved"
    if len(blocks) > UNCOUNTED_ROUNDS:
        growth = min(blocks[-2:]) - max(blocks[2:4])
        assert growth <= s.tolerance, f"{growth} blocks more: {blocks}"
    print("ok")


if __name__ == "__main__":
    sys.modules["storm"] = sys.modules["__main__"]
    main()

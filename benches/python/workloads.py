"""The workloads, their variants, the names of their figures, and the targets."""

from __future__ import annotations

from typing import NamedTuple

from common import SIZES

PEERS = ["golib", "asyncio", "uvloop", "gevent", "trio", "threads", "runloom"]


class Timed(NamedTuple):
    """A workload of which run.py times the call."""

    unit: str
    operations: int | None  # in a call with n=1; None: the whole call counts, in ms


#: Workloads that run.py times; the others return named figures.
TIMED = {
    "spawn_join": Timed("µs/task", 1),
    "yield_": Timed("µs/yield", 2),
    "pingpong": Timed("µs/round trip", 1),
    "prodcons": Timed("µs/item", 1),
    "mpmc": Timed("µs/item", 1),
    "select_fanin": Timed("µs/item", 1),
    "sieve": Timed("ms", None),
    "skynet_10k": Timed("ms", None),
    "skynet_100k": Timed("ms", None),
    "mutex": Timed("µs/lock+unlock", 4),
    "parallel_1": Timed("ms", None),
    "parallel": Timed("ms", None),
}

#: Variants that only some peers have, measured as the workload that they vary.
EXTRAS = {
    "spawn_join": [
        "handles", "taskgroup", "gather", "eager", "batched", "noyield", "c", "waitgroup",
    ],
    "pingpong": ["queue"],
    "prodcons": ["iterated"],
    "select_fanin": ["merge", "prepared"],
    "cpu_hog": ["preempt"],
}  # fmt: skip

ALL = [name for w in SIZES for name in [w, *(f"{w}_{v}" for v in EXTRAS.get(w, []))]]

FIGURES = {
    "rss_B": "VmRSS per task, B",
    "pte_B": "VmPTE per task, B",
    "vm_B": "VmSize per task, B",
    "create_us": "create, µs/task",
    "over_ms": "elapsed − 1 s, ms",
    "late_p50_ms": "late p50, ms",
    "late_p99_ms": "late p99, ms",
    "max_gap_ms": "ticker's max gap, ms",
    "call_us": "call, µs",
    "sleep_p50_ms": "a 1 ms sleep, p50 ms",
    "sleep_p99_ms": "a 1 ms sleep, p99 ms",
}


def base(workload: str) -> str:
    """The workload that a variant varies."""
    for name in sorted(SIZES, key=len, reverse=True):
        if workload == name or workload.removeprefix(name + "_") in EXTRAS.get(name, []):
            return name
    raise SystemExit(f"unknown workload: {workload}; there are {', '.join(ALL)}")


class Faster(NamedTuple):
    """golib's figure must be `least` times smaller than the best of `peers`."""

    workload: str
    figure: str
    peers: tuple[str, ...]
    least: float


class Within(NamedTuple):
    """The sum of golib's figures must be at most `most`."""

    workload: str
    figures: tuple[str, ...]
    most: float


EVENT_LOOPS = ("asyncio", "uvloop", "runloom")
OTHERS = tuple(PEERS[1:])

TARGETS: list[Faster | Within] = [
    Faster("yield_", "µs/yield", ("runloom",), 1.5),
    Faster("yield_", "µs/yield", ("uvloop",), 11),
    Faster("pingpong", "µs/round trip", ("runloom",), 2.3),
    Faster("pingpong", "µs/round trip", ("uvloop",), 15),
    Faster("prodcons", "µs/item", ("runloom",), 1),
    Faster("prodcons", "µs/item", ("gevent",), 3),
    Faster("mpmc", "µs/item", ("runloom",), 1),
    Faster("mpmc", "µs/item", ("gevent",), 3),
    Faster("select_fanin", "µs/item", ("runloom",), 2),
    Faster("select_fanin", "µs/item", ("uvloop",), 20),
    Faster("spawn_join", "µs/task", EVENT_LOOPS, 8),
    Faster("sieve", "ms", ("runloom",), 1.8),
    Faster("sieve", "ms", ("uvloop",), 14),
    Faster("skynet_100k", "ms", OTHERS, 8),
    Faster("mutex", "µs/lock+unlock", OTHERS, 2),
    Within("parked", ("rss_B",), 5000),
    Within("parked", ("rss_B", "pte_B"), 9500),
    Faster("parked", "create_us", ("uvloop",), 1 / 1.3),
    Within("timers", ("over_ms",), 500),
    Faster("timers", "late_p99_ms", ("uvloop",), 2),
    Within("blocking", ("max_gap_ms",), 5),
    Within("cpu_hog", ("max_gap_ms",), 20),
    Within("fairness", ("sleep_p50_ms",), 11),
    Within("fairness", ("sleep_p99_ms",), 30),
    Within("offload", ("call_us",), 1),
]
#: One core's time against that of two: golib beside itself.
PARALLEL_LEAST = 1.9

"""Shared by all peers: sizes, checks, the ticker's arithmetic, memory readings.

A peer is a module `peer_<name>.py` that defines the functions named in `SIZES`
(and those in `workloads.EXTRAS` that make sense for it). Each takes n, does the whole
workload including starting and ending its own loop, checks the delivered values,
and returns None (run.py times the call) or a dict of named figures.
A peer does not define a workload that its library cannot do.
"""

import ctypes
import hashlib
import itertools
import random
import time

now = time.perf_counter

CAPACITY = 128
PRODUCERS = CONSUMERS = 4
SIEVE_LIMIT = 1223  # the 200th prime
SIEVE_PRIMES = 200

# default n of each workload; a peer overrides with its own SIZES
SIZES = {
    "spawn_join": 200_000,
    "yield_": 500_000,
    "pingpong": 100_000,
    "prodcons": 300_000,
    "mpmc": 300_000,
    "select_fanin": 100_000,
    "sieve": SIEVE_PRIMES,
    "skynet_10k": 10_000,
    "skynet_100k": 100_000,
    "parked": 100_000,
    "timers": 100_000,
    "mutex": 100_000,
    "blocking": 0,
    "fairness": 300,
    "offload": 5_000,
    "cpu_hog": 0,
    "parallel_1": 8,
    "parallel": 8,
}

usleep = ctypes.CDLL(None).usleep  # CDLL releases the GIL, and nothing monkey-patches it
usleep.argtypes = [ctypes.c_uint]
BLOCK_US = 300_000
TICK = 0.001
TICKING = 0.7  # the ticker's whole life, in seconds
HOG_AFTER = 0.1  # the offender starts this long after the ticker


def block():
    usleep(BLOCK_US)


def spin():
    end = now() + 0.3
    while now() < end:
        pass


def total(n):
    return n * (n - 1) // 2


def check(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def max_gap(ticks):
    """The longest time between two ticks, in ms."""
    return {"max_gap_ms": 1e3 * max(b - a for a, b in itertools.pairwise(ticks))}


def delays(n):
    rng = random.Random(1)
    return [rng.random() for _ in range(n)]


def timer_figures(n, elapsed, late):
    check(len(late), n)
    late.sort()
    return {
        "over_ms": 1e3 * (elapsed - 1),
        "late_p50_ms": 1e3 * late[n // 2],
        "late_p99_ms": 1e3 * late[n * 99 // 100],
    }


def memory():
    """(VmRSS, VmPTE, VmSize) in bytes."""
    with open("/proc/self/status") as f:
        kb = dict(line.split(":", 1) for line in f)
    return [1024 * int(kb[k].split()[0]) for k in ("VmRSS", "VmPTE", "VmSize")]


def parked_figures(n, before, after, seconds):
    rss, pte, size = [(b - a) / n for a, b in zip(before, after, strict=True)]
    return {"rss_B": rss, "pte_B": pte, "vm_B": size, "create_us": 1e6 * seconds / n}


_buffer = bytes(32 << 20)
_digest = None


def digest():
    """32 MB of sha256, the GIL released."""
    return hashlib.sha256(_buffer).digest()


def check_digests(digests, n):
    check(len(digests), n)
    check(len(set(digests)), 1)

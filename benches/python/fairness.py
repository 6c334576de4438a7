"""Do ordinary Python threads get their turn beside goroutines?

Two goroutines yield in a loop, which never releases the GIL by itself; one ordinary thread computes, another sleeps
1 ms at a time. The sleeper waits for CPython's switch interval, once for each competitor.

    fairness.py [SECONDS]
"""

from __future__ import annotations

import sys
import threading
import time

import golib

SLEEP = 0.001


def measure(seconds: float) -> dict[str, float]:
    """How long the sleeper's 1 ms sleeps took, in ms."""
    slept: list[float] = []
    stop = False

    def sleeper() -> None:
        nonlocal stop
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            time.sleep(SLEEP)
            slept.append(1e3 * (time.perf_counter() - began))
        stop = True

    def busy() -> None:
        while not stop:
            pass

    def yielding() -> None:
        while not stop:
            golib.gosched()

    def main() -> None:
        threads = [threading.Thread(target=busy), threading.Thread(target=sleeper)]
        goroutines = [golib.go(yielding), golib.go(yielding)]
        for thread in threads:
            thread.start()
        for goroutine in goroutines:
            goroutine.join()
        for thread in threads:
            thread.join()

    golib.run(main)
    slept.sort()
    return {
        "sleep_p50_ms": slept[len(slept) // 2],
        "sleep_p99_ms": slept[len(slept) * 99 // 100],
    }


if __name__ == "__main__":
    figures = measure(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
    print(", ".join(f"{name} {value:.2f}" for name, value in figures.items()))

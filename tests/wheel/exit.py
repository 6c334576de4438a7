"""Ends with 7 while goroutines still compute: CPython unwinds or stops their threads, through golib's frames.

A wheel with two unwinders dies here by SIGSEGV. `.ci/check-wheel` runs it five times with each wheel.
"""

import sys

import golib


def compute() -> None:
    while True:
        pass


def main() -> None:
    for _ in range(5):
        golib.go(compute)
    golib.sleep(0.02)


golib.run(main)
sys.exit(7)

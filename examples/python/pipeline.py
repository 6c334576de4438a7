"""Stages joined by channels: numbers -> squares -> sum. Each stage closes its output."""

from collections.abc import Callable, Iterable

import golib
from golib import Chan, RecvChan, go


def numbers(n: int) -> RecvChan[int]:
    out = Chan[int]()

    def produce() -> None:
        with out:
            for i in range(n):
                out.send(i)

    go(produce)
    return out.receiver


def stage(fn: Callable[[int], int], source: Iterable[int]) -> RecvChan[int]:
    out = Chan[int]()

    def work() -> None:
        with out:
            for value in source:
                out.send(fn(value))

    go(work)
    return out.receiver


@golib.main
def main() -> None:
    squares = stage(lambda n: n * n, numbers(1000))
    print(sum(stage(lambda n: n + 1, squares)))


if __name__ == "__main__":
    main()

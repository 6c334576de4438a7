"""The concurrent prime sieve: a chain of goroutines, one for each prime found."""

import sys

import golib
from golib import Chan, ChanClosed, go


def generate(out: Chan[int], limit: int) -> None:
    with out:
        for i in range(2, limit):
            out.send(i)


def keep_indivisible(prime: int, source: Chan[int], out: Chan[int]) -> None:
    with out:
        for i in source:
            if i % prime:
                out.send(i)


@golib.main
def primes_below(limit: int) -> list[int]:
    found: list[int] = []
    source = Chan[int]()
    go(generate, source, limit)
    while True:
        try:
            prime = source.recv()
        except ChanClosed:
            return found
        found.append(prime)
        out = Chan[int]()
        go(keep_indivisible, prime, source, out)
        source = out


if __name__ == "__main__":
    print(*primes_below(int(sys.argv[1]) if len(sys.argv) > 1 else 100))

"""A fixed number of workers over one channel of jobs; the hashing releases the GIL and runs in parallel."""

import hashlib

import golib
from golib import Chan
from golib.sync import WaitGroup

WORKERS = 4
JOBS = 20


def work(jobs: Chan[int], results: Chan[tuple[int, str]]) -> None:
    for n in jobs:
        results.send((n, hashlib.sha256(bytes(n * 100_000)).hexdigest()))


@golib.main
def main() -> None:
    jobs, results = Chan[int](), Chan[tuple[int, str]](JOBS)
    workers = WaitGroup()
    for _ in range(WORKERS):
        workers.go(work, jobs, results)
    with jobs:
        for n in range(JOBS):
            jobs.send(n)
    workers.wait()
    results.close()
    for n, digest in sorted(results):
        print(f"{n:2} {digest[:16]}")


if __name__ == "__main__":
    main()

"""Does an installed golib work? Blocking calls, channels, select, waits below callbacks of C, a scope, memory, a deadlock.

`.ci/check-wheel` runs it with each wheel, in an environment that holds nothing else.
"""

import hashlib
import sys
import time
from pathlib import Path

import golib
from golib import Chan, go, select, send


def worker(n: int, out: Chan[list[int]]) -> None:
    golib.sleep(0.001 * (n % 3))
    out.send(sorted([n, n - 1], key=lambda v: (golib.gosched(), v)[1]))  # waits below C


def deep(calls: int) -> int:
    return deep(calls - 1) if calls else 0


def resident_kilobytes() -> int:
    """0 where no file says so."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4 if statm.exists() else 0


def rounds(n: int) -> None:
    """Goroutines that call deeply: each leaves a chunk of frames to its thread state, in some patch releases."""
    for _ in range(n):
        for g in [go(deep, 300) for _ in range(200)]:
            g.join()


@golib.main
def main() -> None:
    blocked = [go(time.sleep, 0.2) for _ in range(8)]
    hashed = go(hashlib.sha256, bytes(1 << 20))
    out = Chan[list[int]](4)
    workers = [go(worker, i, out) for i in range(200)]
    got = [out.recv() for _ in range(200)]
    assert sorted(got) == [[i - 1, i] for i in range(200)]
    for g in workers + blocked:
        g.join()
    assert hashed.join().hexdigest().startswith("30e14955")

    case, _, _ = select(send(Chan[int](), 1), Chan[int](), default=True)
    assert case == -1
    try:
        with golib.timeout(0.05), golib.scope() as scope:
            scope.go(Chan[int]().recv)
    except TimeoutError:
        pass
    else:
        raise AssertionError("the timeout did not end the scope")


main()
rounds(3)
before = resident_kilobytes()
rounds(10)
assert resident_kilobytes() - before < 10_000, "goroutines leave memory behind"
try:
    golib.run(Chan[int]().recv)
except golib.Deadlock:
    pass
else:
    raise AssertionError("nobody noticed the deadlock")
golib.patch()  # it looks at the layouts of this very release
golib.unpatch()
assert Path(golib.__file__).with_name("py.typed").exists()
print("smoke: golib", golib.__version__, "works on", sys.version.split()[0])

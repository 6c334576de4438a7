"""Counts instructions: what single operations take from Python, by callgrind, in one build of golib or in several.

    counts.py [OPERATION ...] [--python PATH ...] [--functions]

Each operation runs twice in a process of its own, a different number of times; the difference is the operation's alone,
with the interpreter's part and without the collector's. Counts repeat to within 0.5 % on a busy machine too. With two
interpreters, `--functions` lists where their counts differ.
"""

from __future__ import annotations

import argparse
import collections
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The first number warms up what is kept between operations: stacks, thread states, caches.
WARM, TIMES = 1_000, 4_000

Operation = Callable[[int], object]


def operations() -> dict[str, Operation]:
    return goroutines() | blocks() | channels()


def goroutines() -> dict[str, Operation]:
    import golib
    from golib import go, gosched, sleep, spawn

    def go_join(n: int) -> None:
        for _ in range(n):
            go(int).join()

    def go_python(n: int) -> None:
        def f() -> None:
            pass

        for _ in range(n):
            go(f).join()

    def spawn_join(n: int) -> None:
        for _ in range(n):
            spawn(int, name="x").join()

    def scope_block(n: int) -> None:
        scope = golib.scope
        for _ in range(n):
            with scope():
                pass

    def scope_go(n: int) -> None:
        scope = golib.scope
        for _ in range(n):
            with scope() as s:
                s.go(int)

    def sleep_0(n: int) -> None:
        for _ in range(n):
            sleep(0)

    def sleep_short(n: int) -> None:
        for _ in range(n):
            sleep(0.00001)

    def yields(n: int) -> None:
        def worker() -> None:
            for _ in range(n):
                gosched()

        one, other = go(worker), go(worker)
        one.join()
        other.join()

    return ours(locals())


def blocks() -> dict[str, Operation]:
    import golib
    from golib import context, timeout

    import costs

    def timeout_nested(n: int) -> None:
        with timeout(50):
            for _ in range(n):
                with timeout(5):
                    pass

    def timeout_expires(n: int) -> None:
        for _ in range(n):
            with timeout(0.00001, raises=False):
                golib.nil.recv()

    def with_context(n: int) -> None:
        root, cancel = context.with_timeout(context.background(), 500)
        for _ in range(n):
            with root:
                pass
        cancel()

    same = [costs.timeout_block, costs.shield_block, costs.with_cancel, costs.with_timeout]
    return {loop.__name__: loop for loop in same} | ours(locals())


def channels() -> dict[str, Operation]:
    from golib import Chan, go, select

    import costs

    def pingpong(n: int) -> None:
        there, back = Chan[int](), Chan[int]()

        def pong() -> None:
            for _ in range(n):
                back.send(there.recv())

        task = go(pong)
        for i in range(n):
            there.send(i)
            back.recv()
        task.join()

    def buffered(n: int) -> None:
        ch = Chan[int](1)
        for i in range(n):
            ch.send(i)
            ch.recv()

    def select_2(n: int) -> None:
        one, other = Chan[int](1), Chan[int](1)
        for i in range(n):
            one.send(i)
            select(one, other)

    def select_2_parked(n: int) -> None:
        one, other = Chan[int](), Chan[int]()

        def sender() -> None:
            for i in range(n):
                one.send(i)

        task = go(sender)
        for _ in range(n):
            select(one, other)
        task.join()

    return ours(locals()) | {"mutex": costs.lock_unlock}


def ours(names: dict[str, Any]) -> dict[str, Operation]:
    return {
        name: made for name, made in names.items() if getattr(made, "__module__", "") == __name__
    }


def perform(name: str, n: int) -> None:
    """In the process that is measured."""
    import gc

    import golib

    gc.collect()
    gc.disable()
    golib.run(operations()[name], n)


def profile(python: str, operation: str, n: int) -> collections.Counter[str]:
    """Instructions of the whole process, all threads together, by function."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command = [*valgrind, python, __file__, "--perform", operation, str(n)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
        return functions(out.read_text())


#: Without CPython's own allocator, whose costs depend on how full its pools happen to be.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONMALLOC": "malloc",
    "GOMAXPROCS": "1",
    "PATH": "/usr/bin:/bin",
}


def functions(text: str) -> collections.Counter[str]:
    """The own instructions of each function in a file of callgrind's."""
    names: dict[str, str] = {}
    counts: collections.Counter[str] = collections.Counter()
    name, is_call = "?", False
    for line in text.splitlines():
        if line.startswith("fn="):
            number, _, new = line[3:].partition(" ")
            name = re.sub(
                r"^(_golib|go_lib)::(\w+::)*(?=\w+::\w)", "", names.setdefault(number, new)
            )
        elif line.startswith("cfn="):
            number, _, new = line[4:].partition(" ")
            names.setdefault(number, new)
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[+\-*\d]", line):
            if not is_call:
                counts[name] += int(line.split()[-1])
            is_call = False
    return counts


def count(python: str, operation: str) -> collections.Counter[str]:
    more, fewer = profile(python, operation, WARM + TIMES), profile(python, operation, WARM)
    more.subtract(fewer)
    return more


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="*", metavar="OPERATION")
    parser.add_argument("--python", action="append", metavar="PATH")
    parser.add_argument("--functions", action="store_true")
    arguments = parser.parse_args()
    pythons = arguments.python or [sys.executable]
    known = list(operations())
    if unknown := set(arguments.only) - set(known):
        parser.error(f"{' '.join(sorted(unknown))}: not among {' '.join(known)}")
    print("| operation |" + " instructions |" * len(pythons) + "\n|---|" + "---|" * len(pythons))
    for operation in arguments.only or known:
        counts = [count(python, operation) for python in pythons]
        totals = [each.total() / TIMES for each in counts]
        cells = " | ".join(f"{t:.0f} ({100 * (t / totals[0] - 1):+.1f} %)" for t in totals)
        print(f"| {operation} | {cells} |", flush=True)
        if arguments.functions:
            for name in sorted(
                counts[0] | counts[-1], key=lambda f: -abs(counts[-1][f] - counts[0][f])
            )[:30]:
                print(f"{counts[0][name] / TIMES:10.1f} {counts[-1][name] / TIMES:10.1f}  {name}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--perform"]:
        perform(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())

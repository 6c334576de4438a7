"""Indexes a tree of files: how often each identifier occurs, and a digest of every file.

    index_tree.py [DIR] [--workers N] [--check] [--all]

One goroutine walks the tree into a channel. N goroutines take paths from it, read the files with plain blocking
`open().read()`, hash them and count identifiers. Reports, problems and a ticker meet in one select. Nothing here is
asynchronous, and no call is wrapped: a worker that blocks in the kernel, or hashes without the GIL, holds up nobody.

Binary files count as files and bytes but have no identifiers; they are listed, as is whatever cannot be read. DIR is
the interpreter's standard library by default. `--check` repeats the work in a plain loop and exits with 1 if the
results differ.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import stat
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import golib
from golib import Chan, SendOnClosed, go, select
from golib.sync import WaitGroup

IDENTIFIER = re.compile(r"[^\W\d]\w*")
#: Folders for caches and installed packages: they change during the run, and are not part of the tree.
SKIPPED = frozenset({"__pycache__", "site-packages", "dist-packages"})
TICK_SECONDS = 0.1
LISTED = 10
COMMONEST = 20


class Report(NamedTuple):
    """The contents of one file; `words` is None for a binary file."""

    path: str
    size: int
    digest: str
    words: Counter[str] | None


class Problem(NamedTuple):
    """Why a file or directory could not be read."""

    path: str
    reason: str


@dataclass
class Index:
    """The contents of a tree; two indexes of one tree are equal, whatever the order of the reports."""

    digests: dict[str, str] = field(default_factory=dict)
    size: int = 0
    words: Counter[str] = field(default_factory=Counter)
    binary: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        self.digests[report.path] = report.digest
        self.size += report.size
        if report.words is None:
            self.binary.add(report.path)
        else:
            self.words.update(report.words)


def walk(root: str, on_problem: Callable[[Problem], None]) -> Iterator[str]:
    """Every path below `root` that is not a directory."""

    def unreadable(error: OSError) -> None:
        on_problem(Problem(os.fspath(error.filename), reason(error)))

    for directory, subdirectories, files in os.walk(root, onerror=unreadable):
        subdirectories[:] = [name for name in subdirectories if name not in SKIPPED]
        for name in files:
            yield os.path.join(directory, name)


def scan(path: str) -> Report | Problem:
    """Reads and counts one file, blocking as any ordinary program would."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for its writer
            return Problem(path, "not a regular file")
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        return Problem(path, reason(error))
    digest = hashlib.sha256(content).hexdigest()
    try:
        text = content.decode() if b"\0" not in content else None
    except UnicodeDecodeError:
        text = None
    words = None if text is None else Counter(IDENTIFIER.findall(text))
    return Report(path, len(content), digest, words)


def reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def tick(ticks: Chan[None]) -> None:
    """A tick every TICK_SECONDS until the channel is closed; one that nobody waits for is dropped."""
    with contextlib.suppress(SendOnClosed):
        while True:
            golib.sleep(TICK_SECONDS)
            ticks.try_send(None)


def index_concurrently(root: str, workers: int, on_tick: Callable[[Index], None]) -> Index:
    """The tree's index, made by one walking goroutine and `workers` reading ones."""
    paths = Chan[str](4 * workers)
    reports = Chan[Report](workers)
    problems = Chan[
        Problem
    ]()  # unbuffered: when its senders have ended, everything has been received
    ticks = Chan[None](1)
    senders = WaitGroup()

    def walk_into_paths() -> None:
        with paths:
            for path in walk(root, problems.send):
                paths.send(path)

    def work() -> None:
        for path in paths:
            match scan(path):
                case Report() as report:
                    reports.send(report)
                case Problem() as problem:
                    problems.send(problem)

    def close_when_done() -> None:
        senders.wait()
        reports.close()

    senders.go(walk_into_paths)
    for _ in range(workers):
        senders.go(work)
    go(close_when_done)
    go(tick, ticks)

    index = Index()
    with ticks:
        while True:
            case, value, ok = select(reports, problems, ticks)
            if case == 2:
                on_tick(index)
            elif case == 1:
                index.problems[value.path] = value.reason
            elif ok:
                index.add(value)
            else:
                return index


def index_sequentially(root: str) -> Index:
    """The same without golib: a plain loop."""
    index = Index()

    def note(problem: Problem) -> None:
        index.problems[problem.path] = problem.reason

    for path in walk(root, note):
        match scan(path):
            case Report() as report:
                index.add(report)
            case Problem() as problem:
                note(problem)
    return index


def progress(index: Index) -> None:
    line = f"\r{len(index.digests):,} files, {index.size / 1e6:,.1f} MB ...\x1b[K"
    print(line, end="", file=sys.stderr, flush=True)


def totals(index: Index) -> str:
    return (
        f"{len(index.digests):,} files, {index.size / 1e6:,.1f} MB, "
        f"{index.words.total():,} identifiers, {len(index.words):,} different"
    )


def print_listed(title: str, lines: list[str], limit: int | None) -> None:
    if lines:
        print(f"{len(lines):,} {title}")
        for line in lines[:limit]:
            print(f"  {line.encode(errors='backslashreplace').decode()}")  # any bytes name a file
        if limit is not None and len(lines) > limit:
            print(f"  ... and {len(lines) - limit:,} more (--all lists them)")


def print_index(index: Index, limit: int | None) -> None:
    print(totals(index))
    print_listed("binary, not counted:", sorted(index.binary), limit)
    print_listed("not read:", sorted(f"{p}: {why}" for p, why in index.problems.items()), limit)
    ranked = sorted(index.words.items(), key=lambda item: (-item[1], item[0]))
    for word, count in ranked[:COMMONEST]:
        print(f"{count:10,} {word}")


def differences(ours: Index, theirs: Index) -> list[str]:
    """Describes the differences between two indexes of one tree; empty if they are equal."""
    changed = sorted(
        path
        for path in ours.digests.keys() | theirs.digests.keys()
        if ours.digests.get(path) != theirs.digests.get(path)
    )
    found = [f"content of {path}" for path in changed]
    if ours.words != theirs.words:
        found.append("counts of identifiers")
    if (ours.binary, ours.problems) != (theirs.binary, theirs.problems):
        found.append("files listed as binary or not read")
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Counts the identifiers in a tree of files.")
    parser.add_argument("dir", nargs="?", default=sysconfig.get_path("stdlib"))
    parser.add_argument("--workers", type=int, default=8, metavar="N")
    parser.add_argument("--check", action="store_true", help="compare with a sequential pass")
    parser.add_argument("--all", action="store_true", help="list every binary or unread file")
    arguments = parser.parse_args()
    if arguments.workers < 1:
        parser.error("--workers must be at least 1")
    if not os.path.isdir(arguments.dir):
        parser.error(f"{arguments.dir} is not a directory")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    on_terminal = sys.stderr.isatty()
    began = time.perf_counter()
    index = golib.run(
        index_concurrently,
        arguments.dir,
        arguments.workers,
        progress if on_terminal else lambda _: None,
    )
    seconds = time.perf_counter() - began
    if on_terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print_index(index, None if arguments.all else LISTED)
    if not arguments.check:
        return 0

    began = time.perf_counter()
    found = differences(index, index_sequentially(arguments.dir))
    print(
        f"{arguments.workers} workers: {seconds:.2f} s, one loop: {time.perf_counter() - began:.2f} s"
    )
    if found:
        print_listed("differences from the sequential pass:", found, None)
        return 1
    print("check: the same as a sequential pass")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

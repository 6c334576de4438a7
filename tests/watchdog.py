"""Ends a test run that hangs, from a process of its own.

A thread in the run's process, or a Python signal handler there, could wake a waiter, and so would switch deadlock
detection off. The run writes how many seconds the test may take and the test's name, and 0 when it has ended.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: Seconds between two steps towards the end of a run that hangs.
STEP = 5.0


class Watchdog:
    """The end of the connection that the test run holds."""

    def __init__(self, stderr: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )

    def watch(self, seconds: float, test: str = "") -> None:
        """Ends the run unless the next call comes within `seconds`; 0 means no limit."""
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), f"{seconds} {test!a}\n".encode())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def chunks() -> Callable[[float | None], bytes | None]:
    """What comes by stdin: a function that returns b"" at its end, and None if nothing comes within the seconds given."""
    if sys.platform != "win32":
        return lambda seconds: os.read(0, 4096) if select.select([0], [], [], seconds)[0] else None
    got: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        while True:
            chunk = os.read(0, 4096)
            got.put(chunk)
            if not chunk:
                return

    def within(seconds: float | None) -> bytes | None:
        try:
            return got.get(timeout=seconds)
        except queue.Empty:
            return None

    threading.Thread(target=read, daemon=True).start()
    return within


def main(run: int) -> None:
    seconds, test, text = 0.0, "", b""
    read = chunks()
    while True:
        chunk = read(seconds or None)
        if chunk is None:
            end(run, test)
            return
        if not chunk:
            return  # the run is over
        *lines, text = (text + chunk).split(b"\n")
        if lines:
            limit, test = lines[-1].decode().split(" ", 1)
            seconds = float(limit)


def end(run: int, test: str) -> None:
    """Makes golib print all goroutines and faulthandler all threads, then kills the processes that are left."""
    print(f"\n==== hangs: {test}; all goroutines:", file=sys.stderr, flush=True)
    if sys.platform == "win32":
        os.kill(run, signal.SIGTERM)  # which ends it at once
        return
    children = [
        int(pid)
        for task in Path(f"/proc/{run}/task").iterdir()
        for pid in (task / "children").read_text().split()
        if int(pid) != os.getpid()
    ]
    for number in (signal.SIGQUIT, signal.SIGABRT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(run, number)
        time.sleep(STEP if number != signal.SIGKILL else 0)
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))

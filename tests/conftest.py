"""The frame around every test: random order, a hang watchdog, and the footprint check.

A test that passed must leave the process as it found it: no additional goroutine, thread state with a
frame, file descriptor, golib object or `Tracked` value; no more than a bounded number of OS threads; no
unexpected exception; no OS thread that golib does not know. A test that hangs prints all goroutines and
ends the run (`watchdog.py`).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import pathlib
import random
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import golib
import golib.runtime
import golib.signal
import pytest

import windows
from support import PLACES, Tracked
from watchdog import Watchdog

#: Seconds after which a test counts as hung; `@pytest.mark.hang(seconds)` changes it for one test.
HANG_AFTER = 90.0

#: Idle Ms end only after some seconds, so their number is bounded rather than restored.
MAX_OS_THREADS = 600

_seed_key = pytest.StashKey[int]()
_passed = pytest.StashKey[bool]()
_footprint = pytest.StashKey["Footprint"]()
_panics: list[tuple[Any, BaseException]] = []
_panics_wanted = False
_watchdog: Watchdog | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("golib")
    group.addoption("--seed", default=os.environ.get("GOLIB_TEST_SEED"), help="seed of the order")
    group.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    global _watchdog
    config.addinivalue_line("markers", "slow: minutes long; runs only with --slow")
    config.addinivalue_line("markers", "hang(seconds): this test may take that long")
    stderr = os.dup(2)  # the real one: pytest has not redirected it yet
    # Where golib's handler of SIGQUIT prints all goroutines.
    sys.__stderr__ = os.fdopen(stderr, "w", encoding="utf-8", errors="backslashreplace")  # type: ignore[misc]
    _watchdog = Watchdog(stderr)
    seed = config.getoption("--seed")
    config.stash[_seed_key] = (
        int(seed) if seed is not None else random.SystemRandom().getrandbits(32)
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    if _watchdog is not None:
        _watchdog.close()


def pytest_report_header(config: pytest.Config) -> str:
    return f"golib: order and random choices from --seed={config.stash[_seed_key]}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="slow: needs --slow")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)
    items.sort(key=lambda item: item.nodeid)
    random.Random(config.stash[_seed_key]).shuffle(items)


def pytest_ignore_collect(collection_path: pathlib.Path) -> bool | None:
    return True if windows.leave_out(collection_path.name) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in windows.report():
        terminalreporter.write_line(line)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Starts everything that keeps something forever, lest it count as a leak of the first test: the
    runtime, its alarms, and ctypes, whose libffi may keep a descriptor."""
    importlib.import_module("ctypes")

    def warm_up() -> None:
        golib.sleep(0.001)
        golib.gosched()

    golib.run(warm_up)
    golib.time.Timer(3600).stop()  # the goroutine that acts on alarms stays
    golib.aio.run_async(asyncio.sleep(0))  # starts golib's own event loop
    golib.aio.Executor(1).shutdown()  # imports its module
    golib.go(int).join()
    if "net" in golib.__all__:
        golib.net.listen("127.0.0.1:0").close()  # the poller
    for _ in range(2):  # the servants of the alarms: one that acts, one that waits meanwhile
        with golib.timeout(0.001, raises=False):
            golib.sleep(5)


# ---------------------------------------------------------------------------------------------
# The watchdog


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("hang")
    assert _watchdog is not None
    _watchdog.watch(marker.args[0] if marker else HANG_AFTER, item.nodeid)
    try:
        return (yield)
    finally:
        _watchdog.watch(0)


# ---------------------------------------------------------------------------------------------
# The footprint


class Footprint(NamedTuple):
    """Counts that a test must not raise."""

    goroutines: int
    thread_states: int
    fds: int
    golib_objects: int
    tracked: int
    strangers: int

    @classmethod
    def now(cls) -> Footprint:
        gc.collect()
        mine = sum(
            1 for o in gc.get_objects() if str(type(o).__module__).partition(".")[0] in _OURS
        )
        return cls(
            golib.num_goroutine(),
            len(sys._current_frames()),
            _entries("/proc/self/fd"),
            mine,
            Tracked.alive,
            golib._golib._strangers(),
        )

    def within(self, other: Footprint) -> bool:
        return all(a <= b for a, b in zip(self, other, strict=True))


_OURS = frozenset({"golib", "_golib"})


def _entries(folder: str) -> int:
    """How many there are; 0 on Windows, where nothing says so."""
    return 0 if windows.HERE else len(os.listdir(folder))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    global _panics_wanted
    _panics_wanted = False
    _panics.clear()
    golib.set_panic_handler(lambda g, error: _panics.append((g, error)))
    gc.collect()
    # Whatever is alive now belongs to earlier tests and to pytest, which keeps every report. Freezing it
    # spares the collector and the footprint a look at it in each of thousands of tests.
    gc.freeze()
    item.stash[_footprint] = Footprint.now()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    lacking = windows.lacks(call.excinfo.value) if call.excinfo else None
    if lacking:
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, lacking)
    if call.when == "call":
        item.stash[_passed] = report.passed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    result = yield
    getattr(item, "funcargs", {}).clear()
    if not item.stash.get(_passed, False):
        _panics.clear()
        golib.set_panic_handler(None)
        return result
    before = item.stash[_footprint]
    unexpected = [] if _panics_wanted else [f"{g!r}: {error!r}" for g, error in _panics]
    _panics.clear()
    deadline = time.monotonic() + 5
    after = Footprint.now()
    while not after.within(before) and time.monotonic() < deadline:
        golib.sleep(0.002)
        after = Footprint.now()
    golib.set_panic_handler(None)
    if unexpected:
        pytest.fail(f"exceptions that nobody asked for: {unexpected}", pytrace=False)
    if not after.within(before):
        dump = golib.runtime.stack(all=True)
        pytest.fail(
            f"the test left something behind\nbefore {before}\nafter  {after}\n{dump}",
            pytrace=False,
        )
    threads = _entries("/proc/self/task")
    if threads > MAX_OS_THREADS:
        pytest.fail(f"{threads} OS threads, at most {MAX_OS_THREADS} expected", pytrace=False)
    return result


# ---------------------------------------------------------------------------------------------
# Fixtures


@pytest.fixture
def panics() -> Iterator[list[tuple[Any, BaseException]]]:
    """The reports to the panic handler during the test; a test that takes this fixture may cause some."""
    global _panics_wanted
    _panics_wanted = True
    yield _panics
    _panics.clear()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """A random generator whose seed is printed (pytest shows it when the test fails)."""
    seed = f"{request.config.stash[_seed_key]}/{request.node.nodeid}"
    print("seed:", seed)
    return random.Random(seed)


@pytest.fixture(params=list(PLACES))
def place(request: pytest.FixtureRequest) -> Any:
    """Calls a function from each place that a primitive works from: `place(fn, *args)`."""
    return PLACES[request.param]


@pytest.fixture
def same_handlers_after() -> Iterator[None]:
    """Fails unless the test leaves the signal handlers as it found them, and `Deadlock` possible."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    golib.signal.reset()
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    with pytest.raises(golib.Deadlock):
        golib.Chan().recv()

"""The pytest plugin `golib`: a goroutine's unread exception fails the test, and goroutines left behind are reported.

| setting | values, the default first | says what happens to |
|---|---|---|
| `golib_exceptions` | `error`, `warn`, `ignore` | an exception that ended a goroutine and that nobody read |
| `golib_leaks` | `warn`, `error`, `ignore` | a goroutine that a test started and that lives on after it |

`ignore` leaves exceptions to golib's own report on stderr. A goroutine of a wider fixture does not count as a leak.
"""

from __future__ import annotations

import functools
import gc
import warnings
from collections.abc import Callable, Generator
from typing import Any

import golib
import pytest
from golib import _report, testing

#: How many seconds after a test its goroutines may take to end.
PATIENCE = 0.5

MODES = ("error", "warn", "ignore")


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "what happens to %s: error, warn or ignore"
    parser.addini(
        "golib_exceptions", what % "an exception that nobody read in a goroutine", default="error"
    )
    parser.addini("golib_leaks", what % "a goroutine that outlives its test", default="warn")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "golib: runs the test as the main goroutine, under golib.run()"
    )
    modes = []
    for name in ("golib_exceptions", "golib_leaks"):
        mode = config.getini(name)
        if mode not in MODES:
            raise pytest.UsageError(f"{name} must be one of {', '.join(MODES)}, not {mode!r}")
        modes.append(mode)
    config.pluginmanager.register(_Watcher(*modes), "golib-watcher")
    _print_goroutines_at_timeouts(config)


class _Watcher:
    """Checks each test's goroutines."""

    def __init__(self, exceptions: str, leaks: str) -> None:
        self._exceptions, self._leaks = exceptions, leaks
        self._watch = testing.Watch()
        self._last = ""
        self._late: list[str] = []

    def pytest_sessionstart(self) -> None:
        if self._exceptions != "ignore":
            self._watch.start()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._exceptions == "ignore":
            return
        self._note_late()
        self._watch.stop()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["golib_late"] = self._late
        if self._late and self._exceptions == "error" and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Takes over the counts of a worker of pytest-xdist that has ended."""
        self._late += getattr(node, "workeroutput", {}).get("golib_late", [])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._late:
            terminalreporter.section("exceptions in goroutines, seen between tests")
            for text in self._late:
                terminalreporter.write_line(text)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._note_late()
        self._watch.know_all()
        self._last = item.nodeid
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, object, object]:
        before = (
            {g.id for g in golib.runtime.goroutines()} if fixturedef.scope != "function" else None
        )
        try:
            return (yield)
        finally:
            if before is not None:
                self._watch.know_since(before)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        try:
            result = yield
        except BaseException as failure:
            for text in [*map(_text, self._watch.take_uncaught()), *self._held_by(failure)]:
                item.add_report_section("call", "goroutines", text)
            raise
        self._tell(self._exceptions, self._watch.take_uncaught())
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        result = yield
        if self._leaks != "ignore" and (left := self._watch.left_behind(PATIENCE)):
            self._watch.know_all()
            leak = testing.GoroutineLeak(f"{item.nodeid}: {testing.leak_text(left)}", left)
            self._tell(self._leaks, [leak])
        self._tell(self._exceptions, self._watch.take_uncaught())
        return result

    def _held_by(self, failure: BaseException) -> list[str]:
        """The exceptions whose handles a failed test holds: its traceback would keep them until another test runs."""
        if self._exceptions == "ignore":
            return []
        chain, texts = _chain(failure), []
        for g in [thing for thing in gc.get_objects() if type(thing) is golib.Goroutine]:
            if (
                self._watch.is_new(g)
                and g.done()
                and (error := g.exception())
                and error not in chain
            ):
                self._watch.know(g)
                texts.append(f"goroutine {g.id} ({g.name}):\n{_report.format_error(error)}")
        return texts

    def _tell(self, mode: str, errors: list[Exception]) -> None:
        __tracebackhide__ = True
        if mode == "warn":
            for error in errors:
                warnings.warn(testing.GoroutineWarning(_text(error)), stacklevel=2)
        elif errors:
            pytest.fail("\n\n".join(map(_text, errors)), pytrace=False)

    def _note_late(self) -> None:
        """Reports exceptions that came up since the last test, whose handles a failed test's traceback usually kept."""
        if self._exceptions != "ignore":
            for error in self._watch.take_uncaught():
                self._late.append(f"after {self._last or 'the start'}: {_text(error)}")


def _chain(error: BaseException | None) -> list[BaseException]:
    """An exception, its causes and its contexts."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _text(error: Exception) -> str:
    cause = error.__cause__
    return str(error) if cause is None else f"{error}\n{_report.format_error(cause)}"


# ---- tests that run as the main goroutine ----------------------------------------------------------------------------


def _under_run(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def test(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return golib.run(fn, *args, **kwargs)

    return test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Runs functions, methods and unittest's test cases alike: pytest calls `obj` in the end."""
    if item.get_closest_marker("golib") and isinstance(item, pytest.Function):
        item.obj = _under_run(item.obj)
    return (yield)


# ---- pytest-timeout --------------------------------------------------------------------------------------------------


def _print_goroutines_at_timeouts(config: pytest.Config) -> None:
    """Makes pytest-timeout, if installed, print the goroutines beside the threads."""
    if not config.pluginmanager.hasplugin("timeout"):
        return
    import pytest_timeout  # type: ignore[import-untyped, unused-ignore]

    dump = getattr(pytest_timeout, "dump_stacks", None)
    if dump is None or hasattr(dump, "__wrapped__"):
        return  # another version of pytest-timeout, or already done

    @functools.wraps(dump)
    def dump_stacks(terminal: Any) -> None:
        dump(terminal)
        if golib.num_goroutine():
            terminal.sep("~", title="Goroutines")
            terminal.write(golib.runtime.stack(all=True))

    pytest_timeout.dump_stacks = dump_stacks

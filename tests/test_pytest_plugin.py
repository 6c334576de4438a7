"""The pytest plugin `golib`, in runs of pytest of its own, and golib.testing."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import textwrap

import golib
import golib._report
import pytest
from golib.testing import GoroutineLeak, UncaughtInGoroutine, no_leaks

from support import Boom, fail, parked

needs_timeout = pytest.mark.skipif(
    not importlib.util.find_spec("pytest_timeout"), reason="pytest-timeout is not installed"
)
needs_xdist = pytest.mark.skipif(
    not importlib.util.find_spec("xdist"), reason="pytest-xdist is not installed"
)


@pytest.fixture
def run_tests(tmp_path):
    """Runs pytest over a file of tests; its output, with (passed, failed, errors)."""

    def run(code: str, *args: str, ini: str = "") -> tuple[str, tuple[int, int, int]]:
        (tmp_path / "test_it.py").write_text(
            "import golib, pytest, threading, time\n" + textwrap.dedent(code), "utf-8"
        )
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n", "utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            *args,
            str(tmp_path),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
        )
        out = done.stdout + done.stderr
        last = re.findall(r"^=+ (.*) in [\d.]+s.*=+$", out, re.MULTILINE)
        assert last, out
        numbers = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (\w+)", last[-1])}
        return out, (numbers.get("passed", 0), numbers.get("failed", 0), numbers.get("error", 0))

    return run


@pytest.fixture
def no_panic_handler(monkeypatch):
    """Removes the handler with which conftest.py collects unread exceptions."""
    monkeypatch.setattr(golib._report, "_panic_handler", None)


UNREAD = """
def test_unread():
    golib.go(int, "x")
    golib.sleep(0.02)
"""
LEAK = """
def test_leak():
    golib.spawn(golib.Chan().recv, name="stuck")
"""


def test_an_unread_exception_fails_its_test_with_its_traceback(run_tests):
    out, counts = run_tests(UNREAD + "def test_next(): pass")
    assert counts == (1, 1, 0)
    assert "invalid literal for int() with base 10: 'x'" in out
    assert re.search(
        r"nobody read the exception of goroutine .*created by test_unread at .*test_it.py:4", out
    )


def test_a_handle_that_the_test_holds_until_its_end_counts_too(run_tests):
    out, counts = run_tests("def test_held():\n    g = golib.go(int, 'x')\n    golib.sleep(0.02)\n")
    assert counts == (0, 1, 0), out


def test_an_exception_that_was_read_does_not_fail(run_tests):
    code = """
    def test_joined():
        with pytest.raises(ValueError):
            golib.go(int, "x").join()
    def test_handled():
        golib.set_panic_handler(lambda g, error: None)
        golib.go(int, "x")
        golib.sleep(0.02)
        golib.set_panic_handler(None)
    """
    out, counts = run_tests(code)
    assert counts == (2, 0, 0), out


def test_a_failed_test_shows_the_exceptions_whose_handles_it_holds(run_tests):
    code = """
    def test_fails():
        g = golib.go(int, "held")
        golib.sleep(0.02)
        assert False, "for another reason"
    def test_next(): pass
    """
    out, counts = run_tests(code)
    assert counts == (1, 1, 0), out
    assert "Captured goroutines call" in out
    assert "base 10: 'held'" in out
    assert "for another reason" in out


def test_an_exception_between_tests_is_told_at_the_end_and_fails_the_run(run_tests):
    code = """
    kept = []
    def test_keeps():
        kept.append(golib.go(int, "late"))
        golib.sleep(0.02)
    def teardown_module(): kept.clear()
    """
    out, counts = run_tests(code)
    assert "base 10: 'late'" in out
    assert counts[1] + counts[2] == 1 or "seen between tests" in out, out


@pytest.mark.parametrize(
    ("mode", "counts"), [("error", (0, 1, 0)), ("warn", (1, 0, 0)), ("ignore", (1, 0, 0))]
)
def test_what_unread_exceptions_do_is_a_setting(run_tests, mode, counts):
    out, got = run_tests(UNREAD, ini=f"golib_exceptions = {mode}")
    assert got == counts, out
    assert ("GoroutineWarning" in out) is (mode == "warn")


@pytest.mark.parametrize(
    ("mode", "counts"), [("error", (1, 0, 1)), ("warn", (1, 0, 0)), ("ignore", (1, 0, 0))]
)
def test_what_leaks_do_is_a_setting(run_tests, mode, counts):
    out, got = run_tests(LEAK, ini=f"golib_leaks = {mode}")
    assert got == counts, out
    told = re.search(
        r"goroutine \d+ \[chan receive\]: stuck\n(  )?created by test_leak at .*test_it.py:4",
        out,
    )
    assert bool(told) is (mode != "ignore"), out


def test_leaks_are_told_by_default_once_and_for_the_test_that_made_them(run_tests):
    out, counts = run_tests(LEAK + "def test_next(): pass")
    assert counts == (2, 0, 0)
    assert out.count("left behind") == 1
    assert "test_it.py::test_leak" in out


def test_a_goroutine_that_ends_soon_or_belongs_to_a_wider_fixture_is_no_leak(run_tests):
    code = """
    @pytest.fixture(scope="module")
    def server():
        stop = golib.Chan()
        g = golib.go(stop.recv_ok)
        yield
        stop.close()
        g.join()
    def test_uses(server): pass
    def test_soon(): golib.go(golib.sleep, 0.05)
    """
    out, counts = run_tests(code, ini="golib_leaks = error")
    assert counts == (2, 0, 0), out


def test_what_a_fixture_cleans_up_is_no_leak(run_tests):
    code = """
    @pytest.fixture
    def worker():
        g = golib.go(golib.Chan().recv)
        yield g
        g.cancel()
        assert isinstance(g.exception(), golib.Cancelled)
    def test_uses(worker): pass
    """
    out, counts = run_tests(code, ini="golib_leaks = error")
    assert counts == (1, 0, 0), out


def test_an_unknown_mode_is_refused(run_tests, tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\ngolib_leaks = loud\n", "utf-8")
    command = [sys.executable, "-m", "pytest", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 4
    assert "golib_leaks must be one of error, warn, ignore, not 'loud'" in done.stderr


def test_the_plugin_can_be_left_out(run_tests):
    out, counts = run_tests(UNREAD, "-p", "no:golib")
    assert "nobody read" not in out
    assert counts[0] + counts[1] == 1


MARKED = """
import unittest
@pytest.fixture
def value():
    yield 7
@pytest.mark.golib
@pytest.mark.parametrize("n", [1, 2])
def test_function(value, n):
    assert value == 7 and threading.current_thread() is threading.main_thread()
    with pytest.raises(golib.Deadlock):
        golib.Chan().recv()
@pytest.mark.golib
class TestMethods:
    def test_method(self, value):
        with pytest.raises(golib.Deadlock):
            golib.Chan().recv()
@pytest.mark.golib
class Case(unittest.TestCase):
    def test_case(self):
        with self.assertRaises(golib.Deadlock):
            golib.Chan().recv()
@pytest.mark.golib
def test_failure():
    assert [1] == [2]
"""


def test_a_marked_test_runs_as_the_main_goroutine(run_tests):
    out, counts = run_tests(MARKED, "--strict-markers")
    assert counts == (4, 1, 0), out
    assert "assert [1] == [2]" in out


@needs_xdist
def test_with_xdist(run_tests):
    marked = """
    @pytest.mark.golib
    def test_main():
        assert golib.num_goroutine() == 1
    kept = []
    def test_keeps():
        kept.append(golib.go(int, "late"))
        golib.sleep(0.02)
    """
    out, counts = run_tests(UNREAD + LEAK + textwrap.dedent(marked), "-n", "2")
    assert counts == (3, 1, 0), out
    assert out.count("GoroutineWarning") == 1


@needs_timeout
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_a_hang_that_pytest_timeout_ends_prints_all_goroutines(tmp_path, method):
    (tmp_path / "test_it.py").write_text(
        "import golib, time\ndef test_hang():\n    golib.spawn(golib.Chan().recv, name='stuck')\n    time.sleep(60)\n",
        "utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--timeout=0.5",
        f"--timeout-method={method}",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert re.search(
        r"~ Goroutines ~+\ngoroutine \d+ \[chan receive\]: stuck\ncreated by test_hang", done.stdout
    )


def test_with_pytest_asyncio(run_tests):
    code = """
    @pytest.mark.asyncio
    async def test_task():
        assert await golib.go(pow, 2, 3) == 8
    @pytest.mark.asyncio
    async def test_unread():
        golib.go(int, "x")
        await golib.aio.to_goroutine(golib.sleep, 0.02)
    """
    out, counts = run_tests(code, ini="asyncio_mode = strict")
    assert counts == (1, 1, 0), out


# ---- golib.testing ---------------------------------------------------------------------------------------------------


def test_no_leaks_passes_what_ends(place):
    def block():
        with no_leaks():
            golib.go(golib.sleep, 0.01)

    place(block)


def test_no_leaks_tells_who_is_left(place):
    ch = golib.Chan()

    def block():
        with pytest.raises(GoroutineLeak) as caught, no_leaks(patience=0.01):
            parked(golib.spawn(ch.recv, name="stuck"))
        return caught.value

    leak = place(block)
    assert re.match(
        r"1 goroutine left behind:\n\ngoroutine \d+ \[chan receive\]: stuck\n", str(leak)
    )
    (g,) = leak.goroutines
    ch.send(None)
    g.join()


def test_no_leaks_ignores_who_was_there_before():
    ch = golib.Chan()
    g = parked(golib.go(ch.recv))
    with no_leaks(patience=0):
        pass
    ch.send(None)
    g.join()


def test_no_leaks_raises_from_an_unread_exception(no_panic_handler):
    with (
        pytest.raises(
            UncaughtInGoroutine, match="nobody read the exception of goroutine"
        ) as caught,
        no_leaks(),
    ):
        golib.go(fail)
    assert isinstance(caught.value.__cause__, Boom)


def test_no_leaks_raises_a_group_for_several(no_panic_handler):
    ch = golib.Chan()
    with pytest.raises(ExceptionGroup) as caught, no_leaks(patience=0.1):
        golib.go(fail)
        golib.go(fail)
        g = parked(golib.go(ch.recv))
    kinds = [type(error) for error in caught.value.exceptions]
    assert kinds == [UncaughtInGoroutine, UncaughtInGoroutine, GoroutineLeak]
    ch.send(None)
    g.join()


def test_an_exception_of_the_block_goes_on_with_a_note():
    ch = golib.Chan()
    with pytest.raises(Boom) as caught, no_leaks():
        g = parked(golib.go(ch.recv))
        raise Boom
    assert "1 goroutine left behind" in caught.value.__notes__[0]
    ch.send(None)
    g.join()


def test_no_leaks_decorates():
    @no_leaks(patience=0)
    def leaves():
        kept.append(parked(golib.go(ch.recv)))

    kept, ch = [], golib.Chan()
    for _ in range(2):
        with pytest.raises(GoroutineLeak):
            leaves()
    for g in kept:
        ch.send(None)
        g.join()


NO_LEAKS = """
from golib.testing import GoroutineLeak, no_leaks
@no_leaks()
def test_clean(): golib.go(golib.sleep, 0.01)
def test_leak():
    with no_leaks(patience=0.01):
        golib.spawn(golib.Chan().recv, name="stuck")
"""
NO_LEAKS_ASYNC = """
@pytest.mark.asyncio
async def test_task():
    with no_leaks():
        assert await golib.go(pow, 2, 3) == 8
        assert await golib.aio.to_goroutine(pow, 2, 4) == 16
@pytest.mark.asyncio
async def test_leaking_task():
    with no_leaks(patience=0.01):
        golib.spawn(golib.Chan().recv, name="stuck")
"""


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        pytest.param(["-n", "2"], NO_LEAKS, (1, 1), marks=needs_xdist),
        pytest.param(["--timeout=30"], NO_LEAKS, (1, 1), marks=needs_timeout),
        (["-p", "no:golib"], NO_LEAKS, (1, 1)),
        ([], NO_LEAKS + NO_LEAKS_ASYNC, (2, 2)),
    ],
    ids=["xdist", "timeout", "without the plugin", "asyncio"],
)
def test_no_leaks_beside_other_plugins(run_tests, options, code, expected):
    ini = "golib_leaks = ignore\nasyncio_mode = strict"
    if "no:golib" in options:
        ini = "asyncio_mode = strict"
    out, counts = run_tests(code, *options, ini=ini)
    assert counts == (*expected, 0), out
    assert out.count("GoroutineLeak: 1 goroutine left behind") >= expected[1]


def test_no_leaks_in_unittest_without_pytest(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import unittest, golib\n"
        "from golib.testing import no_leaks\n"
        "class Case(unittest.TestCase):\n"
        "    def setUp(self): self.enterContext(no_leaks(patience=0.1))\n"
        "    def test_clean(self): golib.go(golib.sleep, 0.01)\n"
        "    def test_leak(self): golib.spawn(golib.Chan().recv, name='stuck')\n"
        "    def test_unread(self): golib.go(int, 'x')\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "unittest", "-v"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert re.search(r"test_clean .*\.\.\. ok", done.stderr), done.stderr
    assert "GoroutineLeak: 1 goroutine left behind" in done.stderr
    assert "UncaughtInGoroutine: nobody read the exception of goroutine" in done.stderr
    assert "FAILED (" in done.stderr


def test_blocks_nest_and_the_innermost_gets_the_exception(no_panic_handler):
    with no_leaks():
        with pytest.raises(UncaughtInGoroutine), no_leaks():
            golib.go(fail)


def test_no_leaks_waits_in_a_cancelled_goroutine_too():
    def block():
        with no_leaks():
            golib.go(golib.sleep, 0.02)
            raise_later.append(golib.runtime.goroutines())

    raise_later = []
    g = golib.go(block)
    g.cancel()
    assert g.exception() is None
    assert raise_later
    raise_later.clear()

"""CPython's own tests under golib.patch(): `python tests/cpython/run.py [--modes …] [--quick] [--jobs n] [--limit s] [module …]`.

Every class of tests runs in a process of its own, once on plain CPython and once for each mode, on the same machine. A test
that passes plainly and not in a mode is a difference. Differences that have a reason stand in DIFFERENCES, one line each;
any other makes the exit status 1. The standard library's package `test` has
to be installed (Debian: libpython3.x-testsuite). A package of tests stands for its modules.

Modes: `main` (in run's main goroutine), `goroutine` (in an ordinary one), `threads` (main, and threads are goroutines).
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODULES = [
    "test_socket",
    "test_ssl",
    "test_select",
    "test_selectors",
    "test_poll",
    "test_epoll",
    "test_subprocess",
    "test_threading",
    "test_thread",
    "test_threading_local",
    "test_queue",
    "test_logging",
    "test_concurrent_futures",
    "test_socketserver",
    "test_httplib",
    "test_urllib2_localnet",
    "test_httpservers",
    "test_xmlrpc",
    "test_smtplib",
    "test_ftplib",
    "test_imaplib",
    "test_telnetlib",
    "test_wsgiref",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_sendfile",
    "test_asyncio.test_server",
    "test_asyncio.test_streams",
    "test_asyncio.test_events",
    "test_asyncio.test_subprocess",
    "test_sqlite3",
    "test_multiprocessing_fork",
    "test_multiprocessing_spawn",
]
QUICK = ["test_select", "test_poll", "test_epoll", "test_selectors", "test_urllib2_localnet"]
MODES = ["main", "goroutine", "threads"]

#: Reasons that several have.
MAIN = "sets a signal handler, as only a main thread may"
DAEMON = (
    "threading shows a goroutine as a daemon thread, so threads made in it are daemons by default"
)
ELSEWHERE = "not the main thread: signals and KeyboardInterrupt go to the main goroutine"
#: "mode test-id" (patterns) -> why the outcome differs.
DIFFERENCES: dict[str, str] = {
    "goroutine test.test_selectors.*.test_select_interrupt_*": MAIN,
    "goroutine test.test_socket.*nterrupted*": MAIN,
    "goroutine test.test_socketserver.SocketWriterTest.test_write": MAIN,
    "goroutine test.test_wsgiref.IntegrationTests.test_interrupted_write": MAIN,
    "goroutine test.test_subprocess.*.test_communicate_eintr": MAIN,
    "goroutine test.test_subprocess.POSIXProcessTestCase.test_kill": MAIN,
    "goroutine test.test_subprocess.POSIXProcessTestCase.test_send_signal": MAIN,
    "goroutine test.test_subprocess.POSIXProcessTestCase.test_terminate": MAIN,
    "goroutine test.test_concurrent_futures.*.test_gh105829_*": MAIN,
    "goroutine test.test_concurrent_futures.*.test_hang_gh94440": MAIN,
    # asyncio's watchers of children set a handler for SIGCHLD until 3.13.
    "goroutine test.test_asyncio.test_events.*EventLoopTests.*": MAIN,
    "goroutine test.test_asyncio.test_events.Test*GetEventLoop.*": MAIN,
    "goroutine test.test_asyncio.test_streams.StreamTests.test_read_all_from_pipe_reader": MAIN,
    "goroutine test.test_asyncio.test_streams.StreamTests.test_unclosed_resource_warnings": "counts what test_read_all_from_pipe_reader left open",
    "goroutine test.test_asyncio.test_subprocess.Subprocess*WatcherTests.*": MAIN,
    "goroutine test.test_asyncio.test_events.PolicyTests.test_get_event_loop*": "asyncio makes an event loop by itself in the main thread only",
    "* test.test_sqlite3.test_dbapi.ThreadTests.test_check_*": "check_same_thread is off in goroutines unless it is asked for",
    "goroutine test.test_multiprocessing_*.WithProcessesTestProcess.test_kill": MAIN,
    "goroutine test.test_multiprocessing_*.WithProcessesTestProcess.test_terminate": MAIN,
    "goroutine test.test_multiprocessing_*.WithProcessesTestPollEintr.test_poll_eintr": MAIN,
    "goroutine test.test_multiprocessing_*.WithProcessesTestCondition": ELSEWHERE,
    "goroutine test.test_multiprocessing_*.WithProcessesTestSharedMemory": ELSEWHERE,
    "goroutine test.test_multiprocessing_*.WithThreadsTestProcess.*": "multiprocessing.dummy knows the thread that imported it, and those that it made",
    "* test.test_threading.ExceptHookTests.test_excepthook_thread_None": "_thread._excepthook, in C, prints the OS thread's ident when it is given no Thread",
    "goroutine test.test_threading.InterruptMainTests.*": ELSEWHERE,
    "goroutine test.test_threading.ThreadTests.test_main_thread": ELSEWHERE,
    "goroutine test.test_threading.ThreadTests.test_daemon_param": DAEMON,
    "goroutine test.test_threading.ThreadTests.test_repr_daemon": DAEMON,
    "goroutine test.test_threading.ThreadTests.test_various_ops*": DAEMON,
    "threads test.test_threading.ThreadTests.test_various_ops*": "goroutines share OS threads, so their native ids are not all different",
    "threads test.test_threading.ThreadTests.test_foreign_thread": "a goroutine leaves no dummy thread behind in threading._active",
    "threads test.test_threading.ThreadTests.test_ident_of_no_threading_threads": "a goroutine leaves no dummy thread behind in threading._active",
}

#: Seconds for one class, and those that its process has to say where it hangs.
LIMIT = 120
LAST_WORDS = 10

CLASSES = """
import importlib, pkgutil, sys, unittest
module = importlib.import_module(sys.argv[1])
names = [sys.argv[1]]
if hasattr(module, "__path__"):
    names = [f"{sys.argv[1]}.{m.name}" for m in pkgutil.iter_modules(module.__path__) if m.name.startswith("test_")]
for of in names:
    module = importlib.import_module(of)
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == of:
            if unittest.defaultTestLoader.getTestCaseNames(value):
                print(of, name)
"""

ONE = """
import faulthandler, importlib, json, os, sys, unittest
mode, name, class_name, out = sys.argv[1:5]
faulthandler.enable()
import test.support
test.support.use_resources = ["network", "subprocess"]
module = importlib.import_module(name)

class Result(unittest.TextTestResult):
    passed = []
    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed.append(test.id())

def body():
    getattr(module, "setUpModule", lambda: None)()
    try:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(module, class_name))
        result = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(suite)
    finally:
        getattr(module, "tearDownModule", lambda: None)()
        unittest.doModuleCleanups()
    failed = {test.id(): text[-2000:] for test, text in result.failures + result.errors}
    with open(out, "w") as f:
        json.dump({"passed": Result.passed, "failed": failed}, f)

if mode == "plain":
    body()
else:
    import golib
    golib.patch(thread=mode == "threads")
    golib.run(body if mode != "goroutine" else lambda: golib.go(body).join())
os._exit(0)
"""


def classes_of(module: str) -> list[tuple[str, str]]:
    """The test classes of a module, with their modules; none if this CPython has no such module."""
    command = [sys.executable, "-W", "ignore", "-c", CLASSES, f"test.{module}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "ModuleNotFoundError" in done.stderr:
        print(f"{module}: not there")
    lines = (line.split() for line in done.stdout.splitlines() if line.startswith("test."))
    return [(of, name) for of, name in lines]


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that hangs, after it has shown its stacks, and whatever it has started.

    faulthandler's own timer would look at the stacks of threads that run, and crash even in plain CPython.
    """
    process.send_signal(signal.SIGABRT)
    try:
        process.wait(LAST_WORDS)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def status_of(arguments: list[str], here: Path, said: Path, limit: float) -> int | None:
    """The exit status of the tests of one class; None if they hang. What they print goes to the file `said`."""
    command = [sys.executable, "-W", "ignore", "-c", ONE, *arguments]
    with said.open("wb") as output:
        # Not a pipe: a child that outlives the tests would keep it open.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=here,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            end(process)


def run_class(
    mode: str, module: str, name: str, into: Path, limit: float
) -> tuple[set[str], dict[str, str]]:
    """(what passed, what failed and how); a process that does not end well fails as a whole."""
    here = into / f"{module}.{name}.{mode}"
    here.mkdir()
    out, said = into / f"{here.name}.json", into / f"{here.name}.txt"
    status = status_of([mode, module, name, str(out)], here, said, limit)
    if status == 0 and out.exists():
        found = json.loads(out.read_text())
        return set(found["passed"]), found["failed"]
    how = "hangs" if status is None else f"status {status}"
    last = said.read_text(errors="replace")[-3000:]
    return set(), {f"{module}.{name}": f"{how}: {last}"}


def run_modes(
    modes: list[str], module: str, name: str, into: Path, limit: float
) -> dict[str, tuple[set[str], dict[str, str]]]:
    """What run_class says of each mode, one after the other: a class may need a port of its own."""
    return {mode: run_class(mode, module, name, into, limit) for mode in modes}


def reason(mode: str, test: str) -> str | None:
    """The line of DIFFERENCES for it."""
    return next((line for line in DIFFERENCES if fnmatch.fnmatch(f"{mode} {test}", line)), None)


def differences(mode: str, failed: dict[str, str], plain: dict[str, str]) -> Iterator[str]:
    """The lines of the table that explain what failed in `mode` only; what has none is printed, and is an empty line."""
    for test, text in failed.items():
        if test in plain:
            continue
        line = reason(mode, test)
        if not line:
            shown = "\n    ".join(text.splitlines()[-(30 if text.startswith("hangs") else 8) :])
            print(f"DIFFERS {mode} {test}\n    {shown}", flush=True)
        yield line or ""


def compare(modules: list[str], modes: list[str], jobs: int, limit: float) -> int:
    """Runs all of it; the number of differences without a reason."""
    unexplained = 0
    used: set[str] = set()
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(jobs) as pool:
        for module in modules:
            counts = dict.fromkeys(["plain", *modes], 0)
            asked = [
                pool.submit(run_modes, list(counts), of, name, Path(directory), limit)
                for of, name in classes_of(module)
            ]
            for future in asked:
                outcomes = future.result()
                for mode, (passed, failed) in outcomes.items():
                    counts[mode] += len(passed)
                    if mode != "plain":
                        lines = list(differences(mode, failed, outcomes["plain"][1]))
                        used.update(lines)
                        unexplained += lines.count("")
            print(module, *(f"{mode} {n}" for mode, n in counts.items()), flush=True)
    if modules == MODULES and modes == MODES:
        for line in sorted(DIFFERENCES.keys() - used):
            print(f"no longer differs here: {line}")
    return unexplained


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--jobs", type=int, default=2, help="how many classes run at once")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one class")
    parser.add_argument("--quick", action="store_true", help="a short selection")
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    os.environ.pop("PYTHONWARNINGS", None)
    modules = options.modules or (QUICK if options.quick else MODULES)
    return 1 if compare(modules, options.modes.split(","), options.jobs, options.limit) else 0


if __name__ == "__main__":
    sys.exit(main())

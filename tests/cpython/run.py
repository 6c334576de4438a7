"""CPython's own tests under golib.patch(): `python tests/cpython/run.py [--modes …] [--quick] [module …]`.

Every class of tests runs in a process of its own, once on plain CPython and once for each mode, on the same machine. A test
that passes plainly and not in a mode is a difference. Differences that have a reason stand in DIFFERENCES, one line each;
any other makes the exit status 1, and so does a line that nothing needs any more. The standard library's package `test` has
to be installed (Debian: libpython3.x-testsuite).

Modes: `main` (in run's main goroutine), `goroutine` (in an ordinary one), `threads` (main, and threads are goroutines).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
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
    "test_wsgiref",
]
QUICK = ["test_select", "test_poll", "test_epoll", "test_selectors", "test_urllib2_localnet"]
MODES = ["main", "goroutine", "threads"]

#: "mode test-id" (patterns) -> why the outcome differs.
DIFFERENCES: dict[str, str] = {
    "goroutine test.test_selectors.*.test_select_interrupt_*": "sets a signal handler, as only a main thread may",
    "goroutine test.test_socket.*nterrupted*": "sets a signal handler, as only a main thread may",
    "goroutine test.test_socketserver.SocketWriterTest.test_write": "sets a signal handler, as only a main thread may",
    "* test.test_threading.ExceptHookTests.test_excepthook_thread_None": "_thread._excepthook, in C, prints the OS thread's ident when it is given no Thread",
    "goroutine test.test_threading.InterruptMainTests.*": "not the main thread: signals and KeyboardInterrupt go to the main goroutine",
    "goroutine test.test_threading.ThreadTests.test_main_thread": "not the main thread: signals and KeyboardInterrupt go to the main goroutine",
    "goroutine test.test_threading.ThreadTests.test_daemon_param": "threading shows a goroutine as a daemon thread, so threads made in it are daemons by default",
    "goroutine test.test_threading.ThreadTests.test_repr_daemon": "threading shows a goroutine as a daemon thread, so threads made in it are daemons by default",
    "goroutine test.test_threading.ThreadTests.test_various_ops*": "threading shows a goroutine as a daemon thread, so threads made in it are daemons by default",
    "threads test.test_threading.ThreadTests.test_various_ops*": "goroutines share OS threads, so their native ids are not all different",
    "threads test.test_threading.ThreadTests.test_foreign_thread": "a goroutine leaves no dummy thread behind in threading._active",
    "threads test.test_threading.ThreadTests.test_ident_of_no_threading_threads": "a goroutine leaves no dummy thread behind in threading._active",
}

#: Seconds for one class.
LIMIT = 90

CLASSES = """
import importlib, sys, unittest
module = importlib.import_module(sys.argv[1])
for name, value in vars(module).items():
    if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
        if unittest.defaultTestLoader.getTestCaseNames(value):
            print(name)
"""

ONE = """
import faulthandler, importlib, json, os, sys, unittest
mode, name, class_name, out, limit = sys.argv[1:6]
faulthandler.dump_traceback_later(float(limit), exit=True)
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
        result = unittest.TextTestRunner(resultclass=Result, verbosity=1).run(suite)
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


def classes_of(module: str) -> list[str]:
    """The test classes of a module; none if this CPython has no such module."""
    command = [sys.executable, "-W", "ignore", "-c", CLASSES, f"test.{module}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split()


def run_class(mode: str, module: str, name: str, into: Path) -> tuple[set[str], dict[str, str]]:
    """(what passed, what failed and how); a process that does not end well fails as a whole."""
    out = into / f"{module}.{name}.{mode}.json"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        ONE,
        mode,
        f"test.{module}",
        name,
        str(out),
        str(LIMIT),
    ]
    whole = f"test.{module}.{name}"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LIMIT + 20,
            cwd=into,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as hang:
        return set(), {whole: f"hangs: {str(hang.stderr)[-1500:]}"}
    if not out.exists():
        return set(), {whole: f"status {done.returncode}: {done.stderr[-1500:]}"}
    found = json.loads(out.read_text())
    return set(found["passed"]), found["failed"]


def reason(mode: str, test: str) -> str | None:
    """The line of DIFFERENCES for it."""
    return next((line for line in DIFFERENCES if fnmatch.fnmatch(f"{mode} {test}", line)), None)


def compare(modules: list[str], modes: list[str]) -> int:
    """Runs all of it; the number of differences without a reason."""
    unexplained = 0
    used: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        for module in modules:
            counts = dict.fromkeys(["plain", *modes], 0)
            for name in classes_of(module):
                plain, plain_failed = run_class("plain", module, name, Path(directory))
                counts["plain"] += len(plain)
                for mode in modes:
                    passed, failed = run_class(mode, module, name, Path(directory))
                    counts[mode] += len(passed)
                    for test, text in failed.items():
                        line = reason(mode, test)
                        if test in plain_failed:
                            continue
                        if line:
                            used.add(line)
                            continue
                        unexplained += 1
                        print(
                            f"DIFFERS {mode} {test}\n    " + "\n    ".join(text.splitlines()[-8:]),
                            flush=True,
                        )
            print(module, *(f"{mode} {n}" for mode, n in counts.items()), flush=True)
    if modules == MODULES and modes == MODES:
        for line in sorted(DIFFERENCES.keys() - used):
            unexplained += 1
            print(f"no longer differs: {line}")
    return unexplained


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--quick", action="store_true", help="a short selection")
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    os.environ.pop("PYTHONWARNINGS", None)
    modules = options.modules or (QUICK if options.quick else MODULES)
    return 1 if compare(modules, options.modes.split(",")) else 0


if __name__ == "__main__":
    sys.exit(main())

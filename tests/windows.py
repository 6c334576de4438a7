"""What of the tests runs on Windows, and why the rest does not.

Files are named here rather than marked where they stand, so each reason stands once. `conftest.py` leaves them out; the end of
a run says how many for which reason.
"""

from __future__ import annotations

import re
import sys
from collections import Counter

import pytest

#: Whether the tests run there.
HERE = sys.platform == "win32"

_POSIX = "it is about signals, forks or descriptors of POSIX"
_NET = "golib.net and the patches of descriptors are missing on Windows"
_PACKAGES = "it needs packages that the embeddable build does not have"
_SOURCES = "it looks at the sources, on the system where they are developed"
_MOVES = "it counts on goroutines that move: on Windows one that waits keeps its OS thread"

#: Files that are left out.
FILES = {
    "test_fork.py": _POSIX,
    "test_fork_child.py": _POSIX,
    "test_fork_threads.py": _POSIX,
    "test_fault_signals.py": _POSIX,
    "test_ctrl_c.py": _POSIX,
    "test_signal.py": _POSIX,
    "test_signal_programs.py": _POSIX,
    "test_main_signals.py": _POSIX,
    "test_gunicorn.py": _POSIX,
    "test_process_locks.py": _POSIX,
    "test_cancel_process.py": _POSIX,
    "test_notify_context.py": _POSIX,
    "test_deadlock_outside.py": _POSIX,
    "test_net.py": _NET,
    "test_net_addresses.py": _NET,
    "test_net_clients.py": _NET,
    "test_net_dial.py": _NET,
    "test_net_ends.py": _NET,
    "test_net_files.py": _NET,
    "test_net_serve.py": _NET,
    "test_net_storm.py": _NET,
    "test_net_tls.py": _NET,
    "test_patch_clients.py": _NET,
    "test_patch_cpython.py": _NET,
    "test_patch_files.py": _NET,
    "test_patch_postgres.py": _NET,
    "test_patch_refused.py": _NET,
    "test_patch_servers.py": _NET,
    "test_patch_shared.py": _NET,
    "test_patch_socket.py": _NET,
    "test_patch_ssl.py": _NET,
    "test_patch_storm.py": _NET,
    "test_patch_subprocess.py": _NET,
    "test_patch_same.py": _NET,
    "test_packages.py": _PACKAGES,
    "test_greenlet.py": _PACKAGES,
    "test_tools.py": _PACKAGES,
    "test_tools_reports.py": _PACKAGES,
    "test_pytest_plugin.py": _PACKAGES,
    "test_docs.py": _SOURCES,
    "test_readme.py": _SOURCES,
    "test_site.py": _SOURCES,
    "test_tidy.py": _SOURCES,
    "test_words.py": _SOURCES,
    "test_api.py": _SOURCES,
    "test_movable.py": _MOVES,
}

#: Files that run. Nobody has looked there at the files that are in neither table.
RUN = {
    "test_asyncio.py",
    "test_cond.py",
    "test_context.py",
    "test_goroutine_handle.py",
    "test_once.py",
    "test_results.py",
    "test_run.py",
}

#: Words in a failure that say: the test needs what the system does not have.
_LACKING = re.compile(r"module \\?'(?:signal|os|posix)\\?' has no attribute \\?'(\w+)")


def leave_out(name: str) -> bool:
    """The file is left out."""
    return HERE and name.startswith("test_") and name not in RUN


def lacks(failure: BaseException) -> str | None:
    """The reason for a skip, if the test failed because the system lacks a function or a signal of POSIX."""
    found = _LACKING.search(str(failure)) if HERE else None
    return f"on Windows: {found[1]} is missing" if found else None


def needs_moves() -> None:
    """Skips the running test: it makes goroutines move."""
    if HERE:
        pytest.skip(f"on Windows: {_MOVES}")


def needs_signals() -> None:
    """Skips the running test: it sends signals."""
    if HERE:
        pytest.skip(f"on Windows: {_POSIX}")


def report() -> list[str]:
    """For the end of a run."""
    if not HERE:
        return []
    return [
        f"{n} files left out on Windows: {reason}" for reason, n in Counter(FILES.values()).items()
    ]

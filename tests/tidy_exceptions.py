"""Findings of test_tidy.py that may stay, each with its reason. "owed" means that it is to be mended."""

from __future__ import annotations

#: Patterns of names in comments that exist elsewhere, and whose they are.
FOREIGN: dict[str, str] = {
    "Grunning": "Go's",
    "IP_TTL": "the kernel's",
    "Python.h": "CPython's",
    "SCase": "of an earlier version",
    "SetMaxStack": "Go's",
    "pthread_*": "the C library's",
    "reflect": "Go's",
    "runnext": "Go's",
    "usr/bin": "Debian's",
    "x/sync/errgroup": "Go's",
}

#: (rule, path, key) -> how many findings, and why they may stay.
EXCEPTIONS: dict[tuple[str, str, str], tuple[int, str]] = {
    ("long_functions", "rust/go-lib/tests/chan_states.rs", "check"): (
        1,
        "a table of cases, or one program that a test walks through",
    ),
    ("long_functions", "rust/go-lib/tests/context_model.rs", "step"): (
        1,
        "a table of cases, or one program that a test walks through",
    ),
    (
        "long_functions",
        "rust/go-lib/tests/published_flaws.rs",
        "every_blocking_call_works_on_a_plain_thread",
    ): (1, "a table of cases, or one program that a test walks through"),
    ("long_functions", "rust/go-lib/tests/sync_model.rs", "begin"): (
        1,
        "a table of cases, or one program that a test walks through",
    ),
    ("long_functions", "rust/go-lib/tests/sync_model.rs", "job"): (
        1,
        "a table of cases, or one program that a test walks through",
    ),
}

"""A short selection of CPython's own tests under golib.patch (`cpython/run.py` runs all of them)."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from support import SLACK

RUN = pathlib.Path(__file__).parent / "cpython" / "run.py"


@pytest.mark.hang(300 * SLACK)
@pytest.mark.parametrize(
    "module", ["test_select", "test_poll", "test_epoll", "test_urllib2_localnet"]
)
def test_cpythons_own_tests_pass_as_they_do_without(module: str) -> None:
    if importlib.util.find_spec(f"test.{module}") is None:
        pytest.skip("this CPython has no tests of its own")
    command = [sys.executable, str(RUN), "--modes", "main,goroutine", module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280 * SLACK)
    assert done.returncode == 0, done.stdout + done.stderr

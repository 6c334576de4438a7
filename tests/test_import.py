"""Importing golib where it cannot work: a message says why, from a file that any Python 3 can read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from golib._supported import NEWEST, OLDEST, refusal

from support import run_ok, run_script, script_environment

ROOT = Path(__file__).parent.parent
#: Names of interpreters that golib refuses, for those of them that this machine has.
OTHERS = ["python3.6", "python3.7", "python3.8", "python3.9", "python3.10", "python3.13t"]
OTHERS += ["python3.14t", "python3.15t", "python3.16", "pypy3"]


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    """An environment in which golib is found without its compiled part."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "python" / "golib", tmp_path / "golib", ignore=ignored)
    return {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize("minor", range(11, 16))
def test_a_supported_cpython_is_not_refused(minor: int) -> None:
    assert refusal("cpython", (3, minor), "") == ""
    assert refusal("cpython", (3, minor), "d") == ""


@pytest.mark.parametrize("version", [(3, 6), (3, 10), (3, 16), (4, 0), (4, 12)])
def test_another_version_is_refused_and_named(version: tuple[int, int]) -> None:
    said = "golib supports CPython 3.11 to 3.15, this is {}.{}".format(*version)
    assert refusal("cpython", version, "") == said


@pytest.mark.parametrize("abiflags", ["t", "td"])
def test_a_free_threaded_build_is_refused(abiflags: str) -> None:
    assert "free-threaded" in refusal("cpython", (3, 13), abiflags)


def test_another_implementation_is_refused_and_named() -> None:
    assert refusal("pypy", (3, 11), "") == "golib needs CPython, this is pypy"


def test_the_package_promises_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">=3.{OLDEST[1]},<3.{NEWEST[1] + 1}"
    promised = [
        c for c in project["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert [int(c.rpartition(".")[2]) for c in promised] == [*range(OLDEST[1], NEWEST[1] + 1)]


def test_this_interpreter_is_supported() -> None:
    assert refusal(sys.implementation.name, sys.version_info[:2], sys.abiflags) == ""


@pytest.mark.parametrize(
    ("pretend", "said"),
    [
        ("sys.version_info = (3, 16, 0, 'final', 0)", "to 3.15, this is 3.16"),
        ("sys.version_info = (3, 10, 9, 'final', 0)", "to 3.15, this is 3.10"),
        ("sys.abiflags = 't'", "golib does not support free-threaded CPython yet"),
        ("sys.implementation.name = 'graalpy'", "golib needs CPython, this is graalpy"),
    ],
)
def test_the_import_says_why_it_is_refused(
    sources: dict[str, str], pretend: str, said: str
) -> None:
    result = run_script(f"import sys; {pretend}; import golib", env=sources)
    assert result.rc == 1
    last = result.err.splitlines()[-1]
    assert last.startswith("ImportError: "), result
    assert last.endswith(said), result


@pytest.mark.parametrize("module", ["golib", "golib.sync", "golib._golib"])
def test_a_missing_compiled_part_is_reported_in_words(sources: dict[str, str], module: str) -> None:
    out = run_ok(
        f"""
        try:
            import {module}
        except ImportError as error:
            print(type(error).__name__, error)
            print(type(error.__cause__).__name__, error.__cause__.name)
        """,
        env=sources,
    )
    first, second = out.splitlines()
    assert first.startswith("ImportError golib was not built for this interpreter, CPython 3."), out
    assert first.endswith("install it with that interpreter's own pip"), out
    assert second == "ModuleNotFoundError golib._golib", out


def test_another_module_that_the_compiled_part_misses_is_not_mistaken_for_it(
    sources: dict[str, str],
) -> None:
    stand_in = Path(sources["PYTHONPATH"]) / "golib" / "_golib.py"
    stand_in.write_text("import nowhere_to_be_found\n")
    result = run_script("import golib", env=sources)
    assert result.err.endswith("ModuleNotFoundError: No module named 'nowhere_to_be_found'\n")


def other_interpreters() -> Iterator[str]:
    """Those of `OTHERS` that are on PATH, be it as pyenv's shims, and those that pyenv has installed."""
    pyenv = shutil.which("pyenv")
    root = run_command(pyenv, "root").stdout.strip() if pyenv else "/nonexistent"
    for name in OTHERS:
        on_path = shutil.which(name)
        if on_path is not None:
            yield on_path
        yield from map(str, Path(root).glob(f"versions/*/bin/{name}"))


def run_command(
    *command: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=env
    )


def test_other_interpreters_are_refused_in_words(sources: dict[str, str]) -> None:
    """Those that this machine has. A name on PATH may stand for something that is not installed."""
    env = script_environment(sources)
    tried = 0
    for python in other_interpreters():
        if run_command(python, "-c", "print(1)", env=env).returncode != 0:
            continue
        done = run_command(python, "-c", "import golib", env=env)
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1, (python, done)
        assert last.startswith("ImportError: golib "), (python, done)
        tried += 1
    if not tried:
        pytest.skip("this machine has no interpreter that golib refuses")

"""The soak: every scenario with every movable goroutine moved to another OS thread at every park."""

from __future__ import annotations

import ast
import importlib.util
import os
import pathlib
import sys

import pytest

from support import SLACK, Output, finish, start

HERE = pathlib.Path(__file__).parent

pytestmark = pytest.mark.hang(100 * SLACK)

#: Rounds of each storm; by default enough for the last ones to show a leak.
ROUNDS = os.environ.get("GOLIB_SOAK_ROUNDS")

#: Scenario -> the library that it needs.
NEEDS = {
    "pydantic_models": "pydantic",
    "rpds_maps": "rpds",
    "lxml_callbacks": "lxml",
    "tcl_interpreters": "_tkinter",
    "sqlite3_functions": "_sqlite3",
    "one_sqlite3_connection_for_many": "_sqlite3",
    "callables_in_c_as_goroutines": "_sqlite3",
    "connections_made_without_connect": "_sqlite3",
}


def scenarios() -> list[str]:
    """The names of the functions decorated with @scenario, without importing their modules."""
    names = []
    for path in sorted(HERE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(d, ast.Call) and getattr(d.func, "id", "") == "scenario"
                for d in node.decorator_list
            ):
                names.append(node.name)
    return names


def storm(name: str, rng, *options: str, debug: str = "migrate=1", timeout: float = 60) -> Output:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    command = [
        sys.executable,
        str(HERE / "storm.py"),
        name,
        "--seed",
        str(rng.getrandbits(32)),
        *options,
    ]
    process = start(command, {"GOLIB_DEBUG": debug})
    return finish(process, timeout * SLACK)


@pytest.mark.parametrize("name", scenarios())
def test_nothing_breaks_when_goroutines_move_at_every_park(name, rng):
    result = storm(name, rng, *(["--rounds", ROUNDS] if ROUNDS else []))
    assert result.rc == 0, result
    assert "\nok" in result.out, result
    assert result.err == "", result


@pytest.mark.slow
@pytest.mark.hang(3600)
@pytest.mark.parametrize("name", scenarios())
def test_nothing_breaks_in_a_long_storm(name, rng):
    for debug in ("migrate=1", ""):
        result = storm(name, rng, "--rounds", "60", debug=debug, timeout=900)
        assert (result.rc, result.err) == (0, ""), result


def test_there_are_scenarios():
    assert len(scenarios()) >= 30

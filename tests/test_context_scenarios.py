"""Contexts by the crate's table of scenarios: its tree and golib's are two, and must not come to differ.

The steps are explained at the head of the table, `rust/go-lib/tests/context_scenarios.txt`.
"""

from __future__ import annotations

import time
from pathlib import Path

import golib
import pytest
from golib.context import (
    after_func,
    background,
    cause,
    with_cancel,
    with_cancel_cause,
    with_deadline,
    with_value,
    without_cancel,
)

TABLE = Path(__file__).parent.parent / "rust/go-lib/tests/context_scenarios.txt"
HOUR = 3600.0


def scenarios() -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    steps: list[list[str]] = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("scenario "):
            steps = found[line.removeprefix("scenario ")] = []
        elif line and not line.startswith("#"):
            steps.append(line.split())
    return found


SCENARIOS = scenarios()


class Scenario:
    """The names of one scenario, and its steps as methods."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.contexts = {"root": background()}
        self.cancels = {}
        self.stops = {}
        self.ran = {}

    def when(self, word: str) -> float:
        if word == "soon":
            return time.monotonic() + 0.003
        return self.start + {"past": -1, "late": HOUR, "later": 2 * HOUR}[word]

    def cancel(self, name: str, parent: str) -> None:
        self.contexts[name], self.cancels[name] = with_cancel(self.contexts[parent])

    def cause(self, name: str, parent: str) -> None:
        self.contexts[name], self.cancels[name] = with_cancel_cause(self.contexts[parent])

    def deadline(self, name: str, parent: str, word: str) -> None:
        made = with_deadline(self.contexts[parent], self.when(word))
        self.contexts[name], self.cancels[name] = made

    def value(self, name: str, parent: str, key: str, word: str) -> None:
        self.contexts[name] = with_value(self.contexts[parent], key, word)

    def without(self, name: str, parent: str) -> None:
        self.contexts[name] = without_cancel(self.contexts[parent])

    def after(self, name: str, parent: str) -> None:
        calls = self.ran[name] = []
        self.stops[name] = after_func(self.contexts[parent], calls.append, name)

    def end(self, name: str, *reason: str) -> None:
        self.cancels[name](*map(RuntimeError, reason))

    def stop(self, name: str, expected: str) -> None:
        assert self.stops[name]() == (expected == "yes")

    def forget(self, name: str) -> None:
        del self.contexts[name], self.cancels[name]

    def wait(self, name: str) -> None:
        golib.select(self.contexts[name].done())

    def is_(self, name: str, expected: str) -> None:
        error = self.contexts[name].err()
        found = {type(None): "alive", golib.context.Canceled: "canceled"}
        assert found.get(type(error), "deadline") == expected
        assert self.contexts[name].is_done == (expected != "alive")

    def why(self, name: str, expected: str) -> None:
        texts = {"canceled": "context canceled", "deadline": "context deadline exceeded"}
        assert str(cause(self.contexts[name])) == texts.get(expected, expected)

    def by(self, name: str, expected: str) -> None:
        deadline = self.contexts[name].deadline()
        if expected == "never":
            assert deadline is None
        else:
            assert deadline == pytest.approx(self.when(expected), abs=1e-6)

    def sees(self, name: str, key: str, expected: str) -> None:
        assert (self.contexts[name].value(key) or "-") == expected

    def ran_(self, name: str, expected: str) -> None:
        while expected == "yes" and not self.ran[name]:
            golib.gosched()
        assert len(self.ran[name]) == (expected == "yes")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_tree_passes_every_scenario_of_the_table(name: str, place) -> None:
    def check() -> None:
        scenario = Scenario()
        for what, *words in SCENARIOS[name]:
            step = getattr(scenario, f"{what}_", None) or getattr(scenario, what)
            step(*words)

    place(check)


def test_the_table_has_scenarios() -> None:
    assert len(SCENARIOS) > 20

"""A plain-Python model of channels: what Go's rules say, without any concurrency.

A `Waiter` is a goroutine in one operation: a list of cases over model channels. `World.start` either
completes it at once or parks it on every channel that it names; later operations complete parked
waiters first in, first out. The outcome of a waiter is a tuple:

    ("sent", index)  ("got", index, value, ok)  ("send on closed", index)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

Outcome = tuple[Any, ...]


@dataclass(eq=False)
class ModelChan:
    """A channel; `nil` is one that never fires."""

    cap: int = 0
    nil: bool = False
    closed: bool = False
    buffer: deque[Any] = field(default_factory=deque)
    receivers: deque[tuple[Waiter, int]] = field(default_factory=deque)
    senders: deque[tuple[Waiter, int]] = field(default_factory=deque)


@dataclass(eq=False)
class Case:
    """One direction on one channel; `value` is what a send offers."""

    chan: ModelChan | None
    is_send: bool
    value: Any = None


@dataclass(eq=False)
class Waiter:
    """A goroutine in an operation; `outcome` is None while it is parked."""

    cases: list[Case]
    outcome: Outcome | None = None


def _first(queue: deque[tuple[Waiter, int]]) -> tuple[Waiter, int] | None:
    """Takes the first waiter that is still parked."""
    while queue:
        waiter, index = queue.popleft()
        if waiter.outcome is None:
            return waiter, index
    return None


def attempt(case: Case, index: int) -> Outcome | None:
    """Completes the case if it is ready."""
    ch = case.chan
    if ch is None or ch.nil:
        return None
    if case.is_send:
        if ch.closed:
            return ("send on closed", index)
        if peer := _first(ch.receivers):
            peer[0].outcome = ("got", peer[1], case.value, True)
            return ("sent", index)
        if len(ch.buffer) < ch.cap:
            ch.buffer.append(case.value)
            return ("sent", index)
        return None
    if ch.buffer:
        value = ch.buffer.popleft()
        if peer := _first(ch.senders):
            ch.buffer.append(peer[0].cases[peer[1]].value)
            peer[0].outcome = ("sent", peer[1])
        return ("got", index, value, True)
    if peer := _first(ch.senders):
        peer[0].outcome = ("sent", peer[1])
        return ("got", index, peer[0].cases[peer[1]].value, True)
    if ch.closed:
        return ("got", index, None, False)
    return None


def try_once(cases: list[Case]) -> Outcome | None:
    """The first ready case in order (a biased select); None when nothing is ready."""
    for index, case in enumerate(cases):
        if (outcome := attempt(case, index)) is not None:
            return outcome
    return None


def start(cases: list[Case]) -> Waiter:
    """Begins an operation: completes it at once, or parks it on all of its channels."""
    waiter = Waiter(cases)
    waiter.outcome = try_once(cases)
    if waiter.outcome is None:
        for index, case in enumerate(cases):
            if case.chan is not None and not case.chan.nil:
                queue = case.chan.senders if case.is_send else case.chan.receivers
                queue.append((waiter, index))
    return waiter


def close(ch: ModelChan) -> bool:
    """Closes and wakes everybody; False when it was closed already."""
    if ch.closed:
        return False
    ch.closed = True
    while peer := _first(ch.receivers):
        peer[0].outcome = ("got", peer[1], None, False)
    while peer := _first(ch.senders):
        peer[0].outcome = ("send on closed", peer[1])
    return True

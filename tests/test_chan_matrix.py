"""Every state of a channel × every operation, from every place: the outcome is the contract's.

`OUTCOMES` is the contract as a table. A state is made by a function in `STATES`; an operation is a
function in `OPERATIONS`; `Blocks` means that the plain form parks, the try form reports "would
block", and any timed form raises TimeoutError.
"""

from __future__ import annotations

import math
from typing import Any

import golib
import pytest
from golib import Chan, ChanClosed, CloseOfClosed, Recv, SendOnClosed


class Blocks:
    """The operation cannot complete."""


class Raises:
    """The operation raises this, with this text in it."""

    def __init__(self, kind: type[BaseException], text: str | None = None) -> None:
        self.kind, self.text = kind, text


def open_empty() -> Any:
    return Chan(2)


def open_unbuffered() -> Any:
    return Chan()


def open_full() -> Any:
    ch = Chan(2)
    ch.send("a")
    ch.send("b")
    return ch


def open_buffered() -> Any:
    ch = Chan(2)
    ch.send("a")
    return ch


def closed_with_values() -> Any:
    ch = Chan(2)
    ch.send("a")
    ch.send("b")
    ch.close()
    return ch


def closed_drained() -> Any:
    ch = closed_with_values()
    assert list(ch) == ["a", "b"]
    return ch


def closed_unbuffered() -> Any:
    ch = Chan()
    ch.close()
    return ch


def nil() -> Any:
    return golib.nil


STATES = {
    f.__name__: f
    for f in (
        nil,
        open_empty,
        open_unbuffered,
        open_full,
        open_buffered,
        closed_with_values,
        closed_drained,
        closed_unbuffered,
    )
}

send_on_closed = Raises(SendOnClosed, "send on closed channel")
close_of_closed = Raises(CloseOfClosed, "close of closed channel")

#: state -> (send, recv, recv_ok, close)
OUTCOMES: dict[str, tuple[Any, Any, Any, Any]] = {
    "nil": (Blocks, Blocks, Blocks, Raises(Exception, "close of nil channel")),
    "open_empty": (None, Blocks, Blocks, None),
    "open_unbuffered": (Blocks, Blocks, Blocks, None),
    "open_full": (Blocks, "a", ("a", True), None),
    "open_buffered": (None, "a", ("a", True), None),
    "closed_with_values": (send_on_closed, "a", ("a", True), close_of_closed),
    "closed_drained": (send_on_closed, Raises(ChanClosed), (None, False), close_of_closed),
    "closed_unbuffered": (send_on_closed, Raises(ChanClosed), (None, False), close_of_closed),
}

#: state -> (len, cap, closed)
SIZES = {
    "nil": (0, 0, False),
    "open_empty": (0, 2, False),
    "open_unbuffered": (0, 0, False),
    "open_full": (2, 2, False),
    "open_buffered": (1, 2, False),
    "closed_with_values": (2, 2, True),
    "closed_drained": (0, 2, True),
    "closed_unbuffered": (0, 0, True),
}

#: Timeouts under which an operation that cannot complete gives up at once or soon.
SHORT = [0, 0.0, -0.0, -1, -1e300, -math.inf, -(10**400), 0.001]
#: Timeouts that mean "none".
ENDLESS = [None, math.inf, 1e300, 10**400, 2**63, 1e18]

states = pytest.mark.parametrize("state", list(STATES))


def check(expected: Any, operation: Any) -> None:
    if isinstance(expected, Raises):
        with pytest.raises(expected.kind, match=expected.text):
            operation()
    else:
        assert operation() == expected


def operations(ch: Any, index: int, timeout: Any) -> Any:
    """send, recv or recv_ok with this timeout, by position and by name."""
    return (
        (lambda: ch.send("x", timeout), lambda: ch.send("x", timeout=timeout)),
        (lambda: ch.recv(timeout), lambda: ch.recv(timeout=timeout)),
        (lambda: ch.recv_ok(timeout), lambda: ch.recv_ok(timeout=timeout)),
    )[index]


timed = pytest.mark.parametrize("index", [0, 1, 2], ids=["send", "recv", "recv_ok"])


@states
@timed
def test_a_timed_operation_completes_or_raises_timeout_error(state, index, place):
    expected = OUTCOMES[state][index]
    for timeout in SHORT:
        for which in (0, 1):
            ch = STATES[state]()
            before = len(ch)
            operation = operations(ch, index, timeout)[which]
            if expected is Blocks:
                with pytest.raises(TimeoutError):
                    place(operation)
                assert len(ch) == before
            else:
                check(expected, lambda op=operation: place(op))


@states
@timed
def test_an_operation_that_can_complete_does_so_under_an_endless_timeout(state, index, place):
    expected = OUTCOMES[state][index]
    if expected is Blocks:
        return
    for timeout in ENDLESS:
        operation, _ = operations(STATES[state](), index, timeout)
        check(expected, lambda op=operation: place(op))


@states
@timed
def test_a_nan_timeout_is_a_value_error_and_changes_nothing(state, index):
    ch = STATES[state]()
    before = len(ch)
    for operation in operations(ch, index, math.nan):
        with pytest.raises(ValueError, match="timeout must not be nan"):
            operation()
    assert len(ch) == before


@states
@timed
def test_a_timeout_that_is_no_number_is_a_type_error_and_changes_nothing(state, index):
    ch = STATES[state]()
    before = len(ch)
    for timeout in ("1", b"1", [], 1j, object()):
        for operation in operations(ch, index, timeout):
            with pytest.raises(TypeError):
                operation()
    assert len(ch) == before


@states
def test_try_send_says_whether_it_sent(state, place):
    expected = OUTCOMES[state][0]
    ch = STATES[state]()
    before = len(ch)
    if isinstance(expected, Raises):
        check(expected, lambda: place(ch.try_send, "x"))
    else:
        sent = expected is not Blocks
        assert place(ch.try_send, "x") is sent
        assert len(ch) == before + sent


@states
def test_try_recv_returns_recv_or_none(state, place):
    expected = OUTCOMES[state][2]
    ch = STATES[state]()
    got = place(ch.try_recv)
    if expected is Blocks:
        assert got is None
    else:
        assert got == expected
        assert isinstance(got, Recv)
        assert (got.value, got.ok) == expected


@states
def test_close_closes_once(state, place):
    ch = STATES[state]()
    check(OUTCOMES[state][3], lambda: place(ch.close))
    if state != "nil":
        assert ch.closed is True


@states
def test_len_cap_closed_and_truth(state, place):
    ch = STATES[state]()
    assert place(lambda: (len(ch), ch.cap, ch.closed, bool(ch))) == (*SIZES[state], True)


@states
def test_iteration_gives_the_buffered_values_and_ends_when_closed(state, place):
    if state == "nil":
        return
    ch = STATES[state]()
    left = {"open_full": ["a", "b"], "open_buffered": ["a"], "closed_with_values": ["a", "b"]}
    if not ch.closed:
        ch.close()
    assert place(list, ch) == left.get(state, [])
    assert len(ch) == 0


@states
def test_with_closes_a_channel_that_is_still_open(state, place):
    if state == "nil":
        return
    ch = STATES[state]()

    def block():
        with ch as inside:
            assert inside is ch

    place(block)
    assert ch.closed is True


@states
def test_a_with_block_lets_the_exception_through_and_closes(state):
    if state == "nil":
        return
    ch = STATES[state]()
    with pytest.raises(KeyError), ch:
        raise KeyError("k")
    assert ch.closed

"""Channels as objects: how they are made, compared and shown, and wrong use."""

from __future__ import annotations

import sys

import golib
import pytest
from golib import Chan

# -- construction ------------------------------------------------------------------------------


def test_the_default_capacity_is_zero():
    assert Chan().cap == 0
    assert Chan().try_send(1) is False


def test_the_capacity_may_be_named():
    assert Chan(capacity=3).cap == 3


@pytest.mark.parametrize("capacity", [1, 2, 3, 64, 1000, 100_000])
def test_a_channel_holds_exactly_its_capacity(capacity):
    ch = Chan(capacity)
    sent = 0
    while ch.try_send(sent):
        sent += 1
    assert sent == ch.cap == len(ch) == capacity
    ch.close()
    assert list(ch) == list(range(capacity))


@pytest.mark.parametrize("capacity", [-1, -2, -(2**31), -(2**63), -(2**63) - 1, -(10**30)])
def test_a_negative_capacity_is_a_value_error(capacity):
    with pytest.raises(ValueError, match="negative"):
        Chan(capacity)
    with pytest.raises(ValueError, match="negative"):
        golib.channel(capacity)


@pytest.mark.parametrize("capacity", [sys.maxsize, 2**62, 2**63, 2**64, 10**30])
def test_an_absurd_capacity_is_a_memory_error(capacity):
    with pytest.raises(MemoryError):
        Chan(capacity)
    with pytest.raises(MemoryError):
        golib.channel(capacity)


@pytest.mark.parametrize("capacity", ["1", 1.0, None, [], 1j, object()], ids=repr)
def test_a_capacity_that_is_no_integer_is_a_type_error(capacity):
    with pytest.raises(TypeError):
        Chan(capacity)
    with pytest.raises(TypeError):
        golib.channel(capacity)


def test_whatever_has_an_index_is_a_capacity():
    class Four:
        def __index__(self):
            return 4

    assert Chan(Four()).cap == 4
    assert Chan(True).cap == 1


def test_an_error_in_the_index_of_a_capacity_passes_through():
    class Bad:
        def __index__(self):
            raise KeyError("k")

    with pytest.raises(KeyError):
        Chan(Bad())


def test_too_many_arguments_are_a_type_error():
    with pytest.raises(TypeError):
        Chan(1, 2)
    with pytest.raises(TypeError):
        Chan(size=1)


def test_chan_of_int_makes_channels():
    ch = Chan[int](2)
    assert isinstance(ch, Chan)
    assert ch.cap == 2


def test_cap_and_closed_are_read_only():
    ch = Chan(1)
    with pytest.raises(AttributeError):
        ch.cap = 2
    with pytest.raises(AttributeError):
        ch.closed = True


def test_channels_are_equal_only_to_themselves_and_hashable():
    a, b = Chan(), Chan()
    assert a == a
    assert a != b
    assert len({a, b, a}) == 2


def test_the_repr_of_a_channel_names_it():
    assert "chan" in repr(Chan(3)).lower()


# -- wrong use ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda ch: ch.send(),
        lambda ch: ch.send(1, 2, 3),
        lambda ch: ch.send(1, deadline=3),
        lambda ch: ch.recv(1, 2),
        lambda ch: ch.recv(wait=1),
        lambda ch: ch.recv_ok(1, 2),
        lambda ch: ch.try_send(),
        lambda ch: ch.try_send(1, 2),
        lambda ch: ch.try_recv(1),
        lambda ch: ch.close(1),
        lambda ch: Chan.send(1, 2),
        lambda ch: Chan.recv(object()),
        lambda ch: Chan.close(None),
    ],
)
def test_wrong_arguments_are_a_type_error_and_change_nothing(call):
    ch = Chan(1)
    with pytest.raises(TypeError):
        call(ch)
    assert len(ch) == 0
    assert not ch.closed


def test_the_value_and_the_timeout_may_be_named():
    ch = Chan(1)
    ch.send(value=1, timeout=0)
    assert ch.recv(timeout=0) == 1


def test_methods_work_on_channels_of_a_subclass():
    class Mine(Chan):
        pass

    ch = Mine(1)
    ch.send(1)
    assert ch.recv() == 1

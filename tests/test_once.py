"""golib.sync.Once, once, once_value and SingleFlight."""

from __future__ import annotations

import gc
import traceback
import weakref

import golib
import pytest
from golib import Chan, go
from golib.sync import Once, SingleFlight, once, once_value

from support import Boom, parked


def test_once_runs_once_and_the_others_wait_for_its_end():
    start, gate, calls = Once(), Chan(), []

    def work(i):
        calls.append(i)
        gate.recv()
        calls.append("end")

    first = parked(go(start.do, work, 1), "chan receive")
    others = [parked(go(start.do, work, i), "sync.Mutex.Lock") for i in (2, 3)]
    gate.send(None)
    for g in [first, *others]:
        assert g.join() is None
    assert calls == [1, "end"]


def test_a_once_that_raised_is_done(place):
    def check():
        start = Once()

        def fail():
            raise Boom

        with pytest.raises(Boom):
            start.do(fail)
        start.do(fail)

    place(check)


def test_once_value_returns_the_first_value_to_all():
    calls, gate = [], Chan()

    @once_value
    def value(n):
        """Its text."""
        calls.append(n)
        gate.recv()
        return [n]

    gs = [parked(go(value, i)) for i in range(3)]
    gate.send(None)
    results = [g.join() for g in gs]
    assert all(r is results[0] for r in results)
    assert value(7) is results[0]
    assert calls == [0]
    assert (value.__name__, value.__doc__) == ("value", "Its text.")


def test_once_value_raises_the_same_exception_with_the_same_traceback_each_time():
    @once_value
    def fail():
        raise Boom

    lengths, seen = [], []
    for _ in range(3):
        with pytest.raises(Boom) as caught:
            fail()
        seen.append(caught.value)
        lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert seen[0] is seen[1] is seen[2]
    assert lengths[1] == lengths[2]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, golib.Goexit])
def test_a_once_value_that_was_interrupted_runs_again(kind):
    calls = []

    @once_value
    def value():
        calls.append(1)
        if len(calls) == 1:
            raise kind
        return "made"

    with pytest.raises(kind):
        value()
    assert value() == value() == "made"
    assert len(calls) == 2


def test_once_returns_none_and_raises_as_once_value_does():
    calls = []

    @once
    def start():
        calls.append(1)
        return 7

    assert start() is None
    assert start() is None
    assert calls == [1]

    @once
    def fail():
        raise Boom

    for _ in range(2):
        with pytest.raises(Boom):
            fail()


def test_work_for_one_key_is_done_once_and_shared():
    flight, gate, calls = SingleFlight(), Chan(), []

    def work(key):
        calls.append(key)
        gate.recv()
        return [key]

    first = parked(go(flight.do, "a", work, "a"))
    others = [parked(go(flight.do, "a", work, "a"), "event wait") for _ in range(4)]
    elsewhere = parked(go(flight.do, "b", work, "b"))
    gate.send(None)
    gate.send(None)
    results = [g.join() for g in [first, *others]]
    assert all(r is results[0] for r in results)
    assert elsewhere.join() == ["b"]
    assert sorted(calls) == ["a", "b"]
    assert flight.do("a", lambda: "again") == "again"


def test_work_that_raises_raises_in_all_and_leaves_no_cycle():
    flight, gate = SingleFlight(), Chan()

    class Value:
        pass

    def work(value):
        gate.recv()
        raise Boom

    value = Value()
    reference = weakref.ref(value)
    first = parked(go(flight.do, 1, work, value))
    second = parked(go(flight.do, 1, work, value))
    gate.send(None)
    assert first.exception() is second.exception()
    gc.collect()
    gc.disable()
    try:
        del value, first, second
        assert reference() is None
    finally:
        gc.enable()


def test_a_forgotten_key_is_worked_on_again_and_the_old_call_does_not_end_the_new_one():
    flight, gates = SingleFlight(), [Chan(), Chan()]

    def work(i):
        gates[i].recv()
        return i

    old = parked(go(flight.do, "key", work, 0))
    flight.forget("key")
    flight.forget("unknown")
    new = parked(go(flight.do, "key", work, 1))
    gates[0].send(None)
    assert old.join() == 0
    third = parked(go(flight.do, "key", work, 1), "event wait")
    gates[1].send(None)
    assert (new.join(), third.join()) == (1, 1)


def test_when_the_one_that_works_is_interrupted_the_next_does_the_work():
    flight, gate, calls = SingleFlight(), Chan(), []

    def work():
        calls.append(1)
        if len(calls) == 1:
            gate.recv()
            golib.goexit()
        return "done"

    first = parked(go(flight.do, 1, work))
    second = parked(go(flight.do, 1, work), "event wait")
    gate.send(None)
    assert (first.join(), second.join()) == (None, "done")


def test_a_key_that_is_not_hashable_is_a_type_error():
    with pytest.raises(TypeError):
        SingleFlight().do([], int)

"""Recv and Selected, as operations return them: tuples like any other, whatever happened to earlier ones."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from typing import NamedTuple

import golib
import pytest
from golib import Chan, select

from support import Tracked


def received(value):
    ch = Chan(1)
    ch.send(value)
    return ch.try_recv()


def selected(value):
    ch = Chan(1)
    ch.send(value)
    return select(ch)


def as_tuple(make, value):
    return (value, True) if make is received else (0, value, True)


@pytest.fixture(params=[received, selected], ids=["Recv", "Selected"])
def make(request):
    return request.param


def test_results_hash_and_compare_as_their_tuples_do(make):
    for value in ("x", 1.5, None, (1, 2), frozenset("ab")):
        result, same = make(value), as_tuple(make, value)
        for _ in range(3):
            assert (result, hash(result)) == (same, hash(same))
        assert {result: "here"}[same] == "here"
        assert same in {result}


def test_results_of_operations_are_as_those_that_are_constructed(make):
    result = make([1])
    constructed = type(result)(*result)
    for other in (
        constructed,
        copy.copy(result),
        copy.deepcopy(result),
        pickle.loads(pickle.dumps(result)),
    ):
        assert other == result
        assert type(other) is type(result)
    assert repr(constructed) == repr(result)
    assert result._asdict() == constructed._asdict()
    assert result._replace(value=2).value == 2


def test_a_result_that_is_kept_is_not_used_again(make):
    kept = [make(i) for i in range(1000, 1100)]
    for i in range(100):
        make(i)
    assert kept == [as_tuple(make, i) for i in range(1000, 1100)]
    assert len({id(result) for result in kept}) == 100


def test_a_freed_result_keeps_nothing_alive(make):
    for _ in range(3):
        value = Tracked()
        gone = weakref.ref(value)
        result = make(value)
        assert result.value is value
        del value, result
        assert gone() is None


def test_cycles_through_results_are_collected(make):
    for _ in range(3):
        make("a result that leaves its place to the next")
        box = [Tracked()]
        gone = weakref.ref(box[0])
        box.append(make(box))
        del box
        gc.collect()
        assert gone() is None


def test_a_chain_of_results_as_long_as_memory_allows_is_freed(make):
    chain = None
    for _ in range(100_000):
        chain = make(chain)
    del chain
    assert make(1).value == 1


def test_a_value_whose_end_makes_results(make):
    class Ends:
        def __del__(self):
            seen.append(make(len(seen)))

    seen = []
    for _ in range(5):
        make(Ends())
    assert [result.value for result in seen] == list(range(5))


def test_subclasses_and_other_lengths(make):
    kind = type(make(1))

    class Sub(kind):
        pass

    for _ in range(3):
        sub = Sub(*make(Tracked()))
        sub.extra = [sub]
        assert sub.value.__class__ is Tracked
        del sub
        odd = tuple.__new__(kind, "abcde")
        assert len(odd) == 5
        empty = tuple.__new__(kind, ())
        assert len(empty) == 0
        del odd, empty
        assert make("after") == as_tuple(make, "after")
    gc.collect()


def test_fields_without_an_item_are_missing(make):
    kind = type(make(1))

    class Sub(kind):
        pass

    fields = kind._fields
    for cls in (kind, Sub):
        # Among many others, so that the memory behind them is not zero.
        short = [tuple.__new__(cls, range(i % len(fields))) for i in range(100)]
        for result in short:
            for i, name in enumerate(fields):
                if i < len(result):
                    assert getattr(result, name) == i
                else:
                    with pytest.raises(AttributeError, match=name):
                        getattr(result, name)


def test_a_result_does_not_become_one_of_another_class(make):
    class Other(NamedTuple):
        value: object

    for result, kind in ((make("x"), Other), (Other("y"), type(make(1)))):
        with pytest.raises(TypeError):
            result.__class__ = kind


def test_results_count_references_to_their_class(make):
    kind = type(make(1))
    before = sys.getrefcount(kind)
    for i in range(1000):
        make(i)
    kept = [make(i) for i in range(50)]
    assert sys.getrefcount(kind) >= before + 49
    del kept
    assert abs(sys.getrefcount(kind) - before) <= 1


def test_goroutines_that_make_results_in_turns_do_not_mix_them_up(make):
    def work(k):
        for i in range(200):
            result = make((k, i))
            golib.gosched()
            assert result == as_tuple(make, (k, i))

    def main():
        for task in [golib.go(work, k) for k in range(20)]:
            task.join()

    golib.run(main)

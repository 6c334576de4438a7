"""golib.sync.Map and Pool."""

from __future__ import annotations

import gc

import golib
import pytest
from golib import go
from golib.sync import Map, Pool

from support import Tracked


def test_a_map_does_what_gos_does(place):
    def check():
        m = Map()
        assert (m.load("a"), m.load("a", 0), len(m)) == (None, 0, 0)
        m.store("a", 1)
        assert m.load_or_store("a", 2) == (1, True)
        assert m.load_or_store("b", None) == (None, False)
        assert m.load_or_store("b", 3) == (None, True)
        assert m.swap("a", 5) == (1, True)
        assert m.swap("c", 6) == (None, False)
        assert not m.compare_and_swap("a", 1, 7)
        assert m.compare_and_swap("a", 5, 7)
        assert not m.compare_and_swap("unknown", None, 7)
        assert m.load_and_delete("a") == (7, True)
        assert m.load_and_delete("a") == (None, False)
        m.delete("b")
        m.delete("b")
        assert len(m) == 1
        m.clear()
        assert len(m) == 0

    place(check)


def test_range_sees_what_was_there_and_stops_at_false():
    m = Map()
    for i in range(5):
        m.store(i, i * i)
    seen = []

    def visit(key, value):
        seen.append((key, value))
        m.delete(key)
        m.store(key + 100, 0)
        return key != 2

    m.range(visit)
    assert seen == [(0, 0), (1, 1), (2, 4)]
    assert len(m) == 5


def test_compound_operations_are_not_come_between():
    class Key:
        """Compares with a park."""

        def __hash__(self):
            return 1

        def __eq__(self, other):
            golib.gosched()
            return True

    m = Map()
    results = [g.join() for g in [go(m.load_or_store, Key(), i) for i in range(10)]]
    assert [found for _, found in results].count(False) == 1
    assert len({value for value, _ in results}) == 1


def test_a_key_that_is_not_hashable_leaves_the_map_usable():
    m = Map()
    for call in (m.load, lambda key: m.store(key, 1), lambda key: m.swap(key, 1)):
        with pytest.raises(TypeError):
            call([])
    m.store(1, 1)
    assert m.load(1) == 1


def test_a_pool_gives_back_what_was_put():
    made = []

    def new():
        made.append(1)
        return [len(made)]

    pool = Pool(new=new)
    first = pool.get()
    pool.put(first)
    assert pool.get() is first
    assert pool.get() == [2]
    pool.put(None)
    assert pool.get() == [3]
    assert Pool().get() is None
    with pytest.raises(TypeError):
        Pool(new=1)


def test_a_pool_lets_go_of_what_was_not_used_for_two_collections():
    pool = Pool()
    pool.put(Tracked())
    gc.collect()
    assert Tracked.alive == 1
    kept = pool.get()
    assert kept is not None
    pool.put(kept)
    del kept
    gc.collect()
    gc.collect()
    assert Tracked.alive == 0
    assert pool.get() is None


def test_a_pool_that_is_dropped_drops_its_things():
    pool = Pool()
    pool.put(Tracked())
    del pool
    gc.collect()
    assert Tracked.alive == 0

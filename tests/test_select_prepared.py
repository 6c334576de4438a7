"""Select: cases prepared once and waited for often."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from golib import Chan, Select, go, recv, send

from support import Tracked, full, parked


def test_a_prepared_select_can_be_waited_for_again_and_again():
    a, b = Chan(3), Chan(3)
    s = Select(recv(a), recv(b))
    for i in range(3):
        a.send(i)
        assert s.wait() == (0, i, True)
        b.send(i)
        assert s.wait() == (1, i, True)


def test_a_prepared_select_parks_and_times_out(place):
    a = Chan()
    s = Select(recv(a), send(Chan(), 1))
    with pytest.raises(TimeoutError):
        place(lambda: s.wait(timeout=0.002))
    with pytest.raises(TimeoutError):
        s.wait(0)
    g = parked(go(s.wait), "select")
    a.send("x")
    assert g.join() == (0, "x", True)


def test_a_case_of_a_prepared_select_can_be_disabled_and_replaced():
    a, b, c = full("a", 9), full("b", 9), full("c", 9)
    s = Select(recv(a), recv(b))
    s[0] = None
    assert [s.wait() for _ in range(5)] == [(1, "b", True)] * 5
    s[1] = None
    with pytest.raises(TimeoutError):
        s.wait(0)
    s[0] = recv(c)
    assert s.wait() == (0, "c", True)
    s[1] = b
    s[0] = None
    assert s.wait() == (1, "b", True)


def test_a_prepared_send_case_sends_its_value_each_time():
    ch = Chan(3)
    s = Select(send(ch, "x"))
    for _ in range(3):
        assert s.wait() == (0, None, True)
    assert [ch.recv() for _ in range(3)] == ["x"] * 3


def test_a_prepared_send_case_gets_the_next_value_by_assignment():
    ch = Chan(3)
    s = Select(send(ch, 0))
    for i in range(3):
        s[0] = send(ch, i)
        s.wait()
    assert [ch.recv() for _ in range(3)] == [0, 1, 2]


def test_an_index_out_of_range_is_an_index_error():
    s = Select(recv(Chan()))
    for index in (1, 5, 10**30):
        with pytest.raises(IndexError):
            s[index] = None


def test_a_prepared_select_refuses_what_is_no_case():
    with pytest.raises(TypeError):
        Select(1)
    s = Select(recv(Chan()))
    for bad in (1, "x", object()):
        with pytest.raises(TypeError):
            s[0] = bad
    with pytest.raises(TypeError):
        s["0"] = None


def test_a_prepared_select_is_fair():
    a, b = full(capacity=1), full(capacity=1)
    s, seen = Select(recv(a), recv(b)), Counter()
    for _ in range(1000):
        index = s.wait().index
        (a, b)[index].send("v")
        seen[index] += 1
    assert min(seen[0], seen[1]) > 370, seen


def test_a_prepared_select_in_a_cycle_is_collected():
    ch = Chan(1)
    s = Select(recv(ch), send(ch, Tracked()))
    ch.send([s, Tracked()])
    del s, ch
    gc.collect()
    assert Tracked.alive == 0


def test_a_prepared_select_may_be_used_by_several_goroutines_at_once():
    a, b = Chan(), Chan()
    s = Select(recv(a), recv(b))
    waiters = [parked(go(s.wait)) for _ in range(4)]
    for ch in (a, b, a, b):
        ch.send(ch)
    for g in waiters:
        got = g.join()
        assert got.value is (a, b)[got.index]

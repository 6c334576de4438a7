"""Channels and the collector: values are released promptly, cycles are collected, parked ones are kept."""

from __future__ import annotations

import gc
import weakref

import pytest
from golib import Chan, SendOnClosed, go, recv, select, send

from support import Thread, Tracked, eventually, parked, run_ok


@pytest.mark.parametrize("capacity", [0, 1, 4])
def test_a_received_value_dies_when_it_is_dropped(capacity):
    ch = Chan(capacity)
    value = Tracked()
    dead = weakref.ref(value)
    g = go(ch.send, value)
    del value
    got = ch.recv()
    g.join()
    del g
    assert got is dead()
    del got
    assert dead() is None


def test_buffered_values_die_with_the_channel():
    ch = Chan(3)
    for _ in range(3):
        ch.send(Tracked())
    assert Tracked.alive == 3
    del ch
    assert Tracked.alive == 0


def test_values_in_a_closed_channel_stay_until_received():
    ch = Chan(1)
    ch.send(Tracked("t"))
    ch.close()
    gc.collect()
    assert ch.recv().tag == "t"


def test_a_refused_value_is_not_kept():
    ch = Chan()
    value = Tracked()
    dead = weakref.ref(value)
    assert ch.try_send(value) is False
    with pytest.raises(TimeoutError):
        ch.send(value, 0.001)
    ch.close()
    with pytest.raises(SendOnClosed):
        ch.send(value)
    del value
    gc.collect()
    assert dead() is None


def test_a_timed_out_sender_gives_its_value_back(place):
    ch = Chan()
    with pytest.raises(TimeoutError):
        place(lambda: ch.send(Tracked(), 0.001))
    eventually(lambda: gc.collect() is not None and Tracked.alive == 0)


def test_the_value_of_a_sender_woken_by_close_is_released():
    ch = Chan()
    g = parked(go(lambda: ch.send(Tracked())))
    ch.close()
    assert isinstance(g.exception(), SendOnClosed)
    del g
    gc.collect()
    assert Tracked.alive == 0


def test_a_channel_that_holds_itself_is_collected():
    ch = Chan(2)
    ch.send(ch)
    ch.send(Tracked())
    del ch
    gc.collect()
    assert Tracked.alive == 0


def test_a_cycle_of_channels_is_collected():
    a, b = Chan(2), Chan(2)
    a.send(b)
    b.send([a, Tracked()])
    del a, b
    gc.collect()
    assert Tracked.alive == 0


def test_a_cycle_through_a_view_is_collected():
    ch = Chan(2)
    ch.send([ch.sender, ch.receiver, Tracked()])
    del ch
    gc.collect()
    assert Tracked.alive == 0


def test_the_collector_leaves_the_values_of_a_live_channel_alone():
    ch = Chan(100)
    for i in range(100):
        ch.send([i])
    for _ in range(3):
        gc.collect()
    assert [ch.recv() for _ in range(100)] == [[i] for i in range(100)]


def test_what_a_parked_sender_offers_survives_the_collector():
    ch = Chan()
    g = parked(go(lambda: ch.send([Tracked("t")])))
    gc.collect()
    assert ch.recv()[0].tag == "t"
    g.join()


def test_a_parked_goroutine_keeps_what_its_frames_hold():
    ch = Chan()

    def hold():
        kept = [Tracked("t")]
        kept.append(kept)
        ch.recv()
        return kept[0].tag

    g = parked(go(hold))
    for _ in range(3):
        gc.collect()
    assert Tracked.alive == 1
    ch.send(None)
    assert g.join() == "t"
    del g
    gc.collect()
    assert Tracked.alive == 0


def test_a_channel_referenced_only_by_its_parked_goroutine_stays():
    out = run_ok(
        """
        import gc, golib
        from support import parked, Tracked
        def hold(ch, kept):
            ch.recv()
        g = parked(golib.go(hold, golib.Chan(), Tracked()))
        i = g.id
        del g
        for _ in range(3):
            gc.collect()
        print(Tracked.alive, i in [g.id for g in golib.runtime.goroutines()])
        """
    )
    assert out == "1 True\n"


def test_values_of_select_cases_that_lost_are_released():
    a, b = Chan(), Chan(1)
    assert select(send(a, Tracked()), send(b, "x")).index == 1
    gc.collect()
    assert Tracked.alive == 0


def test_values_of_parked_select_cases_that_lost_are_released():
    a, b = Chan(), Chan()
    g = parked(go(lambda: select(send(a, Tracked()), recv(b))))
    assert Tracked.alive == 1
    b.send("x")
    assert g.join() == (1, "x", True)
    del g
    gc.collect()
    assert Tracked.alive == 0


def test_a_thousand_channels_in_a_chain_are_collected_without_deep_recursion():
    outer = Chan(1)
    outer.send(Tracked())
    for _ in range(20_000):
        nxt = Chan(1)
        nxt.send(outer)
        outer = nxt
    del nxt, outer
    gc.collect()
    assert Tracked.alive == 0


def test_a_destructor_that_uses_the_dying_channel_does_no_harm():
    seen = []

    class Last:
        def __init__(self, ch):
            self.ch = ch

        def __del__(self):
            seen.append((len(self.ch), self.ch.closed, self.ch.try_recv()))

    ch = Chan(2)
    ch.send(Last(ch))
    del ch
    gc.collect()
    assert len(seen) == 1


def test_values_dropped_by_a_thread_die_too():
    ch = Chan(10)
    for _ in range(10):
        ch.send(Tracked())
    Thread(lambda: [ch.recv() and None for _ in range(10)]).join()
    assert Tracked.alive == 0


def test_a_destructor_runs_without_any_lock_of_the_channel():
    ch = Chan(4)

    class Sends:
        def __del__(self):
            ch.try_send("from the destructor")

    ch.send(Sends())
    ch.recv()
    assert ch.try_recv() == ("from the destructor", True)


def test_a_channel_without_references_is_freed_by_counting_alone():
    gc.disable()
    try:
        ch = Chan(1)
        ch.send(Tracked())
        views = [ch.sender, ch.receiver]
        del ch
        assert Tracked.alive == 1
        del views
        assert Tracked.alive == 0
    finally:
        gc.enable()

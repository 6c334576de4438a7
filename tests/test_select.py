"""select: readiness, waiting, fairness, wrong use, and no trace of a losing case."""

from __future__ import annotations

import gc
import math
from collections import Counter

import golib
import pytest
from golib import Chan, Select, Selected, SendOnClosed, go, recv, select, send

from support import Thread, Tracked, eventually, full, parked

# -- ready cases -------------------------------------------------------------------------------


def test_a_ready_recv_case_gives_index_value_and_ok(place):
    assert place(lambda: select(recv(Chan()), recv(full("x")))) == (1, "x", True)


def test_a_ready_send_case_gives_index_none_and_true(place):
    ch = Chan(1)
    assert place(lambda: select(recv(Chan()), send(ch, "x"))) == (1, None, True)
    assert ch.recv() == "x"


def test_a_bare_channel_is_a_recv_case():
    assert select(full("x")) == (0, "x", True)


def test_the_result_is_a_selected():
    got = select(full("x"))
    assert isinstance(got, Selected)
    assert (got.index, got.value, got.ok) == (0, "x", True)


def test_a_closed_drained_channel_is_ready_with_ok_false():
    ch = Chan()
    ch.close()
    assert select(Chan(), ch) == (1, None, False)


def test_a_closed_channel_gives_its_values_first():
    ch = full("x")
    ch.close()
    assert [select(ch), select(ch)] == [(0, "x", True), (0, None, False)]


def test_a_send_case_on_a_closed_channel_raises():
    ch = Chan(1)
    ch.close()
    with pytest.raises(SendOnClosed, match="send on closed channel"):
        select(recv(Chan()), send(ch, 1))


def test_default_wins_when_nothing_is_ready(place):
    assert place(lambda: select(Chan(), send(Chan(), 1), default=True)) == (-1, None, False)


def test_default_loses_when_something_is_ready():
    assert select(full("x"), default=True) == (0, "x", True)


def test_biased_takes_the_first_ready_case():
    for _ in range(50):
        assert select(Chan(), full("a"), full("b"), biased=True) == (1, "a", True)


def test_select_takes_one_value_only():
    a, b = full("a"), full("b")
    select(a, b)
    assert len(a) + len(b) == 1


def test_a_parked_peer_makes_a_case_ready():
    ch = Chan()
    g = parked(go(ch.send, "x"))
    assert select(Chan(), ch, default=True) == (1, "x", True)
    g.join()
    g = parked(go(ch.recv))
    assert select(send(ch, "y"), default=True).index == 0
    assert g.join() == "y"


@pytest.mark.parametrize("n", [1, 2, 3, 5, 17, 100, 1000])
def test_any_number_of_cases(n, rng):
    channels = [Chan(1) for _ in range(n)]
    lucky = rng.randrange(n)
    channels[lucky].send("x")
    assert select(*channels) == (lucky, "x", True)
    assert select(*channels, default=True).index == -1


# -- waiting -----------------------------------------------------------------------------------


def test_a_parked_select_is_woken_by_a_sender():
    a, b = Chan(), Chan()
    g = parked(go(select, a, b), "select")
    b.send("x")
    assert g.join() == (1, "x", True)


def test_a_parked_select_is_woken_by_a_receiver():
    a, b = Chan(), Chan()
    g = parked(go(select, recv(a), send(b, "x")), "select")
    assert b.recv() == "x"
    assert g.join() == (1, None, True)


def test_a_parked_select_is_woken_by_close():
    a, b = Chan(), Chan()
    g = parked(go(select, a, b))
    b.close()
    assert g.join() == (1, None, False)


def test_a_parked_send_case_is_woken_by_close_and_raises():
    ch = Chan()
    g = parked(go(select, send(ch, 1), recv(Chan())))
    ch.close()
    assert isinstance(g.exception(), SendOnClosed)


def test_a_thread_waits_in_select_as_a_goroutine_does():
    a, b = Chan(), Chan()
    t = Thread(select, a, b)
    eventually(lambda: b.try_send("x"))
    assert t.join() == (1, "x", True)


def test_the_main_thread_waits_in_select():
    a, b = Chan(), Chan()
    g = go(b.send, "x")
    assert select(a, b) == (1, "x", True)
    g.join()


def test_two_selects_meet():
    a, b = Chan(), Chan()
    one = go(select, send(a, "x"), recv(b))
    two = go(select, recv(a), send(b, "y"))
    assert sorted([one.join(), two.join()], key=repr) in (
        [(0, "x", True), (0, None, True)],
        [(1, "y", True), (1, None, True)],
    )


@pytest.mark.parametrize("n", [2, 10, 200])
def test_a_parked_select_of_many_cases_is_woken_by_any_of_them(n, rng):
    channels = [Chan() for _ in range(n)]
    lucky = rng.randrange(n)
    g = parked(go(select, *channels))
    channels[lucky].send("x")
    assert g.join() == (lucky, "x", True)
    assert not any(ch.try_send("y") for ch in channels)


# -- timeouts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, -math.inf, -(10**400), 1e-9, 0.005], ids=repr)
def test_a_select_that_times_out_raises(timeout, place):
    with pytest.raises(TimeoutError):
        place(lambda: select(Chan(), send(Chan(), 1), timeout=timeout))


@pytest.mark.parametrize("timeout", [0, -1, math.inf, 10**400, None], ids=repr)
def test_a_ready_case_beats_any_timeout(timeout):
    assert select(full("x"), timeout=timeout) == (0, "x", True)


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 10**400, 3600], ids=repr)
def test_a_parked_select_with_a_long_timeout_is_woken(timeout, place):
    ch = Chan()
    g = go(lambda: eventually(lambda: ch.try_send("x")))
    assert place(lambda: select(Chan(), ch, timeout=timeout)) == (1, "x", True)
    g.join()


def test_a_nan_timeout_is_a_value_error():
    with pytest.raises(ValueError, match="timeout must not be nan"):
        select(Chan(), timeout=math.nan)


def test_a_timed_out_select_leaves_no_waiter_and_no_value():
    a, b = Chan(), Chan()
    with pytest.raises(TimeoutError):
        select(recv(a), send(b, Tracked()), timeout=0.002)
    gc.collect()
    assert Tracked.alive == 0
    assert a.try_send(1) is False
    assert b.try_recv() is None


# -- duplicates --------------------------------------------------------------------------------


def test_a_channel_may_occur_twice():
    ch = Chan()
    g = parked(go(select, ch, ch, ch))
    ch.send("x")
    got = g.join()
    assert got.index in (0, 1, 2)
    assert (got.value, got.ok) == ("x", True)
    assert ch.try_send("y") is False


def test_a_select_never_pairs_with_itself():
    ch = Chan()
    with pytest.raises(TimeoutError):
        select(recv(ch), send(ch, 1), timeout=0.005)
    assert select(recv(ch), send(ch, 1), default=True).index == -1


def test_two_selects_over_send_and_recv_of_one_channel_pair_with_each_other():
    ch = Chan()
    one = go(select, recv(ch), send(ch, "one"))
    two = go(select, recv(ch), send(ch, "two"))
    results = [one.join(), two.join()]
    assert sorted(r.index for r in results) == [0, 1]
    assert {r.value for r in results} in ({None, "one"}, {None, "two"})


def test_of_two_send_cases_on_one_channel_one_value_is_sent():
    ch = Chan(2)
    index = select(send(ch, 0), send(ch, 1)).index
    assert len(ch) == 1
    assert ch.recv() == index


def test_a_full_buffered_channel_is_ready_to_receive_and_an_empty_one_to_send():
    ch = Chan(1)
    assert select(recv(ch), send(ch, "x")).index == 1
    assert select(recv(ch), send(ch, "y")) == (0, "x", True)


# -- fairness ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5])
def test_every_ready_case_is_chosen_about_equally_often(n):
    rounds = 2000
    channels = [full() for _ in range(n)]
    seen = Counter()
    for _ in range(rounds):
        index = select(*channels).index
        channels[index].send("v")
        seen[index] += 1
    expected = rounds / n
    deviation = 8 * math.sqrt(expected * (1 - 1 / n))
    assert all(abs(seen[i] - expected) < deviation for i in range(n)), seen


def test_ready_sends_and_receives_are_chosen_equally_often():
    a, b = full(), Chan(1)
    seen = Counter()
    for _ in range(1000):
        index = select(recv(a), send(b, 1)).index
        (a.send if index == 0 else lambda _: b.recv())("v")
        seen[index] += 1
    assert min(seen[0], seen[1]) > 370, seen


# -- no trace ----------------------------------------------------------------------------------


def test_a_losing_recv_case_is_no_longer_a_receiver():
    a, b = Chan(), Chan()
    g = parked(go(select, a, b))
    a.send("x")
    g.join()
    assert b.try_send("y") is False


def test_a_losing_send_case_is_no_longer_a_sender():
    a, b = Chan(), Chan()
    g = parked(go(select, recv(a), send(b, "lost")))
    a.send("x")
    g.join()
    assert b.try_recv() is None


def test_a_losing_case_does_not_disturb_the_waiters_behind_it():
    a, b = Chan(), Chan()
    chooser = parked(go(select, a, b))
    behind = parked(go(b.recv))
    a.send(1)
    chooser.join()
    b.send(2)
    assert behind.join() == 2


def test_selects_over_common_channels_lose_and_double_nothing(rng):
    channels = [Chan(c) for c in (0, 0, 1, 3)]
    values = 600
    got: list[int] = []

    def consume():
        order = list(channels)
        rng.shuffle(order)
        open_ones = dict(enumerate(order))
        while open_ones:
            cases = [open_ones.get(i) for i in range(len(order))]
            index, value, ok = select(*cases)
            if ok:
                got.append(value)
            else:
                del open_ones[index]

    def produce(part):
        for v in part:
            chosen = rng.sample(channels, 2)
            select(*(send(ch, v) for ch in chosen))

    consumers = [go(consume) for _ in range(3)] + [Thread(consume)]
    producers = [go(produce, range(k, values, 3)) for k in range(3)]
    for p in producers:
        p.join()
    for ch in channels:
        ch.close()
    for c in consumers:
        c.join()
    assert sorted(got) == list(range(values))


# -- wrong use ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [1, "ch", [], object(), Chan, (0, 1)], ids=repr)
def test_what_is_no_case_is_a_type_error(bad):
    ch = full("x")
    with pytest.raises(TypeError):
        select(ch, bad)
    assert len(ch) == 1


@pytest.mark.parametrize("bad", [1, "ch", object()], ids=repr)
def test_a_case_of_no_channel_is_a_type_error(bad):
    with pytest.raises(TypeError):
        recv(bad)
    with pytest.raises(TypeError):
        send(bad, 1)


def test_wrong_arguments_are_a_type_error():
    for call in (
        lambda: recv(),
        lambda: recv(Chan(), 1),
        lambda: send(Chan()),
        lambda: send(Chan(), 1, 2),
        lambda: select(Chan(), timout=1),
        lambda: select(Chan(), timeout="1"),
        lambda: Select(recv(Chan())).wait(1, 2),
    ):
        with pytest.raises(TypeError):
            call()


def test_a_case_may_be_used_again():
    ch = Chan(3)
    case = send(ch, "x")
    select(case)
    select(case)
    assert [ch.recv(), ch.recv()] == ["x", "x"]


@pytest.mark.parametrize("make", [send, lambda ch, value: Select(send(ch, value))])
def test_a_chain_of_cases_as_long_as_memory_allows_is_freed(make):
    def chain():
        ch, case = Chan(), None
        for _ in range(300_000):
            case = make(ch, case)
        return case

    del_here = chain()
    del del_here
    # On a goroutine's stack, and by the collector.
    go(lambda: chain() and None).join()
    cycle = [chain()]
    cycle.append(cycle)
    del cycle
    gc.collect()


def test_select_over_thousands_of_rounds_leaves_nothing_behind():
    a, b = Chan(), Chan()

    def feed():
        for i in range(1000):
            a.send(i)

    g = go(feed)
    for i in range(1000):
        assert select(a, b) == (0, i, True)
    g.join()
    assert golib.select(a, b, default=True).index == -1

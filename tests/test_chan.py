"""Channels: hand-over, order, waking, capacities, iteration, generics."""

from __future__ import annotations

import math

import golib
import pytest
from golib import Chan, ChanClosed, CloseOfClosed, SendOnClosed, go

from support import PLACES, Thread, eventually, parked

# -- hand-over ---------------------------------------------------------------------------------


def test_an_unbuffered_send_waits_for_its_receiver(place):
    ch = Chan()
    g = parked(go(ch.send, 7), "chan send")
    assert place(ch.recv) == 7
    assert g.join() is None


def test_an_unbuffered_recv_waits_for_its_sender(place):
    ch = Chan()
    g = parked(go(ch.recv), "chan receive")
    assert place(ch.send, 7) is None
    assert g.join() == 7


@pytest.mark.parametrize("receiver", list(PLACES))
@pytest.mark.parametrize("sender", ["goroutine", "thread"])
def test_values_cross_between_any_two_places(sender, receiver):
    ch, n = Chan(3), 200

    def produce():
        for i in range(n):
            ch.send(i)
        ch.close()

    other = go(produce) if sender == "goroutine" else Thread(produce)
    assert PLACES[receiver](list, ch) == list(range(n))
    other.join()


def test_two_threads_and_two_goroutines_share_one_channel():
    ch, out, n = Chan(), Chan(4), 250

    def produce(k):
        for i in range(n):
            ch.send((k, i))

    def consume():
        return [out.send(v) for v in ch]

    producers = [go(produce, 0), Thread(produce, 1)]
    consumers = [go(consume), Thread(consume)]
    got = [out.recv() for _ in range(2 * n)]
    for p in producers:
        p.join()
    ch.close()
    for c in consumers:
        c.join()
    assert sorted(got) == [(k, i) for k in (0, 1) for i in range(n)]


def test_the_same_object_arrives():
    ch, value = Chan(1), object()
    ch.send(value)
    assert ch.recv() is value


def test_none_is_a_value_like_any_other():
    ch = Chan(2)
    ch.send(None)
    assert ch.recv_ok() == (None, True)
    ch.send(None)
    assert ch.try_recv() == (None, True)


def test_a_send_completes_at_once_while_a_receiver_is_parked():
    ch = Chan()
    g = parked(go(ch.recv))
    assert ch.try_send("x") is True
    assert g.join() == "x"


def test_a_recv_completes_at_once_while_a_sender_is_parked():
    ch = Chan()
    g = parked(go(ch.send, "x"))
    assert ch.try_recv() == ("x", True)
    g.join()


def test_a_parked_sender_fills_the_place_that_a_receiver_frees():
    ch = Chan(1)
    ch.send("a")
    g = parked(go(ch.send, "b"))
    assert ch.recv() == "a"
    g.join()
    assert len(ch) == 1
    assert ch.recv() == "b"


def test_len_does_not_count_parked_senders():
    ch = Chan(1)
    ch.send("a")
    g = parked(go(ch.send, "b"))
    assert len(ch) == 1
    assert [ch.recv(), ch.recv()] == ["a", "b"]
    g.join()


# -- order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, 1, 2, 7, 1000])
def test_values_arrive_in_the_order_they_were_sent(capacity):
    ch = Chan(capacity)

    def produce():
        with ch:
            for i in range(500):
                ch.send(i)

    g = go(produce)
    assert list(ch) == list(range(500))
    g.join()


def test_parked_senders_are_served_first_in_first_out():
    ch = Chan()
    senders = [parked(go(ch.send, i)) for i in range(20)]
    assert [ch.recv() for _ in range(20)] == list(range(20))
    for g in senders:
        g.join()


def test_parked_receivers_are_served_first_in_first_out():
    ch = Chan()
    receivers = [parked(go(ch.recv)) for _ in range(20)]
    for i in range(20):
        ch.send(i)
    assert [g.join() for g in receivers] == list(range(20))


def test_buffered_values_come_before_those_of_parked_senders():
    ch = Chan(2)
    ch.send(0)
    ch.send(1)
    senders = [parked(go(ch.send, i)) for i in (2, 3)]
    assert [ch.recv() for _ in range(4)] == [0, 1, 2, 3]
    for g in senders:
        g.join()


# -- close -------------------------------------------------------------------------------------


def test_close_wakes_every_parked_receiver_with_chan_closed():
    ch = Chan()
    receivers = [parked(go(ch.recv)) for _ in range(5)]
    ch.close()
    for g in receivers:
        assert isinstance(g.exception(), ChanClosed)


def test_close_wakes_parked_recv_ok_with_false():
    ch = Chan()
    g = parked(go(ch.recv_ok))
    ch.close()
    assert g.join() == (None, False)


def test_close_wakes_every_parked_sender_with_send_on_closed():
    ch = Chan()
    senders = [parked(go(ch.send, i)) for i in range(5)]
    ch.close()
    for g in senders:
        with pytest.raises(SendOnClosed, match="send on closed channel"):
            g.join()
    assert ch.try_recv() == (None, False)


def test_close_wakes_threads_too():
    ch = Chan()
    threads = [Thread(ch.recv_ok) for _ in range(3)]
    ch.close()
    assert [t.join() for t in threads] == [(None, False)] * 3


def test_close_ends_a_parked_iteration():
    ch = Chan()
    g = parked(go(list, ch))
    ch.close()
    assert g.join() == []


def test_values_sent_before_close_are_received_after_it():
    ch = Chan(3)
    for i in range(3):
        ch.send(i)
    ch.close()
    assert list(ch) == [0, 1, 2]
    with pytest.raises(ChanClosed):
        ch.recv()


def test_a_closed_full_channel_refuses_a_send_instead_of_waiting():
    ch = Chan(1)
    ch.send(1)
    ch.close()
    with pytest.raises(SendOnClosed):
        ch.send(2)


def test_the_second_close_raises_and_leaves_the_values():
    ch = Chan(1)
    ch.send(1)
    ch.close()
    with pytest.raises(CloseOfClosed, match="close of closed channel"):
        ch.close()
    assert ch.recv() == 1


def test_of_many_closers_exactly_one_succeeds():
    ch = Chan()
    closers = [go(ch.close) for _ in range(10)] + [Thread(ch.close) for _ in range(3)]
    failures = 0
    for c in closers:
        try:
            c.join()
        except CloseOfClosed:
            failures += 1
    assert failures == 12


def test_leaving_a_with_block_after_close_is_no_error():
    with Chan() as ch:
        ch.close()
    assert ch.closed


def test_the_channel_errors_are_chan_closed_errors():
    assert issubclass(SendOnClosed, ChanClosed)
    assert issubclass(CloseOfClosed, ChanClosed)
    assert issubclass(ChanClosed, Exception)


# -- timeouts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 10**400, 2**63, 3600])
def test_a_parked_recv_with_a_long_timeout_gets_the_value(timeout, place):
    ch = Chan()
    g = go(lambda: eventually(lambda: ch.try_send("x")))
    assert place(ch.recv, timeout) == "x"
    g.join()


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 10**400, 2**63, 3600])
def test_a_parked_send_with_a_long_timeout_is_received(timeout, place):
    ch = Chan()
    g = go(lambda: eventually(ch.try_recv))
    place(ch.send, "x", timeout)
    assert g.join() == ("x", True)


def test_a_timed_out_recv_is_no_longer_a_receiver(place):
    ch = Chan()
    with pytest.raises(TimeoutError):
        place(ch.recv, 0.005)
    assert ch.try_send("x") is False


def test_a_timed_out_send_is_no_longer_a_sender(place):
    ch = Chan()
    with pytest.raises(TimeoutError):
        place(ch.send, "x", 0.005)
    assert ch.try_recv() is None


def test_a_timed_out_waiter_in_the_middle_of_the_queue_is_skipped():
    ch = Chan()
    first = parked(go(ch.recv))
    middle = parked(go(ch.recv, 0.02))
    last = parked(go(ch.recv))
    assert isinstance(middle.exception(), TimeoutError)
    ch.send(1)
    ch.send(2)
    assert (first.join(), last.join()) == (1, 2)


def test_a_timeout_is_not_early(place):
    ch = Chan()

    def timed():
        import time

        start = time.monotonic()
        with pytest.raises(TimeoutError):
            ch.recv(0.05)
        return time.monotonic() - start

    assert 0.05 <= place(timed) < 5


def test_values_that_race_with_timeouts_are_neither_lost_nor_doubled(rng):
    ch, sent, got = Chan(), [], []

    def produce(values):
        for v in values:
            while True:
                try:
                    ch.send(v, rng.choice([0, 1e-5, 1e-4, 1e-3]))
                    sent.append(v)
                    break
                except TimeoutError:
                    golib.gosched()

    def consume(stop):
        while not stop:
            try:
                got.append(ch.recv(rng.choice([0, 1e-5, 1e-4, 1e-3])))
            except TimeoutError:
                golib.gosched()

    stop: list[bool] = []
    consumers = [go(consume, stop) for _ in range(3)] + [Thread(consume, stop)]
    producers = [go(produce, range(k * 100, k * 100 + 100)) for k in range(3)]
    for p in producers:
        p.join()
    stop.append(True)
    for c in consumers:
        c.join()
    assert sorted(got) == sorted(sent) == list(range(300))


# -- iteration ---------------------------------------------------------------------------------


def test_an_iteration_may_be_left_and_resumed():
    ch = Chan(5)
    for i in range(5):
        ch.send(i)
    for value in ch:
        if value == 2:
            break
    assert ch.recv() == 3
    ch.close()
    assert list(ch) == [4]


def test_iter_with_a_sentinel_over_recv():
    ch = Chan(4)
    for v in (1, 2, None, 3):
        ch.send(v)
    assert list(iter(ch.recv, None)) == [1, 2]
    assert ch.recv() == 3


def test_several_iterators_share_the_values():
    ch = Chan()
    consumers = [go(list, ch) for _ in range(4)]
    for i in range(100):
        ch.send(i)
    ch.close()
    parts = [g.join() for g in consumers]
    assert sorted(v for part in parts for v in part) == list(range(100))
    assert all(part == sorted(part) for part in parts)


# -- structures of channels --------------------------------------------------------------------


def test_a_pipeline_of_a_thousand_channels_passes_values_in_order():
    n = 1000
    first = ch = Chan()

    def stage(source, sink):
        with sink:
            for v in source:
                sink.send(v + 1)

    stages = []
    for _ in range(n):
        nxt = Chan()
        stages.append(go(stage, ch, nxt))
        ch = nxt
    feeder = go(lambda: [first.send(i) for i in range(3)] and first.close())
    assert list(ch) == [n, n + 1, n + 2]
    for g in [feeder, *stages]:
        g.join()


def test_a_channel_can_carry_channels():
    requests = Chan()

    def serve():
        for reply, question in requests:
            reply.send(question * 2)

    server = go(serve)
    replies = []
    for i in range(10):
        reply = Chan()
        requests.send((reply, i))
        replies.append(reply.recv())
    requests.close()
    server.join()
    assert replies == [2 * i for i in range(10)]


def test_a_prime_sieve_gives_the_first_primes():
    def generate(out):
        with pytest.raises(SendOnClosed):
            i = 2
            while True:
                out.send(i)
                i += 1

    def keep(prime, source, out):
        try:
            while True:
                v = source.recv()
                if v % prime:
                    out.send(v)
        except (SendOnClosed, ChanClosed):
            if not source.closed:
                source.close()

    source = Chan()
    goroutines, primes = [go(generate, source)], []
    for _ in range(15):
        primes.append(source.recv())
        nxt = Chan()
        goroutines.append(go(keep, primes[-1], source, nxt))
        source = nxt
    source.close()
    for g in goroutines:
        g.join()
    assert primes == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]

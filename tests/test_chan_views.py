"""Directional views, `channel()` with its Sender and Receiver, and `nil`."""

from __future__ import annotations

import gc

import golib
import pytest
from golib import Chan, ChanClosed, SendOnClosed, channel, go, nil, recv, select, send

from support import parked, run_script

# -- views -------------------------------------------------------------------------------------


def test_views_share_the_channel():
    ch = Chan(1)
    ch.sender.send(1)
    assert len(ch) == len(ch.receiver) == 1
    assert ch.receiver.recv() == 1


def test_a_send_view_cannot_receive():
    view = Chan(1).sender
    for name in ("recv", "recv_ok", "try_recv", "__iter__"):
        assert not hasattr(view, name)
    with pytest.raises(TypeError):
        iter(view)


def test_a_receive_view_cannot_send_or_close():
    view = Chan(1).receiver
    for name in ("send", "try_send", "close"):
        assert not hasattr(view, name)


def test_views_have_the_operations_of_their_direction():
    ch = Chan(2)
    tx, rx = ch.sender, ch.receiver
    assert tx.try_send("a") is True
    tx.send("b", timeout=0)
    assert tx.try_send("c") is False
    assert rx.try_recv() == ("a", True)
    assert rx.recv_ok() == ("b", True)
    tx.close()
    assert ch.closed
    assert rx.recv_ok(0) == (None, False)
    with pytest.raises(ChanClosed):
        rx.recv()
    with pytest.raises(SendOnClosed):
        tx.send("d")


def test_a_receive_view_is_iterable():
    ch = Chan(3)
    for i in range(3):
        ch.send(i)
    ch.close()
    assert list(ch.receiver) == [0, 1, 2]


def test_views_wait_as_the_channel_does():
    ch = Chan()
    g = parked(go(ch.sender.send, 1), "chan send")
    assert ch.receiver.recv() == 1
    g.join()
    g = parked(go(ch.receiver.recv), "chan receive")
    ch.sender.send(2)
    assert g.join() == 2


def test_views_are_cases_of_select():
    ch = Chan(1)
    assert select(send(ch.sender, 1)).ok
    assert select(recv(ch.receiver)) == (0, 1, True)
    ch.send(2)
    assert select(ch.receiver) == (0, 2, True)


def test_a_view_of_the_wrong_direction_is_no_case():
    ch = Chan(1)
    with pytest.raises(TypeError):
        recv(ch.sender)
    with pytest.raises(TypeError):
        send(ch.receiver, 1)
    with pytest.raises(TypeError):
        select(ch.sender, default=True)


def test_views_cannot_be_made_from_nothing():
    with pytest.raises(TypeError):
        type(Chan().sender)()
    with pytest.raises(TypeError):
        type(Chan().receiver)()


# -- channel() ---------------------------------------------------------------------------------


def test_channel_gives_the_two_ends():
    tx, rx = channel(2)
    tx.send(1)
    assert tx.try_send(2) is True
    assert (rx.recv(), rx.try_recv()) == (1, (2, True))


def test_channel_is_unbuffered_by_default():
    tx, rx = channel()
    assert tx.try_send(1) is False
    g = parked(go(tx.send, 1))
    assert rx.recv() == 1
    g.join()


def test_the_ends_have_only_their_own_operations():
    tx, rx = channel()
    assert not hasattr(tx, "recv")
    assert not hasattr(rx, "send")
    assert not hasattr(rx, "close")


def test_dropping_the_only_sender_closes_the_channel():
    tx, rx = channel(1)
    tx.send(1)
    del tx
    assert rx.recv_ok() == (1, True)
    assert rx.recv_ok() == (None, False)


def test_dropping_the_last_sender_wakes_a_parked_receiver():
    tx, rx = channel()
    g = parked(go(rx.recv_ok))
    del tx
    assert g.join() == (None, False)


def test_closing_the_only_sender_closes_the_channel():
    tx, rx = channel()
    tx.close()
    assert rx.recv_ok() == (None, False)


def test_sending_after_ones_own_close_raises():
    tx, _rx = channel(1)
    tx.close()
    with pytest.raises(SendOnClosed):
        tx.send(1)
    with pytest.raises(SendOnClosed):
        tx.try_send(1)


def test_a_clone_keeps_the_channel_open():
    tx, rx = channel(1)
    other = tx.clone()
    del tx
    other.send(1)
    assert rx.recv() == 1
    assert rx.try_recv() is None
    del other
    assert rx.recv_ok() == (None, False)


def test_closing_one_clone_leaves_the_others_usable():
    tx, rx = channel(1)
    other = tx.clone()
    tx.close()
    with pytest.raises(SendOnClosed):
        tx.send(1)
    other.send(2)
    assert rx.recv() == 2
    other.close()
    assert rx.recv_ok() == (None, False)


def test_many_clones_close_once_when_the_last_is_gone():
    tx, rx = channel(64)
    clones = [tx.clone() for _ in range(64)]
    del tx

    def work(mine, i):
        mine.send(i)

    workers = [go(work, clones.pop(), i) for i in range(64)]
    got = sorted(rx)
    for w in workers:
        w.join()
    assert got == list(range(64))


def test_dropping_the_receiver_does_nothing():
    tx, rx = channel(1)
    del rx
    gc.collect()
    tx.send(1)
    assert tx.try_send(2) is False


def test_a_sender_in_a_cycle_closes_its_channel_when_collected():
    tx, rx = channel()
    cycle = [tx]
    cycle.append(cycle)
    del tx, cycle
    gc.collect()
    assert rx.recv_ok() == (None, False)


def test_a_goroutine_that_ends_drops_its_sender():
    tx, rx = channel()

    def produce(mine):
        for i in range(3):
            mine.send(i)

    g = go(produce, tx)
    del tx
    assert list(rx) == [0, 1, 2]
    g.join()


def test_the_ends_are_cases_of_select():
    tx, rx = channel(1)
    assert select(send(tx, 1)).index == 0
    assert select(rx) == (0, 1, True)


# -- nil ---------------------------------------------------------------------------------------


def test_nil_is_a_channel_and_always_the_same():
    assert isinstance(nil, Chan)
    assert golib.nil is nil


def test_nil_never_fires_in_select():
    assert select(nil, recv(nil), send(nil, 1), default=True).index == -1
    ch = Chan(1)
    ch.send(1)
    assert select(nil, ch) == (1, 1, True)


@pytest.mark.parametrize(
    ("call", "status"),
    [("nil.recv()", "chan receive (nil chan)"), ("nil.send(1)", "chan send (nil chan)")],
)
def test_an_operation_on_nil_blocks_for_ever(call, status):
    result = run_script(
        f"""
        from golib import go, nil
        from support import parked
        g = parked(go(lambda: {call}))
        print(g.status())
        """
    )
    assert result == (0, f"{status}\n", "")


def test_the_main_goroutine_blocked_on_nil_is_a_deadlock():
    result = run_script("import golib; golib.run(golib.nil.recv)")
    assert result.rc == 1
    assert "all goroutines are asleep - deadlock!" in result.err

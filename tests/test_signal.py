"""golib.signal: signals on channels, from every place, and everything as before afterwards."""

from __future__ import annotations

import signal

import golib
import golib.signal
import pytest
from golib import Chan, go
from golib.signal import ignore, notify, reset, stop

from support import Thread, eventually, kill, parked, run_ok

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


pytestmark = pytest.mark.usefixtures("same_handlers_after")


def got(ch):
    """Receives from ch what the handler sends, in whatever place this runs."""
    return ch.recv(20)


def settled():
    """Returns when every signal sent so far has been handled: signals of one number come in order."""
    mark = Chan(1)
    notify(mark, USR2)
    kill(USR2)
    got(mark)
    stop(mark)


# -- notify ------------------------------------------------------------------------------------


def test_a_signal_is_a_value_on_the_channel(place):
    def use():
        ch = Chan(1)
        notify(ch, USR1)
        kill(USR1)
        value = got(ch)
        stop(ch)
        return value

    assert place(use) is signal.SIGUSR1


@pytest.mark.parametrize("kind", ["Chan", "SendChan", "Sender"])
def test_every_end_that_sends_is_taken(kind):
    tx, rx = golib.channel(1)
    ch = Chan(1)
    out, into = {"Chan": (ch, ch), "SendChan": (ch.sender, ch), "Sender": (tx, rx)}[kind]
    notify(out, USR1)
    kill(USR1)
    assert got(into) == USR1
    stop(out)


def test_a_channel_and_its_sending_end_are_the_same():
    ch = Chan(2)
    notify(ch, USR1)
    notify(ch.sender, USR1)
    kill(USR1)
    settled()
    assert len(ch) == 1
    stop(ch.sender)
    assert signal.getsignal(USR1) is signal.SIG_DFL


def test_a_signal_without_a_name_is_an_integer():
    number = signal.SIGRTMIN + 3
    ch = Chan(1)
    notify(ch, number)
    kill(number)
    assert got(ch) == int(number)
    stop(ch)


def test_each_channel_gets_the_signal():
    channels = [Chan(1) for _ in range(5)]
    for ch in channels:
        notify(ch, USR1)
    kill(USR1)
    assert [got(ch) for ch in channels] == [USR1] * 5
    for ch in channels:
        stop(ch)


def test_a_channel_may_want_several_signals_in_one_call_or_more():
    ch = Chan(3)
    notify(ch, USR1, signal.SIGHUP)
    notify(ch, USR2)
    for number in (USR1, signal.SIGHUP, USR2):
        kill(number)
        assert got(ch) == number
    stop(ch)


def test_a_signal_that_finds_no_room_is_dropped():
    ch = Chan(1)
    notify(ch, USR1)
    for _ in range(3):
        kill(USR1)
        settled()
    assert len(ch) == 1
    stop(ch)


def test_an_unbuffered_channel_gets_a_signal_only_while_somebody_receives():
    ch = Chan()
    notify(ch, USR1)
    kill(USR1)
    settled()
    assert ch.try_recv() is None
    g = parked(go(ch.recv))
    kill(USR1)
    assert g.join() == USR1
    stop(ch)


def test_a_closed_channel_gets_nothing_and_nothing_is_raised():
    ch, other = Chan(1), Chan(1)
    notify(ch, USR1)
    notify(other, USR1)
    ch.close()
    kill(USR1)
    assert got(other) == USR1
    assert ch.recv_ok() == (None, False)
    stop(ch)
    stop(other)


def test_select_waits_for_signals_beside_other_channels():
    signals, work = Chan(1), Chan()
    notify(signals, USR1)
    g = go(golib.select, signals, work)
    parked(g, "select")
    kill(USR1)
    assert g.join() == (0, USR1, True)
    stop(signals)


def test_a_notified_channel_is_kept_until_stop():
    ch = Chan(1)
    receiver = ch.receiver
    notify(ch, USR1)
    del ch
    kill(USR1)
    assert got(receiver) == USR1
    reset(USR1)


def test_a_dropped_sender_closes_its_channel_only_after_stop():
    tx, rx = golib.channel(1)
    notify(tx, USR1)
    del tx
    with pytest.raises(TimeoutError):
        rx.recv(0.001)
    reset()
    with pytest.raises(golib.ChanClosed):
        rx.recv()


def test_all_is_what_can_be_caught_sensibly():
    ch = Chan(1)
    notify(ch)
    ours = {n for n in signal.valid_signals() if signal.getsignal(n) is golib.signal._deliver}
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGRTMAX} <= ours
    assert not ours & {signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT, signal.SIGURG}
    stop(ch)


# -- stop --------------------------------------------------------------------------------------


def test_stop_brings_the_former_handler_back(place):
    seen = Chan(1)

    def handler(signum, frame):
        seen.send(signum)

    signal.signal(USR1, handler)
    try:
        ch = Chan(1)
        place(notify, ch, USR1)
        assert signal.getsignal(USR1) is not handler
        place(stop, ch)
        assert signal.getsignal(USR1) is handler
        kill(USR1)
        assert got(seen) == USR1
        assert len(ch) == 0
    finally:
        signal.signal(USR1, signal.SIG_DFL)


def test_the_handler_comes_back_with_the_last_channel():
    first, second = Chan(1), Chan(1)
    notify(first, USR1)
    notify(second, USR1)
    stop(first)
    kill(USR1)
    assert got(second) == USR1
    assert len(first) == 0
    stop(second)
    assert signal.getsignal(USR1) is signal.SIG_DFL


def test_stop_leaves_a_handler_that_was_set_meanwhile():
    ch = Chan(1)
    notify(ch, USR1)
    signal.signal(USR1, signal.SIG_IGN)
    try:
        stop(ch)
        assert signal.getsignal(USR1) is signal.SIG_IGN
    finally:
        signal.signal(USR1, signal.SIG_DFL)


def test_notify_again_takes_the_signal_back_from_a_handler_that_was_set_meanwhile():
    ch, other = Chan(1), Chan(1)
    notify(ch, USR1)
    signal.signal(USR1, signal.SIG_IGN)
    try:
        notify(other, USR1)
        kill(USR1)
        assert (got(ch), got(other)) == (USR1, USR1)
        stop(ch)
        stop(other)
        assert signal.getsignal(USR1) is signal.SIG_IGN
    finally:
        signal.signal(USR1, signal.SIG_DFL)


def test_stopping_what_was_never_notified_does_nothing(place):
    place(stop, Chan(1))
    place(stop, golib.channel()[0])


def test_a_stopped_channel_is_released():
    ch = Chan(1)
    notify(ch, USR1)
    stop(ch)
    # The footprint check sees the channel if anything keeps it.


# -- ignore and reset --------------------------------------------------------------------------


def test_an_ignored_signal_does_nothing(place):
    ch = Chan(1)
    notify(ch, USR1)
    place(ignore, USR1)
    kill(USR1)
    settled()
    assert len(ch) == 0
    assert signal.getsignal(USR1) is signal.SIG_IGN
    place(reset, USR1)
    assert signal.getsignal(USR1) is signal.SIG_DFL


def test_notify_after_ignore_delivers_and_stop_restores_what_was_before_both():
    ch = Chan(1)
    ignore(USR1)
    notify(ch, USR1)
    kill(USR1)
    assert got(ch) == USR1
    stop(ch)
    assert signal.getsignal(USR1) is signal.SIG_DFL


def test_reset_of_one_signal_leaves_the_others():
    ch = Chan(2)
    notify(ch, USR1, USR2)
    reset(USR1)
    assert signal.getsignal(USR1) is signal.SIG_DFL
    kill(USR2)
    assert got(ch) == USR2
    reset()
    assert signal.getsignal(USR2) is signal.SIG_DFL


# -- wrong use ---------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [notify, stop])
@pytest.mark.parametrize(
    "make", [lambda: Chan(1).receiver, lambda: golib.channel()[1], lambda: None, list]
)
def test_what_cannot_be_sent_to_is_a_type_error(call, make):
    with pytest.raises(TypeError, match="can be sent to"):
        call(make())


@pytest.mark.parametrize("call", [notify, stop])
def test_nil_is_a_value_error(call):
    with pytest.raises(ValueError, match="nil"):
        call(golib.nil)


@pytest.mark.parametrize("call", [lambda *s: notify(Chan(1), *s), ignore, reset])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (signal.SIGKILL, ValueError),
        (signal.SIGSTOP, ValueError),
        (signal.SIGSEGV, ValueError),
        (signal.SIGFPE, ValueError),
        (0, ValueError),
        (-1, ValueError),
        (10**30, ValueError),
        ("SIGUSR1", TypeError),
        (1.0, TypeError),
        (None, TypeError),
    ],
    ids=repr,
)
def test_what_is_no_signal_is_refused_and_nothing_changes(call, bad, error):
    with pytest.raises(error):
        call(USR1, bad)
    assert signal.getsignal(USR1) is signal.SIG_DFL


# -- the main thread ---------------------------------------------------------------------------


def test_handlers_of_the_program_may_notify_and_stop():
    ch, asked = Chan(1), []

    def handler(signum, frame):
        asked.append(signum)
        notify(ch, USR1)
        stop(ch)
        notify(ch, USR1)

    signal.signal(USR2, handler)
    try:
        kill(USR2)
        eventually(lambda: asked)
        kill(USR1)
        assert got(ch) == USR1
        stop(ch)
    finally:
        signal.signal(USR2, signal.SIG_DFL)


def test_a_handler_in_the_middle_of_a_change_has_its_own_made_after_it(monkeypatch):
    ch, other = Chan(1), Chan(1)
    set_handler = golib.signal._handle

    def interrupted(number, handler):
        monkeypatch.undo()
        notify(other, USR2)  # as a handler at this moment would
        assert signal.getsignal(USR2) is signal.SIG_DFL
        set_handler(number, handler)

    monkeypatch.setattr(golib.signal, "_handle", interrupted)
    notify(ch, USR1)
    for number, channel in ((USR1, ch), (USR2, other)):
        kill(number)
        assert got(channel) == number
        stop(channel)


def test_a_change_that_a_handler_ended_is_made_with_the_next(monkeypatch):
    ch = Chan(1)

    def interrupted(number, handler):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(golib.signal, "_handle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        notify(ch, USR1)
    stop(Chan(1))
    kill(USR1)
    assert got(ch) == USR1
    stop(ch)


def test_many_goroutines_and_threads_notify_and_stop_at_once():
    def use():
        for _ in range(20):
            ch = Chan(1)
            notify(ch, USR1, USR2)
            kill(USR1)
            assert got(ch) == USR1
            stop(ch)

    users = [go(use) for _ in range(4)] + [Thread(use) for _ in range(2)]
    for user in users:
        user.join()
    assert signal.getsignal(USR1) is signal.getsignal(USR2) is signal.SIG_DFL


def test_a_cancelled_goroutine_may_still_stop():
    ch, never = Chan(1), Chan()

    def work():
        notify(ch, USR1)
        try:
            never.recv()
        finally:
            stop(ch)

    g = parked(go(work), "chan receive")
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join()
    assert signal.getsignal(USR1) is signal.SIG_DFL


MAIN_BUSY = {
    "time.sleep": "time.sleep(60)",
    "lock": "lock.acquire()",
    "thread join": "threading.Thread(target=lock.acquire, daemon=True).start(); lock.acquire()",
    "select": "select.select([], [], [], 60)",
    "input": "os.read(pipe, 1)",
    "computing": "exec('while True: pass')",
}


@pytest.mark.parametrize("who", ["golib.go", "start"])
@pytest.mark.parametrize("wait", list(MAIN_BUSY))
def test_the_main_thread_sets_the_handler_whatever_it_waits_for(wait, who):
    out = run_ok(
        f"""
        import golib, os, select, signal, threading, time
        golib.go(int).join()
        lock, (pipe, _end) = threading.Lock(), os.pipe()
        lock.acquire()
        def work():
            ch = golib.Chan(1)
            golib.signal.notify(ch, signal.SIGTERM)
            print(signal.getsignal(signal.SIGTERM) is golib.signal._deliver, flush=True)
            golib.signal.stop(ch)
            print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
            os._exit(0)
        def start(work):
            threading.Thread(target=work).start()
        {who}(work)
        {MAIN_BUSY[wait]}
        """
    )
    assert out == "True\nTrue\n"


def test_a_main_thread_that_never_comes_is_an_error_and_nothing_has_changed():
    out = run_ok(
        """
        import ctypes, golib, golib._main_thread, signal, time
        golib._main_thread._PATIENCE = 0.1
        mutex = ctypes.create_string_buffer(64)
        c = ctypes.CDLL(None)
        c.pthread_mutex_lock(mutex)
        ch, errors = golib.Chan(1), []
        def work():
            try:
                golib.signal.notify(ch, signal.SIGTERM)
            except RuntimeError as error:
                errors.append(error)
            c.pthread_mutex_unlock(mutex)
        g = golib.go(work)
        c.pthread_mutex_lock(mutex)  # for which no signal matters
        g.join()
        print(errors[0])
        print(signal.getsignal(signal.SIGTERM).name)
        """
    )
    assert out == "the main thread is in a call that nothing interrupts\nSIG_DFL\n"

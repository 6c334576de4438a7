"""golib.time: timers fire once, tickers keep the beat, and nothing stale is received after stop or reset."""

from __future__ import annotations

import gc
import random
import time
import weakref

import golib
import pytest
from golib import Chan
from golib.time import Ticker, Timer, after, after_func, tick

from support import PLACES, SLACK, Tracked, eventually, run_ok

#: Long enough to be never in a test.
LONG = 3600.0


@pytest.fixture(params=sorted(PLACES))
def place(request):
    return PLACES[request.param]


def received(timer, timeout=5.0):
    return timer.c.recv(timeout=timeout)


def nothing_comes(timer):
    return timer.c.try_recv() is None


def test_timer_sends_the_time_once(place):
    def body():
        before = time.monotonic()
        timer = Timer(0.002)
        now = received(timer)
        assert before + 0.002 <= now <= time.monotonic()
        golib.sleep(0.005)
        return nothing_comes(timer)

    assert place(body)


@pytest.mark.parametrize("seconds", [0, -1, -1e300, 0.0])
def test_timer_that_is_due_fires_at_once(seconds):
    assert received(Timer(seconds)) <= time.monotonic()


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 10**400])
def test_timer_of_endless_time_never_fires_and_stops_false(seconds):
    timer = Timer(seconds)
    assert timer.c.try_recv() is None
    assert timer.stop() is False


@pytest.mark.parametrize("make", [Timer, Ticker, after, tick, lambda s: after_func(s, int)])
def test_nan_is_a_value_error(make):
    with pytest.raises(ValueError, match="nan"):
        make(float("nan"))


@pytest.mark.parametrize("make", [Timer, Ticker, after, tick, lambda s: after_func(s, int)])
@pytest.mark.parametrize("seconds", ["1", None, [], 1j])
def test_what_is_no_number_is_a_type_error(make, seconds):
    with pytest.raises(TypeError):
        make(seconds)


def test_stop_is_true_until_the_time_was_received():
    timer = Timer(LONG)
    assert timer.stop() is True
    assert timer.stop() is False
    timer = Timer(0.001)
    eventually(lambda: len(timer.c) == 1, what="the timer fired")
    assert timer.stop() is True
    assert nothing_comes(timer)
    timer = Timer(0.001)
    received(timer)
    assert timer.stop() is False


def test_reset_sets_a_fired_a_stopped_and_a_running_timer_anew():
    timer = Timer(0.001)
    received(timer)
    assert timer.reset(0.001) is False
    received(timer)
    timer.stop()
    assert timer.reset(LONG) is False
    assert timer.reset(0.001) is True
    received(timer)


def test_no_stale_time_after_reset_or_stop_at_any_moment():
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    timer = Timer(LONG)
    for _ in range(300):
        timer.reset(rng.random() * 0.0004)
        if rng.random() < 0.5:
            golib.sleep(rng.random() * 0.0004)
        if rng.random() < 0.5:
            timer.stop()
            assert nothing_comes(timer)
        at = time.monotonic()
        timer.reset(0.0005)
        assert received(timer) >= at + 0.0005
        assert nothing_comes(timer)


def test_timer_that_nobody_refers_to_is_collected():
    timer = Timer(LONG)
    ref = weakref.ref(timer)
    del timer
    assert ref() is None
    ticker = Ticker(LONG)
    ref = weakref.ref(ticker)
    del ticker
    assert ref() is None


def test_channel_of_a_timer_keeps_it_working():
    ch = after(0.002)
    gc.collect()
    assert ch.recv(timeout=5) > 0
    ticks = tick(0.001)
    gc.collect()
    assert ticks.recv(timeout=5) < ticks.recv(timeout=5)


def test_timer_in_a_cycle_is_collected():
    class Node:
        pass

    node = Node()
    node.timer = Timer(LONG)
    node.view = node.timer.c
    node.self = node
    ref = weakref.ref(node.timer)
    del node
    gc.collect()
    assert ref() is None


def test_channels_of_a_timer_are_equal():
    timer = Timer(LONG)
    assert timer.c == timer.c
    assert hash(timer.c) == hash(timer.c)


def test_timers_cost_no_goroutine():
    before = golib.num_goroutine()
    timers = [Timer(LONG) for _ in range(1000)]
    assert golib.num_goroutine() == before
    assert all(timer.stop() for timer in timers)


def test_many_timers_fire_each_once_and_none_early():
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    begin = time.monotonic()
    timers = [(s, Timer(s)) for s in (rng.random() * 0.05 for _ in range(2000))]
    for seconds, timer in timers:
        assert received(timer) >= begin + seconds
    assert all(nothing_comes(timer) for _, timer in timers)


def test_after_func_runs_in_a_goroutine_of_its_own(place):
    def body():
        ch = Chan()
        timer = after_func(0.001, lambda a: ch.send((a, golib._golib._current())), 7)
        value, g = ch.recv(timeout=5)
        assert timer.c is None
        assert timer.stop() is False
        return value == 7 and g is not None

    assert place(body)


def test_after_func_fires_though_nobody_keeps_the_timer():
    ch = Chan(1)
    after_func(0.002, ch.send, "x")
    gc.collect()
    assert ch.recv(timeout=5) == "x"


def test_after_func_can_be_stopped_and_releases_what_it_holds():
    tracked = Tracked()
    timer = after_func(LONG, lambda x: None, tracked)
    del tracked
    assert Tracked.alive == 1
    assert timer.stop() is True
    assert timer.stop() is False
    del timer
    assert Tracked.alive == 0


def test_after_func_can_be_reset_and_runs_again():
    ch = Chan(4)
    timer = after_func(0.001, ch.send, 1)
    assert ch.recv(timeout=5) == 1
    assert timer.reset(0.001) is False
    assert ch.recv(timeout=5) == 1
    assert timer.reset(LONG) is False
    assert timer.reset(0.001) is True
    assert ch.recv(timeout=5) == 1


def test_after_func_refuses_what_cannot_run():
    async def task():
        pass

    with pytest.raises(TypeError):
        after_func(0, 7)
    with pytest.raises(TypeError):
        after_func(0, task)


def test_after_func_has_the_makers_contextvars():
    import contextvars

    var = contextvars.ContextVar("var", default="default")
    ch = Chan(1)

    def maker():
        var.set("mine")
        after_func(0.001, lambda: ch.send(var.get()))

    golib.go(maker).join()
    assert ch.recv(timeout=5) == "mine"


def test_exception_in_after_func_is_reported_as_of_any_goroutine():
    out = run_ok(
        """
        import golib
        seen = golib.Chan(1)
        golib.set_panic_handler(lambda g, e: seen.send(repr(e)))
        golib.time.after_func(0.001, int, 'x')
        print(seen.recv(timeout=5))
        """
    )
    assert "ValueError" in out


def test_ticker_keeps_the_beat_and_drops_what_nobody_receives():
    begin = time.monotonic()
    with Ticker(0.002) as ticker:
        first = received(ticker)
        assert first >= begin + 0.002
        golib.sleep(0.015)
        assert len(ticker.c) == 1
        received(ticker)
        later = [received(ticker) for _ in range(3)]
        assert later == sorted(later)


def test_ticker_does_not_drift():
    with Ticker(0.005) as ticker:
        first = received(ticker)
        for _ in range(10):
            last = received(ticker)
    # Each tick may be late, but not each by a little more: ten periods are ten periods.
    assert last - first >= 0.04


@pytest.mark.parametrize("seconds", [0, -1, float("-inf")])
def test_ticker_needs_a_positive_interval(seconds):
    with pytest.raises(ValueError, match="non-positive"):
        Ticker(seconds)
    ticker = Ticker(LONG)
    with pytest.raises(ValueError, match="non-positive"):
        ticker.reset(seconds)
    assert ticker.stop() is True


def test_stopped_ticker_ends_iterations_wherever_they_wait():
    ticker = Ticker(LONG)
    g = golib.go(list, ticker)
    eventually(lambda: g.status() == "select", what="iterating")
    ticker.stop()
    assert g.join(timeout=5) == []
    assert list(ticker) == []


def test_ticker_can_be_reset_after_stop():
    ticker = Ticker(LONG)
    ticker.stop()
    assert ticker.reset(0.001) is False
    for n, _ in enumerate(ticker):
        if n == 2:
            ticker.stop()
    assert n == 2
    ticker.reset(LONG)
    assert ticker.reset(0.001) is True
    received(ticker)
    ticker.stop()
    assert nothing_comes(ticker)


def test_armed_timer_is_no_deadlock_and_a_stopped_one_is():
    out = run_ok(
        """
        import golib
        def main():
            ch = golib.Chan()
            golib.time.after_func(0.05, ch.send, 'woken')
            print(ch.recv())
            timer = golib.time.Timer(3600)
            timer.stop()
            try:
                ch.recv()
            except golib.Deadlock:
                print('deadlock')
        golib.run(main)
        """
    )
    assert out == "woken\ndeadlock\n"


def test_timers_wake_a_busy_interpreter_too():
    timer = Timer(0.005)
    end = time.monotonic() + 5
    while len(timer.c) == 0 and time.monotonic() < end:
        pass
    assert received(timer) > 0


def test_timers_set_before_a_fork_are_silent_in_the_child_and_new_ones_work():
    out = run_ok(
        """
        import os, sys
        import golib
        timer = golib.time.Timer(0.05)
        ticker = golib.time.Ticker(0.01)
        ticker.c.recv()
        pid = os.fork()
        if pid == 0:
            timer.stop(); ticker.stop()
            assert golib.time.after(0.01).recv(timeout=5) > 0
            assert timer.reset(0.01) is False
            assert timer.c.recv(timeout=5) > 0
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(timer.c.recv(timeout=5) > 0)
        """
    )
    assert out == "0\nTrue\n"


def test_interpreter_exits_with_timers_set():
    run_ok(
        """
        import golib
        def loop():
            golib.time.after_func(0.0005, loop)
        golib.run(lambda: (loop(), golib.sleep(0.02)))
        ticker = golib.time.Ticker(0.0001)
        timer = golib.time.Timer(0.001)
        """
    )


# -- tickers that nobody reads -----------------------------------------------------------------

#: Ways to receive a tick.
READS = {
    "recv": lambda c: c.recv(timeout=5),
    "try_recv": lambda c: c.try_recv().value,
    "for": lambda c: next(iter(c)),
    "select": lambda c: golib.select(golib.recv(c), timeout=5).value,
    "select of two": lambda c: golib.select(golib.recv(Chan()), golib.recv(c), timeout=5).value,
    "Select": lambda c: golib.Select(golib.recv(c)).wait(timeout=5).value,
    "select, default": lambda c: golib.select(golib.recv(c), default=True).value,
}


@pytest.mark.parametrize("read", sorted(READS))
def test_a_ticker_that_nobody_reads_goes_on_in_its_rhythm_when_it_is_read(place, read):
    def body():
        with Ticker(0.005) as ticker:
            for _ in range(2):
                golib.sleep(0.1 * SLACK)
                now = time.monotonic()
                first = READS[read](ticker.c)
                assert first < now - 0.05, "the tick that nobody had received"
                second, third = received(ticker), received(ticker)
                assert now <= second < third, "ticks that were missed are not made up for"
        return True

    assert place(body)


def test_a_ticker_that_rests_is_stopped_and_reset_as_one_that_runs(place):
    def body():
        ticker = Ticker(0.002)
        for _ in range(3):
            golib.sleep(0.01)
            ticker.reset(0.02)
            assert nothing_comes(ticker), "a tick of before the reset"
            assert received(ticker) < received(ticker)
            ticker.reset(0.002)
        golib.sleep(0.01)
        ticker.stop()
        assert nothing_comes(ticker)
        golib.sleep(0.01)
        return nothing_comes(ticker)

    assert place(body)


def test_a_ticker_that_rests_is_collected_with_its_channel_whoever_goes_first():
    class Own(Ticker):
        pass

    for keep in ("ticker", "channel", "cycle"):
        ticker = Own(0.001)
        channel, ref = ticker.c, weakref.ref(ticker)
        golib.sleep(0.01)
        assert len(channel) == 1
        if keep == "ticker":
            del channel
        elif keep == "channel":
            del ticker
            assert channel.recv(timeout=5) < channel.recv(timeout=5)
        else:
            ticker.itself = ticker.c, ticker
        ticker = channel = None
        eventually(lambda: (gc.collect(), ref() is None)[1])


def test_tickers_that_nobody_reads_cost_nothing():
    run_ok(
        """
        import time, golib
        from golib.time import Ticker, tick
        tickers = [Ticker(0.0005) for _ in range(100)] + [tick(0.001) for _ in range(100)]
        time.sleep(0.3)
        begin = time.process_time()
        time.sleep(1)
        assert time.process_time() - begin < 0.03, time.process_time() - begin
        """
    )

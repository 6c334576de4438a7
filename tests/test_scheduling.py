"""gosched, sleep, gomaxprocs, num_goroutine, blocking: the order of goroutines and the length of waits."""

from __future__ import annotations

import itertools
import math
import textwrap
import time

import golib
import pytest
from golib import Chan, go, gosched, sleep

from support import Boom, Thread, eventually, parked, run_ok, under_run

# -- gosched -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [gosched, lambda: sleep(0)], ids=["gosched", "sleep(0)"])
def test_yielding_goroutines_take_turns(step):
    def main():
        trace: list[int] = []

        def task(k):
            for _ in range(50):
                trace.append(k)
                step()

        for g in [go(task, 0), go(task, 1)]:
            g.join()
        return sum(a != b for a, b in itertools.pairwise(trace))

    assert under_run(main) >= 80  # of 99: a preemption may disturb the alternation now and then


def test_gosched_works_from_every_place(place):
    assert place(gosched) is None


def test_a_goroutine_waits_its_turn_fairly():
    def main():
        counts, stop = [0] * 10, []

        def task(k):
            while not stop:
                counts[k] += 1
                gosched()

        tasks = [go(task, k) for k in range(10)]
        eventually(lambda: sum(counts) > 20_000)
        stop.append(1)
        for g in tasks:
            g.join()
        return counts

    counts = under_run(main)
    assert min(counts) > max(counts) / 2, counts


# -- sleep -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 0.0, -0.0, -1, -1e300, -math.inf, -(10**400)], ids=repr)
def test_sleep_of_nothing_returns_at_once(seconds, place):
    start = time.monotonic()
    assert place(sleep, seconds) is None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.05])
def test_sleep_is_never_too_short(seconds, place):
    def timed():
        start = time.monotonic()
        sleep(seconds)
        return time.monotonic() - start

    assert seconds <= place(timed) < seconds + 5


def test_nan_is_a_value_error(place):
    with pytest.raises(ValueError, match="timeout must not be nan"):
        place(sleep, math.nan)


@pytest.mark.parametrize("bad", ["1", None, [], 1j], ids=repr)
def test_a_wrong_type_is_a_type_error(bad):
    with pytest.raises(TypeError):
        sleep(bad)


def test_sleepers_wake_in_the_order_of_their_deadlines(rng):
    delays = [0.02 + 0.02 * i for i in range(8)]
    order = rng.sample(delays, len(delays))
    woken: list[float] = []
    start = time.monotonic()

    def task(delay):
        sleep(start + delay - time.monotonic())  # from a common start, however late each begins
        woken.append(delay)

    for g in [go(task, d) for d in order]:
        g.join()
    assert woken == delays


def test_a_thousand_sleepers_sleep_together():
    start = time.monotonic()
    for g in [go(sleep, 0.1) for _ in range(1000)]:
        g.join()
    assert 0.1 <= time.monotonic() - start < 3


def test_an_endless_sleep_parks_and_does_not_hold_the_process():
    out = run_ok(
        """
        import golib, math
        from support import parked
        for s in (math.inf, 1e300, 10**400, 2**63):
            parked(golib.go(golib.sleep, s), "sleep")
        print("ok")
        """
    )
    assert out == "ok\n"


def test_a_sleeping_thread_lets_goroutines_run():
    ch = Chan()
    t = Thread(sleep, 0.05)
    g = go(lambda: sum(ch.recv() for _ in range(100)))
    for i in range(100):
        ch.send(i)
    assert g.join() == 4950
    t.join()


# -- gomaxprocs --------------------------------------------------------------------------------


def test_gomaxprocs_reads_without_an_argument_or_below_one():
    n = golib.gomaxprocs()
    assert n >= 1
    assert [golib.gomaxprocs(x) for x in (None, 0, -1, -(10**30))] == [n] * 4
    assert golib.gomaxprocs() == n


def test_gomaxprocs_returns_the_previous_value():
    before = golib.gomaxprocs()
    try:
        assert golib.gomaxprocs(3) == before
        assert golib.gomaxprocs(1) == 3
        assert golib.gomaxprocs() == 1
    finally:
        golib.gomaxprocs(before)


def test_gomaxprocs_can_change_while_goroutines_run(rng):
    before = golib.gomaxprocs()
    ch, stop = Chan(2), []

    def produce():
        while not stop:
            ch.send(1)
        ch.close()

    def consume():
        return sum(ch)

    g = [go(produce), go(consume)]
    try:
        for _ in range(50):
            golib.gomaxprocs(rng.randint(1, 4))
            gosched()
    finally:
        golib.gomaxprocs(before)
        stop.append(1)
    g[0].join()
    assert g[1].join() >= 0


def test_gomaxprocs_takes_as_many_as_go_does_and_ten_thousand_at_most():
    code = """
        import golib
        def work():
            ch = golib.Chan(3)
            gs = [golib.go(lambda i=i: (golib.sleep(0.001), ch.send(i))) for i in range(200)]
            assert sum(ch.recv() for _ in gs) == sum(range(200))
            for g in gs:
                g.join()
        before = golib.gomaxprocs()
        for n in (1024, 257, 256, 4096):
            golib.gomaxprocs(n)
            assert golib.gomaxprocs() == n == golib.runtime.stats()["procs"]
            work()
        golib.gomaxprocs(10**18)
        assert golib.gomaxprocs() == 10_000
        work()
        assert golib.gomaxprocs(before) == 10_000
        work()
    """
    run_ok(textwrap.dedent(code))
    assert run_ok("import golib; print(golib.gomaxprocs())", env={"GOMAXPROCS": "1024"}) == "1024\n"


@pytest.mark.parametrize("bad", ["2", 1.5, []], ids=repr)
def test_gomaxprocs_of_a_wrong_type_is_a_type_error(bad):
    with pytest.raises(TypeError):
        golib.gomaxprocs(bad)


def test_the_environment_sets_gomaxprocs():
    assert run_ok("import golib; print(golib.gomaxprocs())", env={"GOMAXPROCS": "3"}) == "3\n"


@pytest.mark.parametrize("value", ["", "0", "-1", "many"])
def test_an_unusable_gomaxprocs_in_the_environment_is_ignored(value):
    out = run_ok("import golib; print(golib.gomaxprocs() >= 1)", env={"GOMAXPROCS": value})
    assert out == "True\n"


def test_the_default_is_at_most_the_affinity():
    out = run_ok(
        """
        import os
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        import golib
        print(golib.gomaxprocs())
        """
    )
    assert out == "1\n"


# -- num_goroutine -----------------------------------------------------------------------------


def test_num_goroutine_counts_live_goroutines():
    before, ch = golib.num_goroutine(), Chan()
    gs = [parked(go(ch.recv)) for _ in range(7)]
    assert golib.num_goroutine() == before + 7
    ch.close()
    for g in gs:
        g.exception()
    eventually(lambda: golib.num_goroutine() == before)


def test_the_main_goroutine_of_run_counts_and_a_bare_main_thread_does_not():
    out = run_ok("import golib; print(golib.num_goroutine(), golib.run(golib.num_goroutine))")
    assert out == "0 1\n"


# -- blocking ----------------------------------------------------------------------------------


def test_blocking_passes_arguments_and_value_through(place):
    assert place(lambda: golib.blocking(dict, [("a", 1)], b=2)) == {"a": 1, "b": 2}


def test_blocking_lets_the_exception_through(place):
    def fail():
        raise Boom

    with pytest.raises(Boom):
        place(golib.blocking, fail)


def test_other_goroutines_run_while_one_is_blocking():
    def main():
        ch = Chan()
        g = go(golib.blocking, time.sleep, 0.3)
        h = go(lambda: [ch.recv() for _ in range(100)])
        gosched()
        start = time.monotonic()
        for i in range(100):
            ch.send(i)
        h.join()
        took = time.monotonic() - start
        g.join()
        return took

    assert under_run(main) < 0.25


def test_blocking_calls_nest_and_may_use_golib():
    def inner():
        ch = Chan(1)
        ch.send(golib.blocking(int, "7"))
        gosched()
        return ch.recv()

    assert go(golib.blocking, inner).join() == 7


def test_blocking_needs_a_callable():
    with pytest.raises(TypeError):
        golib.blocking(None)
    with pytest.raises(TypeError):
        golib.blocking()

"""go and spawn: values, exceptions, join."""

from __future__ import annotations

import functools
import itertools
import math
import os
import sys
import threading
import time
import traceback

import golib
import pytest
from golib import Chan, go, spawn
from golib.sync import WaitGroup

from support import MIGRATE, Boom, Thread, eventually, parked, run_ok

# -- starting ----------------------------------------------------------------------------------


def test_join_returns_the_value(place):
    assert place(lambda: go(lambda: 42).join()) == 42


def test_result_is_join():
    assert go(lambda: 42).result() == 42


def test_arguments_are_passed_through():
    g = go(lambda *a, **k: (a, k), 1, 2, x=3, fn=4, args=5, kwargs=6, name=7)
    assert g.join() == ((1, 2), {"x": 3, "fn": 4, "args": 5, "kwargs": 6, "name": 7})


def test_spawn_takes_arguments_and_options():
    g = spawn(lambda *a, **k: (a, k), (1, 2), {"x": 3}, name="crawl", stack_size=1 << 20)
    assert g.name == "crawl"
    assert g.join() == ((1, 2), {"x": 3})


def test_spawn_takes_any_sequence_of_arguments():
    assert spawn(lambda *a: a, [1, 2]).join() == (1, 2)
    assert spawn(lambda: 3).join() == 3
    assert spawn(lambda **k: k, kwargs={"a": 1}).join() == {"a": 1}


@pytest.mark.parametrize(
    "fn", [int, len, [].append, "x".upper, math.sqrt, threading.Lock, Chan], ids=repr
)
def test_any_callable_can_be_a_goroutine(fn):
    args = {"len": ([],), "append": (1,), "sqrt": (4,)}.get(getattr(fn, "__name__", ""), ())
    go(fn, *args).join()


def test_a_callable_object_can_be_a_goroutine():
    class Callable:
        def __call__(self, x):
            return x + 1

    assert go(Callable(), 1).join() == 2


def test_bound_methods_of_golib_can_be_goroutines():
    ch = Chan(1)
    go(ch.send, 1).join()
    assert go(ch.recv).join() == 1
    go(ch.send, 2, timeout=5).join()
    assert ch.recv() == 2
    with pytest.raises(TypeError):
        go(ch.send).join()
    with pytest.raises(TypeError):
        go(ch.send, 1, 2, 3).join()


def test_methods_of_golib_wait_as_goroutines():
    ch, wg = Chan(), WaitGroup()
    wg.add(1)
    waiters = [go(ch.recv) for _ in range(20)]
    last = go(wg.wait)
    for g in [*waiters, last]:
        parked(g)
    assert all(g.stack() == [] for g in waiters)
    assert "[chan receive]: Chan.recv\ncreated by " in golib.runtime.stack(waiters[0])
    for i in range(20):
        ch.send(i)
    wg.done()
    assert sorted(g.join() for g in waiters) == list(range(20))
    assert last.join() is None


def test_methods_of_golib_move_between_threads():
    """No eval loop is above them: the movability test meets golib's own call first."""
    code = """
        import threading
        import golib
        from golib import Chan, go

        before, after = {}, {}

        def note(seen):
            seen[threading.get_ident()] = threading.get_native_id()

        class Timeout:
            def __float__(self):  # called before recv parks
                note(before)
                return 60.0

        class Value:
            def __del__(self):  # nobody holds the handle: called after recv by its goroutine
                note(after)

        def main():
            ch, start = Chan(), golib.runtime.stats()
            for _ in range(50):
                go(ch.recv, timeout=Timeout())
            while sum(g.status() == "chan receive" for g in golib.runtime.goroutines()) < 50:
                golib.gosched()
            for _ in range(50):
                ch.send(Value())
            while len(after) < 50:
                golib.gosched()
            pinned = golib.runtime.stats()["parks_pinned"] - start["parks_pinned"]
            print(before.keys() == after.keys(), sum(before[g] != after[g] for g in before), pinned)

        golib.run(main)
        """
    assert run_ok(code, env=MIGRATE) == "True 50 0\n"


def test_the_switch_for_migration_moves_goroutines_at_every_park():
    """The tests that set it rely on that."""
    code = """
        import threading
        import golib
        from golib import go

        def moves():
            seen = [threading.get_native_id()]
            for _ in range(100):
                golib.gosched()
                seen.append(threading.get_native_id())
            return sum(a != b for a, b in zip(seen, seen[1:]))

        def main():
            print({g.join() for g in [go(moves) for _ in range(20)]}, moves())

        golib.run(main)
        """
    assert run_ok(code, env=MIGRATE) == "{100} 100\n"


def test_methods_of_golib_communicate_while_they_move_between_threads():
    code = """
        import golib
        from golib import Chan, go

        def main():
            chans = [Chan() for _ in range(51)]

            def link(k):
                for _ in range(20):
                    go(chans[k + 1].send, go(chans[k].recv).join()).join()

            links = [go(link, k) for k in range(50)]
            for i in range(20):
                go(chans[0].send, i)
            print(sorted(chans[50].recv() for _ in range(20)) == list(range(20)))
            for g in links:
                g.join()

        golib.run(main)
        """
    assert run_ok(code, env=MIGRATE) == "True\n"


def test_functions_of_golib_that_call_back_can_be_goroutines():
    def inner(x):
        golib.gosched()
        return x, sys._getframe().f_code.co_name

    assert go(golib.blocking, inner, 1).join() == (1, "inner")
    assert go(go, inner, 2).join().join() == (2, "inner")


def test_an_error_of_a_method_of_golib_has_no_frames_of_golib():
    ch = Chan()
    ch.close()
    error = go(ch.send, 1).exception()
    assert isinstance(error, golib.SendOnClosed)
    assert error.__traceback__ is None


def test_a_thread_gets_the_gil_amid_a_storm_of_methods_of_golib():
    """They are called without an eval loop, which would notice a request for the GIL."""
    n, left = 300_000, []
    r, w = os.pipe()
    interval = sys.getswitchinterval()

    def other():
        os.read(r, 1)
        time.sleep(0.02)
        left.append(golib.num_goroutine())

    def main():
        wg = WaitGroup()
        wg.add(n)
        for _ in range(n):
            go(wg.done)
        sys.setswitchinterval(interval)
        os.write(w, b"x")
        wg.wait()

    thread = Thread(other)
    sys.setswitchinterval(1000)  # nobody interrupts main, so that they all run in one go
    try:
        golib.run(main)
    finally:
        sys.setswitchinterval(interval)
        os.close(w)
        thread.join()
        os.close(r)
    assert left[0] > 1000


def test_a_storm_of_methods_of_golib_lets_other_threads_run():
    """Between two of them no Python code runs that would notice a request for the GIL."""
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(time.monotonic())

    def main():
        wg = WaitGroup()
        for _ in range(10):
            wg.add(100_000)
            for _ in range(100_000):
                go(wg.done)
            wg.wait()

    thread = Thread(tick)
    golib.run(main)
    stop.set()
    thread.join()
    assert max(b - a for a, b in itertools.pairwise(ticks)) < 1


@pytest.mark.parametrize("bad", [None, 1, "f", object(), [], Boom()], ids=repr)
def test_what_is_not_callable_is_a_type_error_in_the_caller(bad, place):
    for start in (go, spawn):
        with pytest.raises(TypeError):
            place(start, bad)


def test_an_async_function_is_a_type_error_in_the_caller():
    async def coroutine():
        pass

    for start in (go, spawn, golib.run, golib.main):
        for fn in (
            coroutine,
            functools.partial(coroutine),
            functools.partial(functools.partial(coroutine)),
        ):
            with pytest.raises(TypeError):
                start(fn)


def test_wrong_arguments_of_the_function_are_its_own_error():
    g = go(lambda x: x)
    assert isinstance(g.exception(), TypeError)


def test_go_without_a_function_is_a_type_error():
    with pytest.raises(TypeError):
        go()
    with pytest.raises(TypeError):
        spawn()
    with pytest.raises(TypeError):
        spawn(int, nme="x")


@pytest.mark.parametrize("size", [512 << 10, 1 << 20, 8 << 20, 1 << 30])
def test_stack_sizes_up_to_a_gigabyte(size):
    assert spawn(lambda: 1, stack_size=size).join() == 1


@pytest.mark.parametrize("size", [1, 4096, 64 << 10])
def test_a_smaller_stack_is_rounded_up(size):
    assert spawn(lambda: repr([[[]]]), stack_size=size).join() == "[[[]]]"


@pytest.mark.parametrize("size", [0, -1, (1 << 30) + 4096, 10**30, -(10**30)])
def test_a_stack_size_outside_the_limits_is_a_value_error(size):
    with pytest.raises(ValueError, match="stack_size must be"):
        spawn(int, stack_size=size)


@pytest.mark.parametrize("size", ["1", 1.5, []], ids=repr)
def test_a_stack_size_of_a_wrong_type_is_a_type_error(size):
    with pytest.raises(TypeError):
        spawn(int, stack_size=size)


def test_a_name_of_a_wrong_type_is_a_type_error():
    with pytest.raises(TypeError):
        spawn(int, name=3)


def test_go_never_yields():
    def main():
        ran_first = 0
        for _ in range(50):
            seen = []
            g = go(seen.append, 1)
            ran_first += bool(seen)
            g.join()
        return ran_first

    # A preemption by the operating system may let one in now and then.
    assert golib.run(main) < 10


def test_goroutines_start_from_any_place(place):
    assert place(lambda: [go(lambda i=i: i * i).join() for i in range(5)]) == [0, 1, 4, 9, 16]


def test_goroutines_start_goroutines():
    def tree(depth):
        if depth == 0:
            return 1
        return sum(g.join() for g in [go(tree, depth - 1) for _ in range(3)])

    assert go(tree, 5).join() == 3**5


# -- exceptions --------------------------------------------------------------------------------


def test_join_raises_the_same_exception_object(place):
    error = Boom("x")

    def fail():
        raise error

    def check():
        g = go(fail)
        with pytest.raises(Boom) as caught:
            g.join()
        return caught.value is error

    assert place(check) is True
    error.__traceback__ = None


def test_the_traceback_reaches_into_the_goroutine():
    def inner():
        raise Boom

    def outer():
        inner()

    with pytest.raises(Boom) as caught:
        go(outer).join()
    names = [f.name for f in traceback.extract_tb(caught.value.__traceback__)]
    assert names[0].startswith("test_the_traceback")
    assert names[-2:] == ["outer", "inner"]
    caught.value.__traceback__ = None


def test_join_raises_again_and_again():
    def fail():
        raise Boom

    g = go(fail)
    for _ in range(3):
        with pytest.raises(Boom):
            g.join()


def test_exception_returns_it_without_raising():
    def fail():
        raise Boom("x")

    assert isinstance(go(fail).exception(), Boom)
    assert go(int).exception() is None


def test_the_context_and_cause_of_an_exception_are_kept():
    def fail():
        try:
            raise KeyError(1)
        except KeyError as error:
            raise Boom from error

    error = go(fail).exception()
    assert isinstance(error.__cause__, KeyError)
    assert error.__context__ is error.__cause__


def test_the_exception_of_the_joiner_does_not_leak_into_the_goroutine():
    def fail():
        raise Boom

    try:
        raise KeyError
    except KeyError:
        assert go(fail).exception().__context__ is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, BaseException, StopIteration])
def test_every_kind_of_exception_reaches_join(kind):
    def fail():
        raise kind("x")

    g = go(fail)
    with pytest.raises(kind):
        g.join()


# -- join --------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, -math.inf, 0.002], ids=repr)
def test_join_times_out(timeout, place):
    ch = Chan()
    g = parked(go(ch.recv))
    for wait in (g.join, g.result, g.exception):
        with pytest.raises(TimeoutError):
            place(wait, timeout)
        with pytest.raises(TimeoutError):
            place(lambda w=wait: w(timeout=timeout))
    ch.send(1)
    assert g.join() == 1


@pytest.mark.parametrize("timeout", [None, 0, -1, math.inf, 10**400, 1.5], ids=repr)
def test_join_of_an_ended_goroutine_returns_under_any_timeout(timeout):
    g = go(lambda: 1)
    g.join()
    assert g.join(timeout) == 1
    assert g.exception(timeout) is None


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 10**400, 3600], ids=repr)
def test_join_with_a_long_timeout_waits(timeout, place):
    ch = Chan()
    g = go(ch.recv)
    other = go(lambda: eventually(lambda: ch.try_send("x")))
    assert place(g.join, timeout) == "x"
    other.join()


def test_a_nan_timeout_is_a_value_error():
    g = go(int)
    for wait in (g.join, g.result, g.exception):
        with pytest.raises(ValueError, match="timeout must not be nan"):
            wait(math.nan)
    g.join()


def test_many_joiners_all_get_the_value():
    ch = Chan()
    g = parked(go(ch.recv))
    joiners = [go(g.join) for _ in range(10)] + [Thread(g.join) for _ in range(3)]
    ch.send("x")
    assert [j.join() for j in joiners] == ["x"] * 13


def test_a_timed_out_joiner_does_not_disturb_the_others():
    ch = Chan()
    g = parked(go(ch.recv))
    patient = [parked(go(g.join)) for _ in range(3)]
    hasty = go(g.join, 0.002)
    assert isinstance(hasty.exception(), TimeoutError)
    ch.send("x")
    assert [p.join() for p in patient] == ["x"] * 3


def test_a_value_that_is_a_timeout_error_is_told_from_a_timeout():
    def fail():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        go(fail).join(10)

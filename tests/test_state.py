"""State that Python keeps per thread is kept per goroutine, across parks and beside others."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import platform
import sys
import threading
import time

import golib
import pytest
from golib import Chan, go, gosched

from support import Boom, Thread

var: contextvars.ContextVar[object] = contextvars.ContextVar("var", default="default")


def together(task, n=20):
    """Runs `task(i)` in n goroutines at once and returns the values."""
    return [g.join() for g in [go(task, i) for i in range(n)]]


def test_threading_local_is_per_goroutine():
    local = threading.local()

    def task(i):
        assert not hasattr(local, "value")
        local.value = i
        for _ in range(10):
            gosched()
        return local.value

    assert together(task) == list(range(20))
    assert not hasattr(local, "value")


def test_a_subclass_of_threading_local_is_initialised_once_in_each_goroutine():
    class Local(threading.local):
        def __init__(self):
            self.calls = []

    local = Local()

    def task(i):
        local.calls.append(i)
        gosched()
        return local.calls

    assert together(task) == [[i] for i in range(20)]


def test_the_values_of_threading_local_die_with_the_goroutine():
    from support import Tracked, eventually

    local = threading.local()

    def task(i):
        local.value = Tracked()
        gosched()

    together(task)
    eventually(lambda: Tracked.alive == 0)


def test_contextvars_are_private_to_a_goroutine():
    def task(i):
        var.set(i)
        for _ in range(10):
            gosched()
        return var.get()

    assert together(task) == list(range(20))
    assert var.get() == "default"


def test_a_goroutine_starts_with_a_copy_of_its_spawners_context():
    def spawner():
        var.set("spawner")
        inherits = go(var.get)
        changes = go(lambda: var.set("changed") and None)
        inherited = inherits.join()
        changes.join()
        return inherited, var.get()

    assert go(spawner).join() == ("spawner", "spawner")


def test_the_context_is_copied_when_the_goroutine_is_started():
    def spawner():
        var.set("before")
        g = go(var.get)
        var.set("after")
        return g.join()

    assert go(spawner).join() == "before"


def test_a_thread_hands_its_context_over_too():
    def body():
        var.set("thread")
        return go(var.get).join()

    assert Thread(body).join() == "thread"


def test_runs_main_goroutine_sees_the_callers_context():
    token = var.set("caller")
    try:
        assert golib.run(var.get) == "caller"
    finally:
        var.reset(token)


def test_a_stale_context_cache_never_shows_a_predecessors_value():
    def setter():
        var.set("stale")
        return var.get()

    for _ in range(200):
        assert go(setter).join() == "stale"
        assert go(var.get).join() == "default"


def test_copied_contexts_run_across_parks():
    def task(i):
        ctx = contextvars.copy_context()

        def inner():
            var.set(i)
            gosched()
            return var.get()

        return ctx.run(inner), var.get()

    assert together(task) == [(i, "default") for i in range(20)]


def test_exc_info_is_per_goroutine():
    def task(i):
        try:
            raise Boom(i)
        except Boom:
            for _ in range(10):
                gosched()
            return sys.exc_info()[1].args[0]

    assert together(task) == list(range(20))
    assert sys.exc_info() == (None, None, None)


def test_a_goroutine_started_while_handling_an_exception_handles_none():
    try:
        raise Boom
    except Boom:
        assert go(sys.exc_info).join() == (None, None, None)


def test_a_bare_raise_after_a_park_raises_the_goroutines_own():
    def task(i):
        try:
            raise Boom(i)
        except Boom:
            gosched()
            raise

    for i, g in enumerate([go(task, i) for i in range(20)]):
        with pytest.raises(Boom) as caught:
            g.join()
        assert caught.value.args == (i,)


def test_a_generator_keeps_its_exception_state_apart():
    def generator():
        try:
            raise Boom("inside")
        except Boom:
            gosched()
            yield sys.exc_info()[1].args[0]
            gosched()
            yield sys.exc_info()[1].args[0]

    def task(i):
        g = generator()
        first = next(g)
        outside = sys.exc_info()[1]
        gosched()
        return first, outside, next(g)

    assert together(task) == [("inside", None, "inside")] * 20


def test_the_decimal_context_is_per_goroutine():
    def task(i):
        decimal.getcontext().prec = i + 1
        for _ in range(5):
            gosched()
        one_third = str(decimal.Decimal(1) / decimal.Decimal(3))
        with decimal.localcontext() as ctx:
            ctx.prec = 50
            gosched()
        return len(one_third) - 2, decimal.getcontext().prec

    def isolated(i):
        return go(lambda: decimal.setcontext(decimal.Context()) or task(i)).join()

    assert together(isolated) == [(i + 1, i + 1) for i in range(20)]
    assert decimal.getcontext().prec == 28


def test_localcontext_is_private_across_parks():
    def task(i):
        with decimal.localcontext(prec=i + 1):
            gosched()
            return decimal.getcontext().prec

    assert together(task) == [i + 1 for i in range(20)]


def test_the_running_event_loop_is_per_goroutine():
    async def coroutine(i):
        await asyncio.sleep(0.001)
        loop = asyncio.get_running_loop()
        gosched()
        return asyncio.get_running_loop() is loop and i

    assert together(lambda i: asyncio.run(coroutine(i)), 5) == list(range(5))
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_the_recursion_depth_is_per_goroutine():
    def recurse(n):
        if n == 0:
            gosched()
            return 0
        return recurse(n - 1) + 1

    deep = sys.getrecursionlimit() * 3 // 4
    assert together(lambda i: recurse(deep), 10) == [deep] * 10


def test_a_goroutine_may_recurse_as_deep_as_a_thread():
    def depth():
        def recurse(n):
            try:
                return recurse(n + 1)
            except RecursionError:
                return n

        return recurse(0)

    in_thread, in_goroutine = Thread(depth).join(), go(depth).join()
    assert abs(in_thread - in_goroutine) < 20


def test_a_recursion_error_leaves_the_goroutine_usable():
    def forever():
        return forever()

    def task(i):
        for _ in range(3):
            with pytest.raises(RecursionError):
                forever()
            gosched()
        return i

    assert together(task, 5) == list(range(5))


def test_settrace_is_per_goroutine():
    def task(i):
        events = []

        def tracer(frame, event, arg):
            if frame.f_code.co_name == "traced":
                events.append(event)
            return tracer

        def traced():
            gosched()
            return i

        if i % 2:
            sys.settrace(tracer)
        traced()
        mine = sys.gettrace()
        sys.settrace(None)
        return bool(events), mine is not None

    before = sys.gettrace()
    assert together(task) == [(bool(i % 2), bool(i % 2)) for i in range(20)]
    assert sys.gettrace() is before


def test_setprofile_is_per_goroutine():
    def task(i):
        events = []
        if i % 2:
            sys.setprofile(lambda frame, event, arg: events.append(event))
        gosched()
        mine = sys.getprofile()
        sys.setprofile(None)
        return bool(events), mine is not None

    assert together(task) == [(bool(i % 2), bool(i % 2)) for i in range(20)]


def test_threading_settrace_does_not_break_goroutines():
    seen = []

    def tracer(frame, event, arg):
        seen.append(event)

    threading.settrace(tracer)
    try:
        assert go(lambda: 1).join() == 1
    finally:
        threading.settrace(None)


def test_async_generators_hooks_are_per_goroutine():
    def task(i):
        hooks = sys.get_asyncgen_hooks()
        assert hooks.firstiter is None
        sys.set_asyncgen_hooks(firstiter=lambda agen: i)
        gosched()
        return sys.get_asyncgen_hooks().firstiter(None)

    assert together(task) == list(range(20))
    assert go(lambda: sys.get_asyncgen_hooks().firstiter).join() is None


def test_a_generator_may_be_resumed_by_another_goroutine():
    def generator():
        for i in range(100):
            gosched()
            yield i

    g, ch = generator(), Chan()

    def take():
        for value in g:
            ch.send(value)
            return

    for i in range(100):
        taker = go(take)
        assert ch.recv() == i
        taker.join()
    g.close()


def test_a_running_generator_refuses_a_second_goroutine():
    gate = Chan()

    def generator():
        yield gate.recv()

    gen = generator()
    first = go(next, gen)
    from support import parked

    parked(first)
    second = go(next, gen)
    assert isinstance(second.exception(), ValueError)
    gate.send("x")
    assert first.join() == "x"


def test_errno_of_a_ctypes_call_is_the_callers_own():
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def task(i):
        ctypes.set_errno(i)
        libc.close(-1)
        got = ctypes.get_errno()
        time.sleep(0)
        return got

    import errno

    assert together(task) == [errno.EBADF] * 20


def test_the_rounding_of_floating_point_is_each_goroutines_own():
    import ctypes

    libm = ctypes.CDLL(None)
    nearest, upward = 0, 0x400000 if platform.machine() == "aarch64" else 0x800
    turns = Chan()

    def task(mode):
        assert libm.fegetround() == nearest
        libm.fesetround(mode)
        try:
            for _ in range(20):
                gosched()
                turns.send(1)
                assert libm.fegetround() == mode
        finally:
            libm.fesetround(nearest)

    gs = [go(task, mode) for mode in (nearest, upward, nearest, upward)]
    for _ in range(80):
        turns.recv()
        assert libm.fegetround() == nearest
    for g in gs:
        g.join()

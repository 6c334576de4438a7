"""A goroutine's last steps: whatever runs there waits, times out and is found like the goroutine itself."""

from __future__ import annotations

import contextvars
import ctypes
import logging
import sys
import threading
import weakref

import golib
import pytest
from golib import go

from support import MIGRATE, Boom, Tracked, eventually, run_ok

local = threading.local()
other = threading.local()
var: contextvars.ContextVar[object] = contextvars.ContextVar("var")


class Last:
    """Calls `fn` when it dies."""

    def __init__(self, fn):
        self.fn = fn

    def __del__(self):
        self.fn()


# -- objects that die at a goroutine's end ---------------------------------------------------------


def in_a_local(last):
    def body():
        local.value = last()

    return body, ()


def in_a_contextvar(last):
    def body():
        var.set(last())

    return body, ()


def in_an_argument(last):
    def body(value):
        pass

    return body, (last(),)


def in_the_function(last):
    return lambda value=last(): None, ()  # noqa: B008 - a default dies with its function


def in_the_result(last):
    return last, ()


def in_the_exceptions_frames(last):
    def body():
        value = last()
        raise golib.Cancelled(str(id(value)))  # nobody reads it, and it is not reported

    return body, ()


def in_a_trace_function(last):
    def body():
        value = last()
        sys.settrace(lambda *event: value and None)

    return body, ()


def in_a_profile_function(last):
    def body():
        value = last()
        sys.setprofile(lambda *event: value and None)

    return body, ()


def in_the_hooks_of_async_generators(last):
    def body():
        value = last()
        sys.set_asyncgen_hooks(lambda agen: value, lambda agen: value)

    return body, ()


def in_the_value_of_a_context(last):
    def body():
        ctx = golib.context.with_value(golib.context.background(), "key", last())
        golib.context.current()
        local.block = ctx

    return body, ()


PLACES_OF_DEATH = [
    in_a_local,
    in_a_contextvar,
    in_an_argument,
    in_the_function,
    in_the_result,
    in_the_exceptions_frames,
    in_a_trace_function,
    in_a_profile_function,
    in_the_hooks_of_async_generators,
    in_the_value_of_a_context,
]


def times_out():
    try:
        with golib.timeout(0.005):
            golib.Chan().recv()
    except TimeoutError:
        return "timed out"


def times_out_in_a_scope():
    try:
        with golib.timeout(0.005), golib.scope() as s:
            s.go(golib.Chan().recv)
    except TimeoutError:
        return "timed out"


def leaves_a_cancelled_block():
    ctx, cancel = golib.context.with_cancel(golib.context.background())
    try:
        with ctx:
            cancel()
            golib.sleep(60)
    except golib.Cancelled:
        return "cancelled"


def waits_in_a_shield():
    with golib.shield(), golib.timeout(60):
        golib.sleep(0.001)
    return "waited"


def joins_another():
    return go(lambda: golib.sleep(0.001) or "joined").join()


def logs():
    logging.getLogger("last").debug("words")
    return threading.current_thread().ident == threading.get_ident() and "logged"


DEEDS = {
    times_out: "timed out",
    times_out_in_a_scope: "timed out",
    leaves_a_cancelled_block: "cancelled",
    waits_in_a_shield: "waited",
    joins_another: "joined",
    logs: "logged",
}


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("where", PLACES_OF_DEATH, ids=lambda where: where.__name__)
def test_a_destructor_at_the_end_may_do_what_its_goroutine_may(where, deed):
    seen = []
    me = []

    def last():
        def act():
            me.append(golib._golib._current() is not None)
            seen.append(deed())

        return Last(act)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(
        10
    )  # a goroutine must not end before this thread has let go of what it was given
    for _ in range(5):
        fn, args = where(last)
        g = go(fn, *args)
        del fn, args, g
    sys.setswitchinterval(interval)
    eventually(lambda: len(seen) == 5, what=seen)
    assert seen == [DEEDS[deed]] * 5
    # If a goroutine ended before its handle was dropped, the objects that the handle holds die with the handle.
    assert all(me) or where in (in_the_result, in_the_exceptions_frames)


@pytest.mark.parametrize("where", PLACES_OF_DEATH, ids=lambda where: where.__name__)
def test_destructors_of_many_goroutines_wait_together(where):
    seen = []
    gate = golib.sync.Event()

    def last():
        return Last(lambda: seen.append(gate.wait(timeout=10)))

    for _ in range(50):
        fn, args = where(last)
        go(fn, *args)
        del fn, args
    gate.set()
    eventually(lambda: len(seen) == 50, what=seen)


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_a_panic_handler_may_do_what_its_goroutine_may(deed, panics):
    seen = []
    golib.set_panic_handler(lambda g, error: seen.append((type(error), g.done(), deed())))

    def bad():
        raise Boom

    for _ in range(10):
        go(bad)
    eventually(lambda: len(seen) == 10, what=seen)
    assert set(seen) == {(Boom, True, DEEDS[deed])}


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_a_weak_references_callback_may_do_what_its_goroutine_may(deed):
    seen, refs = [], []

    def start():
        g = go(golib.sleep, 0.001)
        refs.append(weakref.ref(g, lambda ref: seen.append(deed())))

    for _ in range(5):
        start()
    eventually(lambda: len(seen) == 5, what=seen)
    assert seen == [DEEDS[deed]] * 5
    assert not any(ref() for ref in refs)


def test_a_handle_that_its_panic_handler_keeps_is_whole(panics):
    kept = []
    golib.set_panic_handler(lambda g, error: kept.append(g))

    def bad():
        raise Boom("kept")

    golib.spawn(bad, name="kept")
    eventually(lambda: kept)
    (g,) = kept
    assert g.name == "kept"
    assert g.done()
    assert not g.cancel()
    assert g.status() == "dead"
    with pytest.raises(Boom):
        g.join()
    golib.set_panic_handler(None)


def test_a_goroutine_that_waits_in_its_panic_handler_is_in_the_dump(panics):
    gate = golib.Chan()

    def waiting_handler(g, error):
        gate.recv()

    golib.set_panic_handler(waiting_handler)

    def bad():
        raise Boom

    go(bad)
    eventually(lambda: "in waiting_handler" in golib.runtime.stack(all=True))
    gate.send(None)
    golib.set_panic_handler(None)


def test_a_reentrant_lock_keeps_goroutines_apart_at_their_ends():
    lock, inside, seen = threading.RLock(), [], []

    def act():
        with lock:
            inside.append(1)
            golib.sleep(0.001)
            seen.append(len(inside))
            inside.pop()

    def body():
        local.value = Last(act)

    for _ in range(10):
        go(body)
    eventually(lambda: len(seen) == 10)
    assert seen == [1] * 10


# -- leaving something again and again -------------------------------------------------------------


def test_a_local_that_is_filled_again_and_again_is_emptied_each_time():
    count = []

    class Chain:
        def __init__(self, left):
            self.left = left

        def __del__(self):
            count.append(1)
            if self.left:
                local.chain = Chain(self.left - 1)
                other.chain = self.left
                var.set(self.left)
            golib.sleep(0)
            golib.gosched()

    def body():
        local.chain = Chain(40)

    gs = [go(body) for _ in range(10)]
    [g.join() for g in gs]
    eventually(lambda: len(count) == 410, what=len(count))


@pytest.mark.parametrize("env", [None, MIGRATE], ids=["usual", "migrating"])
def test_a_goroutine_whose_locals_refill_themselves_without_end_ends(env):
    out = run_ok(
        """
        import contextvars, sys, threading, golib
        local, var, died = threading.local(), contextvars.ContextVar("v"), [0]
        class Phoenix:
            def __del__(self):
                died[0] += 1
                golib.gosched()
                refill()
        def refill():
            if not hasattr(local, "value"):
                local.value = Phoenix()
            if var.get(None) is None:
                var.set(Phoenix())
            if sys.get_asyncgen_hooks().firstiter is None:
                sys.set_asyncgen_hooks(lambda a, p=Phoenix(): None)
        def innocent():
            return hasattr(local, "value"), var.get(None), sys.get_asyncgen_hooks().firstiter
        def body():
            for _ in range(10):
                assert golib.go(innocent).join() == (False, None, None)
        for _ in range(4):
            golib.go(refill)
            while golib.num_goroutine():
                golib.gosched()
            golib.run(body)
        assert died[0] > 100
        print("ended", flush=True)
        import os
        os._exit(0)
        """,
        env=env,
    )
    assert out == "ended\n"


def test_values_of_locals_die_though_others_are_read_meanwhile():
    def body():
        local.values = [Tracked() for _ in range(3)]
        other.value = Tracked()
        local.last = Last(lambda: (getattr(other, "value", None), getattr(local, "values", None)))
        other.last = Last(lambda: setattr(local, "more", Tracked()))

    for _ in range(20):
        go(body).join()
    eventually(lambda: Tracked.alive == 0)


# -- the ident dies with the goroutine --------------------------------------------------------------


class Late(Exception):
    pass


def throw(ident, error=Late):
    """PyThreadState_SetAsyncExc: how many states it found."""
    return ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(error)
    )


def work():
    total = 0
    for i in range(2000):
        total += i
    return total


def test_an_exception_thrown_at_an_ended_goroutine_finds_nobody():
    for _ in range(50):
        ident = go(threading.get_ident).join()
        eventually(lambda: golib.num_goroutine() == 0)
        assert throw(ident) == 0
        assert go(work).join() == sum(range(2000))


def test_an_exception_thrown_in_the_last_steps_hits_no_other():
    thrown = []

    def fire(ident):
        try:
            throw(ident)
            work()
        except Late:
            pass
        thrown.append(ident)

    def body():
        ident = threading.get_ident()
        local.value = Last(lambda: fire(ident))

    for _ in range(50):
        go(body).join()
        assert go(work).join() == sum(range(2000))
    eventually(lambda: len(thrown) == 50)


@pytest.mark.parametrize("how", ["before the first run", "after run"])
def test_an_exception_thrown_at_the_main_thread_reaches_it(how):
    run_ok(
        """
        import ctypes, sys, threading, golib
        class Late(Exception): pass
        main = threading.get_ident()
        ch = golib.Chan()
        if sys.argv[1] == "after run":
            golib.run(int)
        else:
            gs = [golib.spawn(ch.recv, stack_size=n << 20) for n in (1, 2, 4, 8)]
        def throw():
            found = ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(main), ctypes.py_object(Late))
            assert found == 1, found
        try:
            throw()
            for i in range(1000): pass
        except Late:
            pass
        else:
            sys.exit("not raised here")
        """,
        how,
    )


def test_a_fork_in_a_panic_handler_leaves_the_child_with_one_goroutine():
    out = run_ok(
        """
        import os, golib
        golib.go(int).join()
        status = golib.Chan(1)
        def handler(g, error):
            pid = os.fork()
            if pid == 0:
                with golib.timeout(0.01, raises=False):
                    golib.sleep(60)
                print("child", golib.num_goroutine(), flush=True)
                return
            status.send(os.waitpid(pid, 0)[1])
        golib.set_panic_handler(handler)
        def bad(): raise ValueError
        golib.go(bad)
        print("parent", status.recv())
        """
    )
    assert out == "child 1\nparent 0\n"

"""Objects of golib used by code that interrupts their own operations: finalizers, comparisons, signal handlers.

None of it may find a lock held by the very code that it interrupted: it would wait forever.
"""

from __future__ import annotations

import gc
import re
import threading

import golib
import pytest
from golib import Chan
from golib.sync import Map, Once, SingleFlight, once, once_value

from support import PLACES, run_ok

#: How each object is made, and the operations on it that do not wait.
OPERATIONS = """
import contextlib, gc, os, signal, sys, threading, time
import golib
from golib import Chan, context, select, send, recv, sync
from golib.aio import Executor

def sema(s):
    if s.try_acquire():
        s.release()

def lock(m):
    if m.acquire(blocking=False):
        m.release()

def rlock(m):
    if m.try_rlock():
        m.runlock()

def waiting(wg):
    wg.add(1)
    wg.done()

def start(g):
    with contextlib.suppress(RuntimeError):
        g.go(int)

def flight(key):
    def op(f):
        with contextlib.suppress(RuntimeError):
            f.do(key, int)
    return op

def once(o):
    with contextlib.suppress(RuntimeError):
        o.do(golib.gosched)

def valued(f):
    with contextlib.suppress(RuntimeError):
        f()

def chosen(s):
    with contextlib.suppress(TimeoutError):
        s.wait(timeout=0)

def child(ctx):
    context.with_cancel(ctx)[1]()

def after(ctx):
    context.after_func(ctx, int)()

def watch(ch):
    golib.signal.notify(ch, signal.SIGUSR2)

OBJECTS = {
    "Map": (sync.Map, [
        lambda m: m.load(1), lambda m: m.store(1, Cycle()), lambda m: m.load_or_store(1, Cycle()),
        lambda m: m.load_and_delete(1), lambda m: m.delete(1), lambda m: m.swap(1, Cycle()),
        lambda m: m.compare_and_swap(1, m.load(1), Cycle()), lambda m: m.range(lambda k, v: None),
        lambda m: m.clear(), len]),
    "Pool": (lambda: sync.Pool(new=Cycle), [lambda p: p.get(), lambda p: p.put(Cycle()), lambda p: sync.Pool()]),
    "SingleFlight": (sync.SingleFlight, [flight(1), flight(2), lambda f: f.forget(1)]),
    "Once": (sync.Once, [once]),
    "once_value": (lambda: sync.once_value(golib.gosched), [valued]),
    "Cond": (sync.Cond, [lambda c: c.notify(), lambda c: c.notify_all()]),
    "Event": (sync.Event, [lambda e: e.set(), lambda e: e.clear(), lambda e: e.wait(0), lambda e: e.is_set()]),
    "Mutex": (sync.Mutex, [lock]),
    "RWMutex": (sync.RWMutex, [rlock]),
    "Semaphore": (lambda: sync.Semaphore(2), [sema]),
    "WaitGroup": (sync.WaitGroup, [waiting, start]),
    "Barrier": (lambda: sync.Barrier(2), [lambda b: b.n_waiting, lambda b: b.broken]),
    "ErrGroup": (sync.ErrGroup, [start, lambda g: g.try_go(int), lambda g: g.ctx.err()]),
    "Scope": (lambda: golib.scope().__enter__(), [start, lambda s: s.try_go(int)]),
    "Chan": (lambda: Chan(2), [
        lambda c: c.try_send(Cycle()), lambda c: c.try_recv(), len, repr, lambda c: c.sender, lambda c: c.receiver,
        lambda c: select(c, default=True), lambda c: select(send(c, Cycle()), recv(c), default=True)]),
    "Select": (lambda: golib.Select(recv(Chan(1)), send(Chan(1), 1)), [
        chosen, lambda s: s.__setitem__(0, recv(Chan())), lambda s: s.__setitem__(0, None)]),
    "Timer": (lambda: golib.time.Timer(9), [lambda t: t.reset(9), lambda t: t.stop(), lambda t: t.c]),
    "Ticker": (lambda: golib.time.Ticker(9), [lambda t: t.reset(9), lambda t: t.stop(), lambda t: t.c]),
    "Context": (lambda: context.with_cancel(context.background())[0], [
        child, after, lambda c: c.err(), lambda c: c.done(), lambda c: c.value(1),
        lambda c: context.with_value(c, 1, Cycle()), lambda c: context.with_timeout(c, 9)[1]()]),
    "Goroutine": (lambda: golib.go(int), [lambda g: g.done(), lambda g: g.status(), lambda g: g.stack(), repr]),
    "Executor": (Executor, [lambda e: e.submit(int), lambda e: e.submit(Cycle)]),
    "signal": (lambda: Chan(1), [watch, lambda ch: golib.signal.stop(ch)]),
    # At first it imports tokenize: a module that a handler finds half imported is no fault of golib's.
    "the module": (lambda: golib.runtime.stack(all=True), [
        lambda _: golib.go(int), lambda _: golib.num_goroutine(), lambda _: golib.runtime.goroutines(),
        lambda _: golib.runtime.stack(all=True), lambda _: golib.runtime.stats()]),
}

where, runs, busy, operations, thing = sys.argv[1], 0, False, [], None

def use():
    "Called by whatever comes into an operation."
    global runs, busy
    if busy or not operations:
        return
    busy = True
    try:
        runs += 1
        operations[runs % len(operations)](thing)
    finally:
        busy = False

class Cycle:
    "Freed by the collector or, where it is replaced, at once."
    def __init__(self, n=0):
        self.me = self if runs % 2 else None
    def __del__(self):
        use()
"""

GC = """
def main():
    global thing, operations, runs
    for name in names:
        make, ops = OBJECTS[name]
        print(name, flush=True)
        thing, operations, runs = make(), ops, 0
        gc.set_threshold(1)
        rounds = 0
        while rounds < 200 or runs < 20:
            rounds += 1
            for op in operations:
                Cycle(), op(thing)
        gc.set_threshold(0)
        operations, thing = [], None
"""

SIGNALS = """
def main():
    global thing, operations, runs
    signal.signal(signal.SIGALRM, lambda *_: use())
    for name in names:
        make, ops = OBJECTS[name]
        print(name, flush=True)
        thing, operations, runs = make(), ops, 0
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        end = time.monotonic() + 0.2
        while time.monotonic() < end or runs < 50:
            for op in operations:
                op(thing)
        signal.setitimer(signal.ITIMER_REAL, 0)
        operations, thing = [], None
"""

START = """
names = sys.argv[2:] or list(OBJECTS)
{"main": lambda: main(), "run": lambda: golib.run(main), "goroutine": lambda: golib.go(main).join()}[where]()
os._exit(0)
"""

NAMES = re.findall(r'^    "([\w ]+)": \(', OPERATIONS, re.MULTILINE)


@pytest.mark.parametrize("where", ["main", "run", "goroutine"])
def test_finalizers_use_the_object_in_whose_operation_they_run(where):
    assert run_ok(OPERATIONS + GC + START, where).split("\n") == [*NAMES, ""]


@pytest.mark.parametrize("where", ["main", "run"])
def test_signal_handlers_use_the_object_in_whose_operation_they_come(where):
    assert run_ok(OPERATIONS + SIGNALS + START, where).split("\n") == [*NAMES, ""]


# -- the state that they find ----------------------------------------------------------------------


class Key:
    """Compares and hashes with an operation on the map."""

    def __init__(self, op):
        self.op = op

    def __hash__(self):
        self.op()
        return 1

    def __eq__(self, other):
        self.op()
        return True


MAP_OPERATIONS = {
    "load": lambda m, key: m.load(key),
    "store": lambda m, key: m.store(key, 1),
    "load_or_store": lambda m, key: m.load_or_store(key, 2),
    "load_and_delete": lambda m, key: m.load_and_delete(key),
    "delete": lambda m, key: m.delete(key),
    "swap": lambda m, key: m.swap(key, 3),
    "compare_and_swap": lambda m, key: m.compare_and_swap(key, 1, 2),
    "range": lambda m, key: m.range(lambda k, v: m.delete(k)),
    "clear": lambda m, key: m.clear(),
    "len": lambda m, key: len(m),
}


@pytest.mark.parametrize("inner", list(MAP_OPERATIONS))
@pytest.mark.parametrize("outer", list(MAP_OPERATIONS))
def test_a_key_may_use_the_map_while_it_is_looked_up(outer, inner, place):
    m, once = Map(), [True]

    def op():
        if once:
            once.pop()
            MAP_OPERATIONS[inner](m, Key(int))
            once.append(True)

    place(lambda: (m.store(Key(int), 1), MAP_OPERATIONS[outer](m, Key(op))))
    once.clear()
    m.clear()


class Noisy:
    """A value that uses the map when it dies."""

    def __init__(self, m, log):
        self.m, self.log = m, log

    def __del__(self):
        self.log.append((len(self.m), self.m.load("k"), self.m.swap("log", len(self.log))))


@pytest.mark.parametrize(
    "how", ["store", "swap", "delete", "load_and_delete", "clear", "compare_and_swap"]
)
def test_a_value_dies_after_the_map_has_let_go_of_it(how, place):
    def check():
        m, log = Map(), []
        m.store("k", Noisy(m, log))
        {
            "store": lambda: m.store("k", 1),
            "swap": lambda: m.swap("k", 1),
            "delete": lambda: m.delete("k"),
            "load_and_delete": lambda: m.load_and_delete("k"),
            "clear": m.clear,
            "compare_and_swap": lambda: m.compare_and_swap("k", m.load("k"), 1),
        }[how]()
        stays = how in ("store", "swap", "compare_and_swap")
        return log == [(int(stays), 1 if stays else None, (None, False))] and len(m) == 1 + stays

    assert place(check)


def test_compound_operations_of_a_map_stay_whole_whatever_runs_between():
    """Each of many goroutines adds one to a counter by compare_and_swap, while keys and values park in comparisons."""

    class Number(int):
        def __eq__(self, other):
            golib.gosched()
            return int(self) == int(other)

        __hash__ = int.__hash__

    m = Map()
    m.store(Number(7), Number(0))

    def add():
        for _ in range(20):
            while True:
                now = m.load(Number(7))
                if m.compare_and_swap(Number(7), now, Number(int(now) + 1)):
                    break

    for g in [golib.go(add) for _ in range(10)]:
        g.join()
    assert int(m.load(Number(7))) == 200


def test_what_one_deletes_nobody_else_gets_and_nothing_stored_is_lost():
    m, taken = Map(), []

    def put(i):
        for n in range(200):
            before, found = m.swap("k", (i, n))
            if found:
                taken.append(before)
            golib.gosched() if n % 7 == 0 else None

    def take():
        for n in range(200):
            value, found = m.load_and_delete("k")
            if found:
                taken.append(value)
            golib.gosched() if n % 5 == 0 else None

    for g in [golib.go(put, i) for i in range(5)] + [golib.go(take) for _ in range(5)]:
        g.join()
    value, found = m.load_and_delete("k")
    assert sorted(taken + [value] * found) == [(i, n) for i in range(5) for n in range(200)]


AGAIN = "called again by what it runs"


def test_what_runs_once_tells_a_call_from_within_itself(place):
    def check():
        o = Once()
        with pytest.raises(RuntimeError, match=AGAIN):
            o.do(lambda: o.do(int))
        o.do(pytest.fail)
        flight = SingleFlight()
        with pytest.raises(RuntimeError, match=AGAIN):
            flight.do(1, lambda: flight.do(1, int))
        assert flight.do(1, lambda: flight.do(2, int)) == 0
        for decorator in (once, once_value):
            fn = decorator(lambda: fn())
            with pytest.raises(RuntimeError, match=AGAIN):
                fn()

    place(check)


def test_another_goroutine_that_the_function_starts_waits_for_it():
    o, ch = Once(), Chan()

    def work():
        g = golib.go(o.do, pytest.fail)
        golib.go(lambda: (golib.sleep(0.01), ch.send(g)))
        assert ch.recv() is g
        assert not g.done()
        return g

    gs = []
    o.do(lambda: gs.append(work()))
    gs[0].join()


def test_a_signal_handler_cannot_wait_for_what_the_main_goroutine_runs():
    out = run_ok(
        """
        import golib, signal
        o = golib.sync.Once()
        def handler(*args):  # it runs in the main goroutine, inside of work()
            try:
                o.do(print, "never")
            except RuntimeError as error:
                print(error)
        signal.signal(signal.SIGALRM, handler)
        def work():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            golib.sleep(0.3)
            print("done")
        golib.run(o.do, work)
        """
    )
    assert out == "sync: called again by what it runs, which would wait for itself\ndone\n"


def test_pools_and_executors_may_be_made_while_all_are_visited():
    made = []

    class Maker:
        def __del__(self):
            made.append(golib.sync.Pool())

    for _ in range(20):
        maker = Maker()
        maker.me = maker
        del maker
        pool = golib.sync.Pool()
        pool.put(Maker())
        gc.collect()
        gc.collect()
    assert len(made) >= 20


def test_two_threads_that_start_golibs_loop_at_once_share_it():
    import asyncio

    async def here():
        return asyncio.get_running_loop()

    gs = [golib.go(PLACES["thread"], golib.aio.run_async, here()) for _ in range(8)]
    assert len({id(g.join()) for g in gs}) == 1
    assert sum(t.name == "golib-asyncio" for t in threading.enumerate()) == 1

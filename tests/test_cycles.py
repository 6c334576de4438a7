"""Exceptions that leave golib hold no frame that holds them: what they refer to dies with the last reference."""

from __future__ import annotations

import asyncio
import gc
import weakref

import golib
import pytest
from golib import Chan, aio, go, sync

from support import Boom


class Marked(Boom):
    """An exception that is watched; slots of its own would forbid that."""


def fail():
    raise Marked


async def fail_later():
    await asyncio.sleep(0)
    raise Marked


async def fail_now():
    raise Marked


def in_a_loop(make):
    """Awaits what `make` makes, in a task whose frame takes part in no other cycle."""

    def call(caught):
        async def main():
            try:
                await make()
            except BaseException as error:
                caught(error)

        asyncio.run(main())

    return call


async def ended():
    g = [go(fail)]
    while not g[0].done():
        await asyncio.sleep(0)
    await g.pop()


def by_scope():
    with golib.scope() as s:
        s.go(fail)


def by_scope_block():
    with golib.scope():
        raise Marked


def by_scope_block_and_member():
    with golib.scope() as s:
        s.go(fail)
        raise Marked


def by_nested_scopes():
    with golib.scope(), golib.scope() as s:
        s.go(fail)


def by_scope_block_that_is_named():
    with golib.scope() as s:
        assert s
        raise Marked


def by_deadlock():
    with golib.scope() as s:
        s.go(Chan().recv)
        Chan().recv()


def by_deadlock_at_the_end():
    with golib.scope() as s:
        s.go(Chan().recv)


def err_group():
    group = sync.ErrGroup()
    group.go(fail)
    return group


def by_timeout_block():
    with golib.timeout(5):
        raise Marked


def by_executor():
    with aio.Executor() as executor:
        executor.submit(fail).result()


def by_executor_map():
    with aio.Executor(2) as executor:
        list(executor.map(lambda _: fail(), range(3)))


def by_single_flight():
    sync.SingleFlight().do(1, fail)


def by_once():
    sync.Once().do(fail)


def by_cond():
    cond = sync.Cond()
    with cond:
        cond.wait_for(fail)


def by_barrier():
    sync.Barrier(1, fail).wait()


def by_map():
    m = sync.Map()
    m.store(1, 1)
    m.range(lambda k, v: fail())


def by_pool():
    sync.Pool(new=fail).get()


def by_blocking():
    golib.blocking(fail)


def by_main():
    golib.main(fail)()


def plainly(fn):
    def call(caught):
        try:
            fn()
        except BaseException as error:
            caught(error)

    return call


WAYS = {
    "await": in_a_loop(lambda: go(fail)),
    "await of an ended one": in_a_loop(ended),
    "to_goroutine": in_a_loop(lambda: aio.to_goroutine(fail)),
    "arecv": in_a_loop(lambda: closed().arecv()),
    "asend": in_a_loop(lambda: closed().asend(1)),
} | {
    name: plainly(fn)
    for name, fn in {
        "join": lambda: go(fail).join(),
        "run": lambda: golib.run(fail),
        "main": by_main,
        "blocking": by_blocking,
        "run_async": lambda: aio.run_async(fail_later()),
        "run_async at once": lambda: aio.run_async(fail_now()),
        "scope": by_scope,
        "scope block": by_scope_block,
        "scope block that is named": by_scope_block_that_is_named,
        "scope block and member": by_scope_block_and_member,
        "nested scopes": by_nested_scopes,
        "ErrGroup": lambda: err_group().wait(),
        "timeout block": by_timeout_block,
        "Executor": by_executor,
        "Executor.map": by_executor_map,
        "SingleFlight": by_single_flight,
        "Once": by_once,
        "Cond": by_cond,
        "Barrier": by_barrier,
        "Map.range": by_map,
        "Pool": by_pool,
    }.items()
}


def closed():
    ch = Chan()
    ch.close()
    return ch


def left_over(call):
    """How many exceptions that leave `call` are still alive after they were caught."""
    refs = []

    def caught(error):
        errors = [error]
        while errors:
            refs.append(weakref.ref(errors[-1]))
            errors += getattr(errors.pop(), "exceptions", ())

    gc.collect()
    gc.disable()
    try:
        call(caught)
        assert refs
        for _ in range(100):  # the goroutine that ended may still be on its way out
            if not any(ref() for ref in refs):
                break
            golib.sleep(0.001)
        return [repr(ref()) for ref in refs if ref() is not None]
    finally:
        gc.enable()


@pytest.mark.parametrize("way", list(WAYS))
def test_an_exception_that_golib_passes_on_is_freed_at_once(way, place):
    assert place(left_over, WAYS[way]) == []


@pytest.mark.parametrize("fn", [by_deadlock, by_deadlock_at_the_end])
def test_a_deadlock_in_a_scope_is_freed_at_once(fn):
    assert left_over(plainly(fn)) == []
    assert golib.run(left_over, plainly(fn)) == []

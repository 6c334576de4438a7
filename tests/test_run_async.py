"""Coroutines from goroutines: run_async, and golib's own event loop."""

from __future__ import annotations

import asyncio
import threading

import golib
import pytest
from golib import Chan, aio, go

from support import Boom, Thread, parked, run_loop, run_ok


def test_run_async_gives_the_result_or_raises(place):
    async def answer():
        await asyncio.sleep(0)
        return 42

    async def fail():
        raise Boom

    assert place(aio.run_async, answer()) == 42
    with pytest.raises(Boom):
        place(aio.run_async, fail())


def test_goroutines_that_run_async_share_one_loop_and_wait_without_threads():
    async def meet(barrier):
        await barrier.wait()
        return asyncio.get_running_loop()

    barrier = asyncio.Barrier(50)
    gs = [go(aio.run_async, meet(barrier)) for _ in range(50)]
    assert len({g.join(timeout=20) for g in gs}) == 1


def test_run_async_in_a_given_loop():
    async def main():
        loop = asyncio.get_running_loop()

        async def which():
            return asyncio.get_running_loop() is loop

        g = go(lambda: aio.run_async(which(), loop=loop))
        return await g

    assert run_loop(main) is True


def test_run_async_in_its_own_loop_is_an_error():
    async def inner():
        pass

    async def main():
        with pytest.raises(RuntimeError, match="own thread"):
            aio.run_async(inner(), loop=asyncio.get_running_loop())

    run_loop(main)


def test_run_async_wants_a_coroutine():
    with pytest.raises(TypeError):
        aio.run_async(7)
    with pytest.raises(TypeError):
        aio.run_async(asyncio.sleep)


def test_cancelled_goroutine_cancels_its_coroutine_and_waits_for_its_end():
    ended = []

    async def work(ready):
        ready.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("coroutine")

    ready = golib.sync.Event()
    g = go(lambda: aio.run_async(work(ready)))
    ready.wait()
    parked(g)
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join(timeout=10)
    assert ended == ["coroutine"]


def test_timeout_ends_run_async():
    with pytest.raises(TimeoutError), golib.timeout(0.005):
        aio.run_async(asyncio.sleep(30))


def test_asyncio_run_is_cancelled_in_the_middle_of_golib_operations_only():
    async def main():
        await asyncio.sleep(0.001)
        return 1

    def work():
        with golib.timeout(0):
            return asyncio.run(main())

    # asyncio waits in its selector, which is no operation of golib's.
    assert go(work).join(timeout=10) == 1


def test_golibs_idle_loop_does_not_hide_a_deadlock_and_a_busy_one_does():
    out = run_ok(
        """
        import asyncio
        import golib
        ch = golib.Chan()
        async def nothing():
            pass
        async def later():
            asyncio.get_running_loop().call_later(0.1, ch.try_send, 'timer')
        async def task():
            async def send():
                await asyncio.sleep(0.1)
                await ch.asend('task')
            asyncio.get_running_loop().keep = asyncio.ensure_future(send())
        def main():
            for coro in (later, task):
                golib.aio.run_async(coro())
                print(ch.recv())
            golib.aio.run_async(nothing())
            try:
                ch.recv()
            except golib.Deadlock:
                print('deadlock')
        golib.run(main)
        """
    )
    assert out == "timer\ntask\ndeadlock\n"


def test_golibs_loop_is_not_idle_while_it_runs_the_last_of_what_is_ready():
    out = run_ok(
        """
        import asyncio, time
        import golib
        async def own():
            return asyncio.get_running_loop()
        def wake(event):
            time.sleep(0.08)  # asyncio's debug mode reports what takes longer than 0.1 s
            event.set()
        def main():
            loop, event = golib.aio.run_async(own()), golib.sync.Event()
            # In an iteration of its own: the first also reads from the pipe that wakes the loop.
            loop.call_soon_threadsafe(loop.call_soon, wake, event)
            event.wait()
            print('woken')
        golib.run(main)
        """
    )
    assert out == "woken\n"


def test_fork_in_a_program_with_golibs_loop_begins_anew():
    out = run_ok(
        """
        import asyncio, os
        import golib
        async def f(): return 1
        print(golib.aio.run_async(f()), flush=True)
        pid = os.fork()
        if pid == 0:
            print(golib.aio.run_async(f()), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        """,
        # From 3.12 on CPython warns of a fork beside a thread, here the loop's.
        env={"PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )
    assert out == "1\n1\n"


def test_importing_golib_does_not_import_asyncio():
    out = run_ok("import sys, golib, golib.aio; print('asyncio' in sys.modules)")
    assert out == "False\n"


def test_loop_closed_before_the_goroutine_answered_is_quiet():
    run_ok(
        """
        import asyncio, golib
        async def main():
            asyncio.ensure_future(golib.Chan().arecv())
            await asyncio.sleep(0.001)
        asyncio.run(main())
        """
    )


def test_threads_of_many_loops_meet_goroutines():
    ch = Chan()

    def loop_thread(n):
        async def main():
            return [await ch.arecv() for _ in range(n)]

        return asyncio.run(main())

    threads = [Thread(loop_thread, 25) for _ in range(4)]
    for i in range(100):
        ch.send(i)
    assert sorted(x for t in threads for x in t.join()) == list(range(100))
    assert threading.active_count() < 100

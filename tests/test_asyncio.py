"""Channels and goroutines from asyncio."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import golib
import pytest
from golib import Chan, ChanClosed, SendOnClosed, aio, go

from support import Boom, Thread, Tracked, eventually, run_loop

# -- asend, arecv, async for ---------------------------------------------------------------------


def test_arecv_takes_what_is_there_and_waits_for_what_is_not(place):
    async def main():
        ch = Chan(1)
        ch.send(1)
        first = await ch.arecv()
        go(ch.send, 2)
        return first, await ch.arecv()

    assert place(run_loop, main) == (1, 2)


def test_asend_puts_into_the_buffer_and_waits_for_a_receiver(place):
    async def main():
        ch = Chan(1)
        await ch.asend(1)
        g = go(lambda: (golib.gosched(), ch.recv(), ch.recv())[1:])
        await ch.asend(2)
        return await g

    assert place(run_loop, main) == (1, 2)


def test_two_tasks_meet_on_an_unbuffered_channel():
    async def main():
        ch = Chan()
        _, value = await asyncio.gather(ch.asend("x"), ch.arecv())
        return value

    assert run_loop(main) == "x"


def test_async_for_receives_until_closed_and_drained():
    async def main():
        ch = Chan(2)

        def feed():
            with ch:
                for i in range(100):
                    ch.send(i)

        go(feed)
        return [x async for x in ch]

    assert run_loop(main) == list(range(100))


def test_views_and_ends_have_the_async_methods():
    async def main():
        ch = Chan(1)
        await ch.sender.asend(1)
        got = await ch.receiver.arecv()
        tx, rx = golib.channel(1)
        await tx.asend(2)
        tx.close()
        return got, [x async for x in rx]

    assert run_loop(main) == (1, [2])


def test_closed_channel_raises_as_in_a_goroutine():
    async def main():
        ch = Chan()
        waiting = asyncio.ensure_future(ch.arecv())
        await asyncio.sleep(0)
        ch.close()
        with pytest.raises(ChanClosed):
            await waiting
        with pytest.raises(ChanClosed):
            await ch.arecv()
        with pytest.raises(SendOnClosed):
            await ch.asend(1)
        assert [x async for x in ch] == []

    run_loop(main)


def test_send_that_waits_raises_when_the_channel_is_closed():
    async def main():
        ch = Chan()
        waiting = asyncio.ensure_future(ch.asend(1))
        await asyncio.sleep(0.001)
        ch.close()
        with pytest.raises(SendOnClosed):
            await waiting

    run_loop(main)


def test_cancelled_arecv_takes_nothing_and_leaves_no_goroutine():
    async def main():
        ch = Chan()
        before = golib.num_goroutine()
        task = asyncio.ensure_future(ch.arecv())
        while golib.num_goroutine() == before:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while golib.num_goroutine() != before:  # its last act was to tell the loop
            await asyncio.sleep(0)
        assert not ch.try_send(1)

    run_loop(main)


def test_cancelled_asend_has_not_sent():
    async def main():
        ch = Chan()
        task = asyncio.ensure_future(ch.asend(Tracked()))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        assert ch.try_recv() is None

    run_loop(main)
    eventually(lambda: Tracked.alive == 0, what="the value is released")


def test_wait_for_times_out_around_arecv():
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Chan().arecv(), 0.005)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await Chan().asend(1)

    run_loop(main)


def test_no_value_is_lost_when_tasks_are_cancelled_at_any_moment():
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    total = 2000

    async def main():
        ch, got = Chan(), []
        go(lambda: ([ch.send(i) for i in range(total)], ch.close()))

        async def take():
            # A completed receive returns its value though the task was cancelled.
            got.append(await ch.arecv())

        while True:
            task = asyncio.ensure_future(take())
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            if rng.random() < 0.7:
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            except ChanClosed:
                return got

    assert run_loop(main) == list(range(total))


def test_task_that_goes_on_with_a_result_is_cancelled_at_its_next_await():
    async def main():
        ch, steps = Chan(), []

        async def task():
            steps.append(await ch.arecv())
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                steps.append("cancelled")
                raise

        running = asyncio.ensure_future(task())
        await asyncio.sleep(0.001)
        # Sent before the cancel, answered after it.
        await aio.to_goroutine(ch.send, "value")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return steps

    assert run_loop(main) in (["value", "cancelled"], [])


def test_timeout_that_the_operation_beat_does_not_cancel_later():
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)

    async def main():
        sent = received = 0
        for _ in range(200):
            ch = Chan()
            go(lambda ch=ch: (golib.sleep(rng.random() * 0.0006), ch.try_send(1)))
            try:
                async with asyncio.timeout(rng.random() * 0.0006):
                    await ch.arecv()
                received += 1
            except TimeoutError:
                sent += 1
            await asyncio.sleep(0)  # a late cancellation would come here
        assert sent + received == 200

    run_loop(main)


def test_hundred_loops_and_ten_threads_share_a_channel():
    loops, threads, each = 100, 10, 20
    ch = Chan(3)

    async def produce(i):
        for n in range(each):
            await ch.asend(i * each + n)
            if n % 5 == 0:
                await asyncio.sleep(0)

    gs = [go(asyncio.run, produce(i)) for i in range(loops)]
    takers = [Thread(list, ch) for _ in range(threads)]
    for g in gs:
        g.join(timeout=60)
    ch.close()
    got = [x for t in takers for x in t.join()]
    assert sorted(got) == list(range(loops * each))


# -- await a goroutine, to_goroutine -------------------------------------------------------------


def test_await_gives_a_goroutines_value_or_raises_its_exception(place):
    async def main():
        assert await go(pow, 2, 10) == 1024
        error = Boom("x")

        def fail():
            raise error

        g = go(fail)
        with pytest.raises(Boom) as caught:
            await g
        assert caught.value is error
        with pytest.raises(golib.Cancelled):
            g = go(Chan().recv)
            g.cancel()
            await g

    place(run_loop, main)


def test_many_tasks_may_await_one_goroutine():
    async def main():
        ch = Chan()
        g = go(ch.recv)

        async def wait():
            return await g

        tasks = [asyncio.ensure_future(wait()) for _ in range(10)]
        await asyncio.sleep(0.001)
        ch.send("x")
        return await asyncio.gather(*tasks)

    assert run_loop(main) == ["x"] * 10


def test_cancelling_a_task_that_awaits_a_goroutine_leaves_the_goroutine_alone():
    async def main():
        ch = Chan()
        g = go(ch.recv)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_await(g), 0.005)
        assert not g.done()
        ch.send("x")
        return await g

    async def _await(g):
        return await g

    assert run_loop(main) == "x"


def test_to_goroutine_runs_blocking_code_beside_the_loop():
    async def main():
        ch = Chan()
        receiving = asyncio.ensure_future(aio.to_goroutine(ch.recv, timeout=20))
        ticks = 0
        while not receiving.done():
            await asyncio.sleep(0.001)
            ticks += 1
            if ticks == 5:
                ch.send("x")
        return await receiving, ticks >= 5

    assert run_loop(main) == ("x", True)


def test_to_goroutine_has_the_tasks_contextvars():
    import contextvars

    var = contextvars.ContextVar("var")

    async def main():
        var.set("mine")
        return await aio.to_goroutine(var.get)

    assert run_loop(main) == "mine"


def test_cancelling_to_goroutine_cancels_the_goroutine():
    left = Chan(1)

    def work():
        try:
            Chan().recv()
        finally:
            left.send("left")

    async def main():
        task = asyncio.ensure_future(aio.to_goroutine(work))
        await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await left.arecv()

    assert run_loop(main) == "left"


def test_a_timeout_lets_go_of_to_goroutine_as_of_to_thread():
    gate = threading.Event()

    def work():  # nothing can cancel it
        gate.wait(20)

    async def main(start):
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await start(work)
        return time.monotonic() - begin < 10

    try:
        assert run_loop(lambda: main(aio.to_goroutine))
    finally:
        gate.set()


def test_what_to_goroutine_was_let_go_of_is_not_reported():
    gate = Chan()

    def work():
        try:
            gate.recv()
        finally:
            raise Boom

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await aio.to_goroutine(work)

    run_loop(main)
    eventually(lambda: golib.num_goroutine() == 0)


def test_to_goroutine_refuses_what_is_no_function():
    async def main():
        with pytest.raises(TypeError):
            await aio.to_goroutine(7)
        with pytest.raises(TypeError):
            await aio.to_goroutine(main)

    run_loop(main)

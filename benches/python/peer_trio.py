"""trio.  open_memory_channel(0) is a rendezvous channel; there is no select over channels."""

import trio

from common import *

run = trio.run
SIZES = {
    "spawn_join": 100_000,
    "yield_": 100_000,
    "pingpong": 20_000,
    "prodcons": 50_000,
    "mpmc": 50_000,
    "select_fanin": 20_000,
    "mutex": 20_000,
}


def spawn_join(n):
    async def task():
        pass

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(task)

    run(main)


def yield_(n):
    async def task():
        for _ in range(n):
            await trio.lowlevel.checkpoint()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
            nursery.start_soon(task)

    run(main)


def pingpong(n):
    async def main():
        there_in, there_out = trio.open_memory_channel(0)
        back_in, back_out = trio.open_memory_channel(0)

        async def pong():
            for _ in range(n):
                await back_in.send(await there_out.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pong)
            s = 0
            for i in range(n):
                await there_in.send(i)
                s += await back_out.receive()
        check(s, total(n))

    run(main)


def prodcons(n):
    async def main():
        send, receive = trio.open_memory_channel(CAPACITY)

        async def produce():
            async with send:
                for i in range(n):
                    await send.send(i)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            s = 0
            async for v in receive:
                s += v
        check(s, total(n))

    run(main)


def mpmc(n):
    async def main():
        send, receive = trio.open_memory_channel(CAPACITY)
        sums = []

        async def produce(k, send):
            async with send:
                for i in range(k, n, PRODUCERS):
                    await send.send(i)

        async def consume():
            s = 0
            async for v in receive:
                s += v
            sums.append(s)

        async with trio.open_nursery() as nursery, send:
            for k in range(PRODUCERS):
                nursery.start_soon(produce, k, send.clone())
            for _ in range(CONSUMERS):
                nursery.start_soon(consume)
            await send.aclose()
        check(sum(sums), total(n))

    run(main)


def select_fanin(n):
    """Not a select (trio has none): one forwarding task per channel into a merged one."""

    async def main():
        merged, receive = trio.open_memory_channel(0)

        async def produce(k, send):
            async with send:
                for i in range(k, n, PRODUCERS):
                    await send.send(i)

        async def forward(source, merged):
            async with merged:
                async for v in source:
                    await merged.send(v)

        async with trio.open_nursery() as nursery:
            for k in range(PRODUCERS):
                send, source = trio.open_memory_channel(0)
                nursery.start_soon(produce, k, send)
                nursery.start_soon(forward, source, merged.clone())
            await merged.aclose()
            s = 0
            async for v in receive:
                s += v
        check(s, total(n))

    run(main)


def sieve(n):
    async def generate(send):
        async with send:
            for i in range(2, SIEVE_LIMIT + 1):
                await send.send(i)

    async def keep(p, source, send):
        async with send:
            async for v in source:
                if v % p:
                    await send.send(v)

    async def main():
        async with trio.open_nursery() as nursery:
            send, source = trio.open_memory_channel(0)
            nursery.start_soon(generate, send)
            for _ in range(n):
                p = await source.receive()
                send, filtered = trio.open_memory_channel(0)
                nursery.start_soon(keep, p, source, send)
                source = filtered
            check(p, SIEVE_LIMIT)
            check([v async for v in source], [])

    run(main)


def skynet_10k(n):
    async def main():
        async with trio.open_nursery() as nursery:

            async def node(out, num, size):
                if size == 1:
                    await out.send(num)
                    return
                send, receive = trio.open_memory_channel(0)
                size //= 10
                for i in range(10):
                    nursery.start_soon(node, send, num + i * size, size)
                s = 0
                for _ in range(10):
                    s += await receive.receive()
                await out.send(s)

            send, receive = trio.open_memory_channel(0)
            nursery.start_soon(node, send, 0, n)
            check(await receive.receive(), total(n))

    run(main)


skynet_100k = skynet_10k


def parked(n):
    async def main():
        send, receive = trio.open_memory_channel(0)
        entered = s = 0

        async def park():
            nonlocal entered, s
            entered += 1
            v = await receive.receive()
            s += v

        before, t0 = memory(), now()
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(park)
            while receive.statistics().tasks_waiting_receive < n:
                await trio.lowlevel.checkpoint()
            seconds, after = now() - t0, memory()
            check(entered, n)
            for i in range(n):
                send.send_nowait(i)
        check(s, total(n))
        return parked_figures(n, before, after, seconds)

    return run(main)


def timers(n):
    late = []

    async def sleeper(d):
        t = now()
        await trio.sleep(d)
        late.append(now() - t - d)

    async def main():
        ds = delays(n)
        t0 = now()
        async with trio.open_nursery() as nursery:
            for d in ds:
                nursery.start_soon(sleeper, d)
        return timer_figures(n, now() - t0, late)

    return run(main)


def mutex(n):
    async def main():
        lock = trio.Lock()
        count = 0

        async def task():
            nonlocal count
            for i in range(n):
                async with lock:
                    count += 1
                    if i % 100 == 0:
                        await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(task)
        check(count, 4 * n)

    run(main)


def _beside_ticker(offend):
    async def main():
        ticks = []

        async def ticker():
            end = now() + TICKING
            while not ticks or ticks[-1] < end:
                await trio.sleep(TICK)
                ticks.append(now())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker)
            await trio.sleep(HOG_AFTER)
            await offend()
        return max_gap(ticks)

    return run(main)


def blocking(n):
    async def offend():
        block()

    return _beside_ticker(offend)


def cpu_hog(n):
    async def offend():
        spin()

    return _beside_ticker(offend)


def offload(n):
    async def offend():
        await trio.to_thread.run_sync(block)

    async def main():
        t0 = now()
        for i in range(n):
            check(await trio.to_thread.run_sync(abs, -i), i)
        return {"call_us": 1e6 * (now() - t0) / n}

    return _beside_ticker(offend) | run(main)


def _parallel(n, workers):
    async def main():
        limiter = trio.CapacityLimiter(workers)
        digests = []

        async def job():
            digests.append(await trio.to_thread.run_sync(digest, limiter=limiter))

        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(job)
        check_digests(digests, n)

    run(main)


def parallel_1(n):
    _parallel(n, 1)


def parallel(n):
    _parallel(n, 2)

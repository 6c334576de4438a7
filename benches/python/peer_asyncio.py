"""asyncio.  It has no rendezvous channel: Queue(1) stands in for one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from common import *

run = asyncio.run  # peer_uvloop puts uvloop.run here


def spawn_join(n):
    async def task():
        pass

    async def main():
        for t in [asyncio.create_task(task()) for _ in range(n)]:
            await t

    run(main())


def spawn_join_taskgroup(n):
    async def task():
        pass

    async def main():
        async with asyncio.TaskGroup() as tg:
            for _ in range(n):
                tg.create_task(task())

    run(main())


def spawn_join_gather(n):
    async def task():
        pass

    async def main():
        await asyncio.gather(*[task() for _ in range(n)])

    run(main())


if hasattr(asyncio, "eager_task_factory"):  # 3.12+: the coroutine starts inside create_task

    def spawn_join_eager(n):
        async def task():
            pass

        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            for t in [asyncio.create_task(task()) for _ in range(n)]:
                await t

        run(main())


def yield_(n):
    async def task():
        for _ in range(n):
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(task(), task())

    run(main())


def pingpong(n):
    """Futures handed back and forth: the cheapest idiom (pingpong_queue is the usual one)."""

    async def main():
        loop = asyncio.get_running_loop()
        there, back = loop.create_future(), loop.create_future()

        async def pong():
            nonlocal there
            for _ in range(n):
                v = await there
                there = loop.create_future()
                back.set_result(v)

        task = asyncio.create_task(pong())
        s = 0
        for i in range(n):
            there.set_result(i)
            s += await back
            back = loop.create_future()
        await task
        check(s, total(n))

    run(main())


def pingpong_queue(n):
    async def main():
        there, back = asyncio.Queue(1), asyncio.Queue(1)

        async def pong():
            for _ in range(n):
                await back.put(await there.get())

        task = asyncio.create_task(pong())
        s = 0
        for i in range(n):
            await there.put(i)
            s += await back.get()
        await task
        check(s, total(n))

    run(main())


def prodcons(n):
    async def main():
        q = asyncio.Queue(CAPACITY)

        async def produce():
            for i in range(n):
                await q.put(i)

        task = asyncio.create_task(produce())
        s = 0
        for _ in range(n):
            s += await q.get()
        await task
        check(s, total(n))

    run(main())


def mpmc(n):
    async def main():
        q = asyncio.Queue(CAPACITY)

        async def produce(k):
            for i in range(k, n, PRODUCERS):
                await q.put(i)

        async def consume():
            s = 0
            while (v := await q.get()) is not None:
                s += v
            return s

        consumers = [asyncio.create_task(consume()) for _ in range(CONSUMERS)]
        await asyncio.gather(*[produce(k) for k in range(PRODUCERS)])
        for _ in consumers:
            await q.put(None)
        check(sum(await asyncio.gather(*consumers)), total(n))

    run(main())


def select_fanin(n):
    """asyncio.wait(FIRST_COMPLETED) over one pending get() per queue."""

    async def main():
        queues = [asyncio.Queue(1) for _ in range(PRODUCERS)]

        async def produce(k):
            for i in range(k, n, PRODUCERS):
                await queues[k].put(i)

        producers = [asyncio.create_task(produce(k)) for k in range(PRODUCERS)]
        pending = {asyncio.create_task(q.get()): q for q in queues}
        s, left = 0, n
        while left:
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for t in done:
                s += t.result()
                left -= 1
                q = pending.pop(t)
                pending[asyncio.create_task(q.get())] = q
        for t in pending:
            t.cancel()
        await asyncio.gather(*producers)
        check(s, total(n))

    run(main())


def select_fanin_merge(n):
    """Not a select: one forwarding task per queue into a merged queue."""

    async def main():
        queues = [asyncio.Queue(1) for _ in range(PRODUCERS)]
        merged = asyncio.Queue(1)

        async def produce(k):
            for i in range(k, n, PRODUCERS):
                await queues[k].put(i)

        async def forward(k):
            for _ in range(k, n, PRODUCERS):
                await merged.put(await queues[k].get())

        tasks = [asyncio.create_task(f(k)) for k in range(PRODUCERS) for f in (produce, forward)]
        s = 0
        for _ in range(n):
            s += await merged.get()
        await asyncio.gather(*tasks)
        check(s, total(n))

    run(main())


def sieve(n):
    async def generate(out):
        for i in range(2, SIEVE_LIMIT + 1):
            await out.put(i)
        await out.put(None)

    async def keep(p, src, out):
        while (v := await src.get()) is not None:
            if v % p:
                await out.put(v)
        await out.put(None)

    async def main():
        src = asyncio.Queue(1)
        tasks = [asyncio.create_task(generate(src))]
        for _ in range(n):
            p = await src.get()
            out = asyncio.Queue(1)
            tasks.append(asyncio.create_task(keep(p, src, out)))
            src = out
        check((p, await src.get()), (SIEVE_LIMIT, None))
        await asyncio.gather(*tasks)

    run(main())


def skynet_10k(n):
    tasks = set()  # the loop keeps only weak references

    async def node(out, num, size):
        if size == 1:
            await out.put(num)
            return
        q = asyncio.Queue(1)
        size //= 10
        for i in range(10):
            t = asyncio.create_task(node(q, num + i * size, size))
            tasks.add(t)
            t.add_done_callback(tasks.discard)
        s = 0
        for _ in range(10):
            s += await q.get()
        await out.put(s)

    async def main():
        q = asyncio.Queue(1)
        root = asyncio.create_task(node(q, 0, n))
        check(await q.get(), total(n))
        await root

    run(main())


skynet_100k = skynet_10k


def parked(n):
    async def main():
        q = asyncio.Queue()
        entered = 0

        async def receive():
            nonlocal entered
            entered += 1
            return await q.get()

        before, t0 = memory(), now()
        tasks = [asyncio.create_task(receive()) for _ in range(n)]
        await asyncio.sleep(0)
        seconds, after = now() - t0, memory()
        check(entered, n)
        for i in range(n):
            q.put_nowait(i)
        check(sum(await asyncio.gather(*tasks)), total(n))
        return parked_figures(n, before, after, seconds)

    return run(main())


def timers(n):
    late = []

    async def sleeper(d):
        t = now()
        await asyncio.sleep(d)
        late.append(now() - t - d)

    async def main():
        ds = delays(n)
        t0 = now()
        for t in [asyncio.create_task(sleeper(d)) for d in ds]:
            await t
        return timer_figures(n, now() - t0, late)

    return run(main())


def mutex(n):
    async def main():
        lock = asyncio.Lock()
        count = 0

        async def task():
            nonlocal count
            for i in range(n):
                async with lock:
                    count += 1
                    if i % 100 == 0:
                        await asyncio.sleep(0)

        await asyncio.gather(*[task() for _ in range(4)])
        check(count, 4 * n)

    run(main())


async def _ticker():
    ticks, end = [], now() + TICKING
    while not ticks or ticks[-1] < end:
        await asyncio.sleep(TICK)
        ticks.append(now())
    return ticks


def _beside_ticker(offend):
    async def main():
        ticker = asyncio.create_task(_ticker())
        await asyncio.sleep(HOG_AFTER)
        await offend()
        return max_gap(await ticker)

    return run(main())


def blocking(n):
    async def offend():
        block()

    return _beside_ticker(offend)


def cpu_hog(n):
    async def offend():
        spin()

    return _beside_ticker(offend)


def offload(n):
    """asyncio.to_thread: the ticker's gap beside a blocking call, and what one call costs."""

    async def offend():
        await asyncio.to_thread(block)

    async def main():
        t0 = now()
        for i in range(n):
            check(await asyncio.to_thread(abs, -i), i)
        return {"call_us": 1e6 * (now() - t0) / n}

    return _beside_ticker(offend) | run(main())


def _parallel(n, workers):
    async def main():
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(workers) as pool:
            check_digests(
                await asyncio.gather(*[loop.run_in_executor(pool, digest) for _ in range(n)]), n
            )

    run(main())


def parallel_1(n):
    _parallel(n, 1)


def parallel(n):
    _parallel(n, 2)

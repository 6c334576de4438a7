"""runloom 0.2.0: fibers, Chan, select.  One hub on a GIL build; HUBS of them on a free-threaded one."""

import os
import sys

# One mapping for all stacks.  By default each has its own, with its guard page two mappings, so
# vm.max_map_count = 65530 ends it near 32k fibers (MemoryError); measure that with RUNLOOM_STACK_ARENA=0.
os.environ.setdefault("RUNLOOM_STACK_ARENA", "1")

import runloom
import runloom.sync
import runloom_c
from runloom import Chan, fiber, select

from common import *

HUBS = (
    1
    if getattr(sys, "_is_gil_enabled", lambda: True)()
    else int(os.environ.get("RUNLOOM_HUBS", "2"))
)
sched_yield = (
    runloom_c.sched_yield
)  # runloom.yield_now() is a Python function around the slower form


def run(main):
    """Run main as the first fiber until every fiber has ended; return its result."""
    result = []
    errors = []

    def guarded():
        try:
            result.append(main())
        except BaseException as e:  # a fiber's exception is only printed otherwise
            errors.append(e)

    runloom.run(HUBS, guarded)
    if errors:
        raise errors[0]
    return result[0]


def spawn_join(n):
    """run() returns when every fiber has ended (spawn_join_waitgroup waits inside a fiber)."""

    def task():
        pass

    def main():
        for _ in range(n):
            fiber(task)

    run(main)


def spawn_join_batched(n):
    """Yielding after every 256 spawns, so that ended fibers' stacks serve the next."""

    def task():
        pass

    def main():
        for i in range(n):
            fiber(task)
            if i % 256 == 0:
                sched_yield()

    run(main)


def spawn_join_noyield(n):
    """fiber_noyield: for fibers that promise never to park."""

    def task():
        pass

    def main():
        for _ in range(n):
            runloom_c.fiber_noyield(task)

    run(main)


def spawn_join_c(n):
    """The C entry behind runloom.fiber on one hub."""

    def task():
        pass

    spawn = runloom_c.fiber if HUBS == 1 else runloom_c.mn_fiber

    def main():
        for _ in range(n):
            spawn(task)

    run(main)


def spawn_join_waitgroup(n):
    def main():
        wg = runloom.sync.WaitGroup()
        wg.add(n)
        for _ in range(n):
            fiber(wg.done)
        wg.wait()

    run(main)


def yield_(n):
    def task():
        for _ in range(n):
            sched_yield()

    def main():
        fiber(task)
        fiber(task)

    run(main)


def pingpong(n):
    def main():
        there, back = Chan(), Chan()

        def pong():
            for _ in range(n):
                back.send(there.recv()[0])

        fiber(pong)
        s = 0
        for i in range(n):
            there.send(i)
            s += back.recv()[0]
        check(s, total(n))

    run(main)


def prodcons(n):
    def main():
        c = Chan(CAPACITY)

        def produce():
            for i in range(n):
                c.send(i)
            c.close()

        fiber(produce)
        s = 0
        for v in c:
            s += v
        check(s, total(n))

    run(main)


def mpmc(n):
    def main():
        c, sums, done = Chan(CAPACITY), Chan(CONSUMERS), Chan(PRODUCERS)

        def produce(k):
            for i in range(k, n, PRODUCERS):
                c.send(i)
            done.send(None)

        def consume():
            s = 0
            for v in c:
                s += v
            sums.send(s)

        for _ in range(CONSUMERS):
            fiber(consume)
        for k in range(PRODUCERS):
            fiber(produce, k)
        for _ in range(PRODUCERS):
            done.recv()
        c.close()
        check(sum(sums.recv()[0] for _ in range(CONSUMERS)), total(n))

    run(main)


def select_fanin(n):
    def main():
        channels = [Chan() for _ in range(PRODUCERS)]

        def produce(k):
            for i in range(k, n, PRODUCERS):
                channels[k].send(i)

        for k in range(PRODUCERS):
            fiber(produce, k)
        cases = [("recv", c) for c in channels]
        s = 0
        for _ in range(n):
            s += select(cases)[1][0]
        check(s, total(n))

    run(main)


def sieve(n):
    def generate(out):
        for i in range(2, SIEVE_LIMIT + 1):
            out.send(i)
        out.close()

    def keep(p, src, out):
        for v in src:
            if v % p:
                out.send(v)
        out.close()

    def main():
        src = Chan()
        fiber(generate, src)
        for _ in range(n):
            p = src.recv()[0]
            out = Chan()
            fiber(keep, p, src, out)
            src = out
        check((p, src.recv()), (SIEVE_LIMIT, (None, False)))

    run(main)


def skynet_10k(n):
    def node(out, num, size):
        if size == 1:
            out.send(num)
            return
        c = Chan()
        size //= 10
        for i in range(10):
            fiber(node, c, num + i * size, size)
        s = 0
        for _ in range(10):
            s += c.recv()[0]
        out.send(s)

    def main():
        c = Chan()
        fiber(node, c, 0, n)
        check(c.recv()[0], total(n))

    run(main)


skynet_100k = skynet_10k


def parked(n):
    def main():
        c, results = Chan(), Chan(n)
        entered = []

        def receive():
            entered.append(None)
            results.send(c.recv()[0])

        before, t0 = memory(), now()
        for _ in range(n):
            fiber(receive)
        while len(entered) < n:
            sched_yield()
        seconds, after = now() - t0, memory()
        for i in range(n):
            c.send(i)
        check(sum(results.recv()[0] for _ in range(n)), total(n))
        return parked_figures(n, before, after, seconds)

    return run(main)


def timers(n):
    late = []

    def sleeper(d):
        t = now()
        runloom_c.sched_sleep(d)
        late.append(now() - t - d)

    def main():
        for d in ds:
            fiber(sleeper, d)

    ds = delays(n)
    t0 = now()
    run(main)
    return timer_figures(n, now() - t0, late)


def mutex(n):
    lock = runloom_c.Mutex()
    count = 0

    def task():
        nonlocal count
        for i in range(n):
            with lock:
                count += 1
                if i % 100 == 0:
                    sched_yield()

    def main():
        for _ in range(4):
            fiber(task)

    run(main)
    check(count, 4 * n)


def _beside_ticker(offend):
    ticks = []

    def ticker():
        end = now() + TICKING
        while not ticks or ticks[-1] < end:
            runloom_c.sched_sleep(TICK)
            ticks.append(now())

    def main():
        fiber(ticker)
        runloom.sleep(HOG_AFTER)
        offend()

    run(main)
    return max_gap(ticks)


def blocking(n):
    return _beside_ticker(block)


def cpu_hog(n):
    return _beside_ticker(spin)


if HUBS > 1:  # preempt_init raises on a GIL build

    def cpu_hog_preempt(n):
        """With its time-slice timer on."""
        runloom.preempt_init(10_000)
        figures = _beside_ticker(spin)
        runloom.preempt_fini()
        return figures


def offload(n):
    """runloom.blocking: its pool of offload threads."""

    def main():
        t0 = now()
        for i in range(n):
            check(runloom.blocking(abs, -i), i)
        return {"call_us": 1e6 * (now() - t0) / n}

    return _beside_ticker(lambda: runloom.blocking(block)) | run(main)


def _parallel(n, workers):
    def main():
        done = Chan(n)
        todo = Chan(n)
        for _ in range(n):
            todo.send(None)
        todo.close()

        def job():
            for _ in todo:
                done.send(runloom.blocking(digest))

        for _ in range(workers):
            fiber(job)
        check_digests([done.recv()[0] for _ in range(n)], n)

    run(main)


def parallel_1(n):
    _parallel(n, 1)


def parallel(n):
    _parallel(n, 2)

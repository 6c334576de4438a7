"""golib: goroutines, Chan, select.  Nothing is patched."""

import golib
from golib import Chan, go, gosched, select
from golib.sync import Mutex, WaitGroup

import fairness as beside_threads
from common import *


def wait_all(tasks):
    return [t.join() for t in tasks]


def spawn_join(n):
    def main():
        wg = WaitGroup()
        wg.add(n)
        for _ in range(n):
            go(wg.done)
        wg.wait()

    golib.run(main)


def spawn_join_handles(n):
    def task():
        pass

    golib.run(lambda: wait_all([go(task) for _ in range(n)]))


def yield_(n):
    def task():
        for _ in range(n):
            gosched()

    golib.run(lambda: wait_all([go(task), go(task)]))


def pingpong(n):
    def main():
        there, back = Chan(), Chan()

        def pong():
            for _ in range(n):
                back.send(there.recv())

        task = go(pong)
        s = 0
        for i in range(n):
            there.send(i)
            s += back.recv()
        task.join()
        check(s, total(n))

    golib.run(main)


def prodcons(n):
    def main():
        ch = Chan(CAPACITY)

        def produce():
            for i in range(n):
                ch.send(i)

        task = go(produce)
        s = 0
        for _ in range(n):
            s += ch.recv()
        task.join()
        check(s, total(n))

    golib.run(main)


def prodcons_iterated(n):
    """As in runloom's program: the consumer iterates over the channel until that is closed."""

    def main():
        ch = Chan(CAPACITY)

        def produce():
            with ch:
                for i in range(n):
                    ch.send(i)

        go(produce)
        s = 0
        for v in ch:
            s += v
        check(s, total(n))

    golib.run(main)


def mpmc(n):
    def main():
        ch = Chan(CAPACITY)

        def produce(k):
            for i in range(k, n, PRODUCERS):
                ch.send(i)

        def consume():
            s = 0
            for v in ch:
                s += v
            return s

        consumers = [go(consume) for _ in range(CONSUMERS)]
        wait_all([go(produce, k) for k in range(PRODUCERS)])
        ch.close()
        check(sum(wait_all(consumers)), total(n))

    golib.run(main)


def select_fanin(n):
    def main():
        channels = [Chan() for _ in range(PRODUCERS)]

        def produce(k):
            for i in range(k, n, PRODUCERS):
                channels[k].send(i)

        tasks = [go(produce, k) for k in range(PRODUCERS)]
        s = 0
        for _ in range(n):
            s += select(*channels).value
        wait_all(tasks)
        check(s, total(n))

    golib.run(main)


def select_fanin_prepared(n):
    def main():
        channels = [Chan() for _ in range(PRODUCERS)]

        def produce(k):
            for i in range(k, n, PRODUCERS):
                channels[k].send(i)

        tasks = [go(produce, k) for k in range(PRODUCERS)]
        sel = golib.Select(*map(golib.recv, channels))
        s = 0
        for _ in range(n):
            s += sel.wait().value
        wait_all(tasks)
        check(s, total(n))

    golib.run(main)


def sieve(n):
    def main():
        def generate(out):
            with out:
                for i in range(2, SIEVE_LIMIT + 1):
                    out.send(i)

        def keep(p, src, out):
            with out:
                for v in src:
                    if v % p:
                        out.send(v)

        src = Chan()
        tasks = [go(generate, src)]
        for _ in range(n):
            p = src.recv()
            out = Chan()
            tasks.append(go(keep, p, src, out))
            src = out
        check((p, src.recv_ok()), (SIEVE_LIMIT, (None, False)))
        wait_all(tasks)

    golib.run(main)


def skynet_10k(n):
    def node(out, num, size):
        if size == 1:
            out.send(num)
            return
        ch = Chan()
        size //= 10
        for i in range(10):
            go(node, ch, num + i * size, size)
        s = 0
        for _ in range(10):
            s += ch.recv()
        out.send(s)

    def main():
        ch = Chan()
        go(node, ch, 0, n)
        check(ch.recv(), total(n))

    golib.run(main)


skynet_100k = skynet_10k


def parked(n):
    def main():
        ch = Chan()
        entered = 0

        def receive():
            nonlocal entered
            entered += 1
            return ch.recv()

        before, t0 = memory(), now()
        tasks = [go(receive) for _ in range(n)]
        while entered < n:
            gosched()
        seconds, after = now() - t0, memory()
        for i in range(n):
            ch.send(i)
        check(sum(wait_all(tasks)), total(n))
        return parked_figures(n, before, after, seconds)

    return golib.run(main)


def timers(n):
    def main():
        late = []

        def sleeper(d):
            t = now()
            golib.sleep(d)
            late.append(now() - t - d)

        ds = delays(n)
        t0 = now()
        wait_all([go(sleeper, d) for d in ds])
        return timer_figures(n, now() - t0, late)

    return golib.run(main)


def mutex(n):
    def main():
        lock = Mutex()
        count = 0

        def task():
            nonlocal count
            for i in range(n):
                with lock:
                    count += 1
                    if i % 100 == 0:
                        gosched()

        wait_all([go(task) for _ in range(4)])
        check(count, 4 * n)

    golib.run(main)


def _ticker():
    ticks, end = [], now() + TICKING
    while not ticks or ticks[-1] < end:
        golib.sleep(TICK)
        ticks.append(now())
    return ticks


def _beside_ticker(offend):
    def main():
        ticker = go(_ticker)
        golib.sleep(HOG_AFTER)
        offend()
        return max_gap(ticker.join())

    return golib.run(main)


def blocking(n):
    return _beside_ticker(block)


def cpu_hog(n):
    return _beside_ticker(spin)


def offload(n):
    """The hint; without it the same call works too (blocking)."""

    def main():
        t0 = now()
        for i in range(n):
            check(golib.blocking(abs, -i), i)
        return {"call_us": 1e6 * (now() - t0) / n}

    return _beside_ticker(lambda: golib.blocking(block)) | golib.run(main)


def parallel_1(n):
    golib.run(lambda: check_digests([digest() for _ in range(n)], n))


def parallel(n):
    golib.run(lambda: check_digests(wait_all([go(digest) for _ in range(n)]), n))


def fairness(n):
    """The waits of an ordinary thread that sleeps, for n / 100 seconds."""
    return beside_threads.measure(n / 100)

"""threading + queue.  No rendezvous channel: SimpleQueue in pingpong, Queue(1) elsewhere; no select."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue, SimpleQueue

from common import *

SIZES = {
    "spawn_join": 20_000,
    "pingpong": 20_000,
    "prodcons": 100_000,
    "mpmc": 50_000,
    "select_fanin": 10_000,
    "parked": 5_000,
    "timers": 5_000,
}


def _start(f, *args):
    t = threading.Thread(target=f, args=args)
    t.start()
    return t


def spawn_join(n):
    def task():
        pass

    for t in [_start(task) for _ in range(n)]:
        t.join()


def pingpong(n):
    there, back = SimpleQueue(), SimpleQueue()

    def pong():
        for _ in range(n):
            back.put(there.get())

    t = _start(pong)
    s = 0
    for i in range(n):
        there.put(i)
        s += back.get()
    t.join()
    check(s, total(n))


def prodcons(n):
    q = Queue(CAPACITY)

    def produce():
        for i in range(n):
            q.put(i)

    t = _start(produce)
    s = 0
    for _ in range(n):
        s += q.get()
    t.join()
    check(s, total(n))


def mpmc(n):
    q = Queue(CAPACITY)
    sums = SimpleQueue()

    def produce(k):
        for i in range(k, n, PRODUCERS):
            q.put(i)

    def consume():
        s = 0
        while (v := q.get()) is not None:
            s += v
        sums.put(s)

    consumers = [_start(consume) for _ in range(CONSUMERS)]
    for t in [_start(produce, k) for k in range(PRODUCERS)]:
        t.join()
    for _ in consumers:
        q.put(None)
    check(sum(sums.get() for _ in consumers), total(n))


def select_fanin(n):
    """Not a select: one forwarding thread per queue into a merged queue."""
    queues = [Queue(1) for _ in range(PRODUCERS)]
    merged = Queue(1)

    def produce(k):
        for i in range(k, n, PRODUCERS):
            queues[k].put(i)

    def forward(k):
        for _ in range(k, n, PRODUCERS):
            merged.put(queues[k].get())

    threads = [_start(f, k) for k in range(PRODUCERS) for f in (produce, forward)]
    s = 0
    for _ in range(n):
        s += merged.get()
    for t in threads:
        t.join()
    check(s, total(n))


def sieve(n):
    def generate(out):
        for i in range(2, SIEVE_LIMIT + 1):
            out.put(i)
        out.put(None)

    def keep(p, src, out):
        while (v := src.get()) is not None:
            if v % p:
                out.put(v)
        out.put(None)

    src = Queue(1)
    threads = [_start(generate, src)]
    for _ in range(n):
        p = src.get()
        out = Queue(1)
        threads.append(_start(keep, p, src, out))
        src = out
    check((p, src.get()), (SIEVE_LIMIT, None))
    for t in threads:
        t.join()


def skynet_10k(n):
    def node(out, num, size):
        if size == 1:
            out.put(num)
            return
        q = SimpleQueue()
        size //= 10
        for i in range(10):
            _start(node, q, num + i * size, size)
        s = 0
        for _ in range(10):
            s += q.get()
        out.put(s)

    q = SimpleQueue()
    _start(node, q, 0, n)
    check(q.get(), total(n))


def parked(n):
    q = SimpleQueue()
    sums = SimpleQueue()
    entered = SimpleQueue()

    def receive():
        entered.put(None)
        sums.put(q.get())

    before, t0 = memory(), now()
    threads = [_start(receive) for _ in range(n)]
    for _ in range(n):
        entered.get()
    seconds, after = now() - t0, memory()
    for i in range(n):
        q.put(i)
    check(sum(sums.get() for _ in range(n)), total(n))
    for t in threads:
        t.join()
    return parked_figures(n, before, after, seconds)


def timers(n):
    late = []

    def sleeper(d):
        t = now()
        time.sleep(d)
        late.append(now() - t - d)

    ds = delays(n)
    t0 = now()
    for t in [_start(sleeper, d) for d in ds]:
        t.join()
    return timer_figures(n, now() - t0, late)


def mutex(n):
    lock = threading.Lock()
    count = 0

    def task():
        nonlocal count
        for i in range(n):
            with lock:
                count += 1
                if i % 100 == 0:
                    os.sched_yield()

    for t in [_start(task) for _ in range(4)]:
        t.join()
    check(count, 4 * n)


def _beside_ticker(offend):
    ticks = []

    def ticker():
        end = now() + TICKING
        while not ticks or ticks[-1] < end:
            time.sleep(TICK)
            ticks.append(now())

    t = _start(ticker)
    time.sleep(HOG_AFTER)
    offend()
    t.join()
    return max_gap(ticks)


def blocking(n):
    return _beside_ticker(block)


def cpu_hog(n):
    return _beside_ticker(spin)


def offload(n):
    """ThreadPoolExecutor(1).submit().result(), for the call's cost only."""
    with ThreadPoolExecutor(1) as pool:
        t0 = now()
        for i in range(n):
            check(pool.submit(abs, -i).result(), i)
        return {"call_us": 1e6 * (now() - t0) / n}


def _parallel(n, workers):
    with ThreadPoolExecutor(workers) as pool:
        check_digests([f.result() for f in [pool.submit(digest) for _ in range(n)]], n)


def parallel_1(n):
    _parallel(n, 1)


def parallel(n):
    _parallel(n, 2)

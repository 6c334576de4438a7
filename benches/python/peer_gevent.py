"""gevent.  Channel is its rendezvous channel; it has no select over channels."""

import gevent
from gevent.lock import Semaphore
from gevent.queue import Channel, SimpleQueue
from gevent.threadpool import ThreadPool

from common import *


def spawn_join(n):
    def task():
        pass

    gevent.joinall([gevent.spawn(task) for _ in range(n)])


def yield_(n):
    def task():
        for _ in range(n):
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(task), gevent.spawn(task)], raise_error=True)


def pingpong(n):
    there, back = Channel(), Channel()

    def pong():
        for _ in range(n):
            back.put(there.get())

    task = gevent.spawn(pong)
    s = 0
    for i in range(n):
        there.put(i)
        s += back.get()
    task.get()
    check(s, total(n))


def prodcons(n):
    q = SimpleQueue(CAPACITY)

    def produce():
        for i in range(n):
            q.put(i)

    task = gevent.spawn(produce)
    s = 0
    for _ in range(n):
        s += q.get()
    task.get()
    check(s, total(n))


def mpmc(n):
    q = SimpleQueue(CAPACITY)

    def produce(k):
        for i in range(k, n, PRODUCERS):
            q.put(i)

    def consume():
        s = 0
        while (v := q.get()) is not None:
            s += v
        return s

    consumers = [gevent.spawn(consume) for _ in range(CONSUMERS)]
    gevent.joinall([gevent.spawn(produce, k) for k in range(PRODUCERS)], raise_error=True)
    for _ in consumers:
        q.put(None)
    check(sum(c.get() for c in consumers), total(n))


def select_fanin(n):
    """Not a select (gevent has none): one forwarding greenlet per channel into a merged one."""
    channels = [Channel() for _ in range(PRODUCERS)]
    merged = Channel()

    def produce(k):
        for i in range(k, n, PRODUCERS):
            channels[k].put(i)

    def forward(k):
        for _ in range(k, n, PRODUCERS):
            merged.put(channels[k].get())

    tasks = [gevent.spawn(f, k) for k in range(PRODUCERS) for f in (produce, forward)]
    s = 0
    for _ in range(n):
        s += merged.get()
    gevent.joinall(tasks, raise_error=True)
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

    src = Channel()
    tasks = [gevent.spawn(generate, src)]
    for _ in range(n):
        p = src.get()
        out = Channel()
        tasks.append(gevent.spawn(keep, p, src, out))
        src = out
    check((p, src.get()), (SIEVE_LIMIT, None))
    gevent.joinall(tasks, raise_error=True)


def skynet_10k(n):
    def node(out, num, size):
        if size == 1:
            out.put(num)
            return
        q = Channel()
        size //= 10
        for i in range(10):
            gevent.spawn(node, q, num + i * size, size)
        s = 0
        for _ in range(10):
            s += q.get()
        out.put(s)

    q = Channel()
    root = gevent.spawn(node, q, 0, n)
    check(q.get(), total(n))
    root.get()


skynet_100k = skynet_10k


def parked(n):
    q = Channel()  # a Queue takes a woken getter out of its deque by value: n² for n of them
    entered = 0

    def receive():
        nonlocal entered
        entered += 1
        return q.get()

    before, t0 = memory(), now()
    tasks = [gevent.spawn(receive) for _ in range(n)]
    while entered < n:
        gevent.sleep(0)
    seconds, after = now() - t0, memory()
    for i in range(n):
        q.put(i)
    check(sum(t.get() for t in tasks), total(n))
    return parked_figures(n, before, after, seconds)


def timers(n):
    late = []

    def sleeper(d):
        t = now()
        gevent.sleep(d)
        late.append(now() - t - d)

    ds = delays(n)
    t0 = now()
    gevent.joinall([gevent.spawn(sleeper, d) for d in ds], raise_error=True)
    return timer_figures(n, now() - t0, late)


def mutex(n):
    lock = Semaphore(1)
    count = 0

    def task():
        nonlocal count
        for i in range(n):
            with lock:
                count += 1
                if i % 100 == 0:
                    gevent.sleep(0)

    gevent.joinall([gevent.spawn(task) for _ in range(4)], raise_error=True)
    check(count, 4 * n)


def _ticker():
    ticks, end = [], now() + TICKING
    while not ticks or ticks[-1] < end:
        gevent.sleep(TICK)
        ticks.append(now())
    return ticks


def _beside_ticker(offend):
    ticker = gevent.spawn(_ticker)
    gevent.sleep(HOG_AFTER)
    offend()
    return max_gap(ticker.get())


def blocking(n):
    return _beside_ticker(block)


def cpu_hog(n):
    return _beside_ticker(spin)


def offload(n):
    """The hub's native thread pool."""
    pool = gevent.get_hub().threadpool
    figures = _beside_ticker(lambda: pool.apply(block))
    t0 = now()
    for i in range(n):
        check(pool.apply(abs, (-i,)), i)
    return figures | {"call_us": 1e6 * (now() - t0) / n}


def _parallel(n, workers):
    pool = ThreadPool(workers)
    jobs = [pool.spawn(digest) for _ in range(n)]
    check_digests([j.get() for j in jobs], n)
    pool.kill()


def parallel_1(n):
    _parallel(n, 1)


def parallel(n):
    _parallel(n, 2)
